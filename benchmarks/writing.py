"""Writing a sample: time and memory, from memory and from HDF5."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import h5py

from benchmarks.data import FIELDS, WIDTHS, sample_blocks, source_arrays
from benchmarks.jobs import JobError, Measured, run_job
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, Settings
from benchmarks.timing import order_of

__all__ = ["compare_hdf5", "compare_writes"]

ONE = "noether, 1 thread"
TWO = "noether, 2 threads"
ZARR = "zarr-python"
ZARR_FAST = "zarr-python, level 1"

# A permutation is as many int64.
_PERMUTATION_BYTES = 8
_MEGABYTE = 1e6


def compare_writes(settings: Settings) -> Comparison:
    """Compare the write of one sample by one process; each write runs in a fresh process, in turn."""
    repetitions = settings.repetitions(quick=3, full=7)
    chunk_points, n_points = CHUNK_POINTS[0], settings.n_points
    source_arrays(settings.work_dir, n_points)  # made before the jobs look for it
    size = {"work_dir": str(settings.work_dir), "n_points": n_points, "chunk_points": chunk_points}
    runs = {
        TWO: partial(run_job, "write_ours", threads=2, **size),
        ONE: partial(run_job, "write_ours", threads=1, **size),
        ZARR: partial(run_job, "write_zarr", level=5, **size),
        ZARR_FAST: partial(run_job, "write_zarr", level=1, **size),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in runs}
    errors: dict[str, str] = {}
    names = list(runs)
    for repetition in range(repetitions):
        for place in order_of(repetition, len(names)):
            name = names[place]
            if name not in errors:
                try:
                    measured[name].append(runs[name]())
                except JobError as error:
                    errors[name] = str(error)
    times = Case("time", "s", [Row(name, [m.seconds for m in measured[name]], error=errors.get(name)) for name in runs])
    times.faster(ZARR, at_least=3, ours=TWO)
    times.faster(ZARR, at_least=2, ours=ONE)
    permutation = _PERMUTATION_BYTES * n_points
    peaks = Case(
        "peak memory beyond inputs and permutation",
        "MB",
        [
            Row(
                name,
                [max(m.peak_bytes - permutation, 0) / _MEGABYTE for m in measured[name]],
                error=errors.get(name),
            )
            for name in runs
        ],
    )
    for name in (TWO, ONE):
        peaks.within(ZARR, at_most=0.2, ours=name, what="memory")
    parameters = {"points": n_points, "chunk_points": chunk_points, "repetitions": repetitions}
    return Comparison.of("write", settings, parameters, [times, peaks])


def compare_hdf5(settings: Settings) -> Comparison:
    """Measure the write of a sample that is held in HDF5."""
    n_points = settings.n_large_points
    source_arrays(settings.work_dir, 20_000)
    source = _hdf5_source(settings.work_dir, n_points)
    rows: dict[str, Any] = {"values": [], "error": None}
    seconds = []
    try:
        done = run_job("write_hdf5", work_dir=str(settings.work_dir), source=str(source), chunk_points=CHUNK_POINTS[0])
    except JobError as error:
        rows["error"] = str(error)
    else:
        rows["values"].append(done.peak_bytes / _MEGABYTE)
        seconds.append(done.seconds)
    memory = Case("peak memory growth", "MB", [Row("noether", **rows)])
    memory.below((400e6 + _PERMUTATION_BYTES * n_points) / _MEGABYTE)
    times = Case("time", "s", [Row("noether", seconds, error=rows["error"])])
    parameters = {
        "points": n_points,
        "source_bytes": n_points * sum(WIDTHS.values()) * 4,
        "chunk_points": CHUNK_POINTS[0],
        "repetitions": 1,
    }
    return Comparison.of("hdf5", settings, parameters, [memory, times])


def _hdf5_source(work_dir: Path, n_points: int) -> Path:
    """Write the generated sample as a solver would, in mesh order and uncompressed; kept for the next run."""
    path = work_dir / f"source-{n_points}.h5"
    if path.exists():
        return path
    staged = path.with_suffix(".part")
    with h5py.File(staged, "w") as file:
        datasets = {
            field: file.create_dataset(
                field, (n_points, WIDTHS[field]), "f4", chunks=(min(65_536, n_points), WIDTHS[field])
            )
            for field in FIELDS
        }
        start = 0
        for block in sample_blocks(n_points):
            stop = start + len(block["volume_position"])
            for field, values in block.items():
                datasets[field][start:stop] = values
            start = stop
    shutil.move(staged, path)
    return path
