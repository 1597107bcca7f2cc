"""Writing a sample: time and memory, from memory and from HDF5."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py

from benchmarks.data import FIELDS, WIDTHS, sample_blocks, source_arrays
from benchmarks.earlier import BEFORE, EarlierError, earlier_library
from benchmarks.jobs import JobError, Measured, run_earlier_job, run_job
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.settings import CHUNK_POINTS, Settings
from benchmarks.timing import order_of

__all__ = ["compare_hdf5", "compare_writes"]

ONE = "noether, 1 thread"
TWO = "noether, 2 threads"
ZARR = "zarr-python"
ZARR_FAST = "zarr-python, level 1"
OURS = "noether"

# A permutation has one int64 per point.
_PERMUTATION_BYTES = 8
_MEGABYTE = 1e6
_LARGEST_PEAK_MB = 400

Runs = dict[str, Callable[[], Measured]]
Rows = Callable[[Callable[[Measured], float]], list[Row]]


def compare_writes(settings: Settings) -> Comparison:
    """Compare writes of one sample. Each write runs in a fresh process, and contenders take turns."""
    repetitions = settings.repetitions(quick=3, full=7)
    chunk_points, n_points = CHUNK_POINTS[0], settings.n_points
    source_arrays(settings.work_dir, n_points)  # written here, before the jobs need it
    size = {"work_dir": str(settings.work_dir), "n_points": n_points, "chunk_points": chunk_points}
    runs: Runs = {
        TWO: partial(run_job, "write_ours", threads=2, **size),
        ONE: partial(run_job, "write_ours", threads=1, **size),
        ZARR: partial(run_job, "write_zarr", level=5, **size),
        ZARR_FAST: partial(run_job, "write_zarr", level=1, **size),
    }
    rows = _take_turns(runs, repetitions)
    times = Case("time", "s", rows(_seconds))
    times.faster(ZARR, at_least=6, ours=TWO)
    times.faster(ZARR, at_least=4, ours=ONE)
    times.faster(ONE, at_least=1.7, ours=TWO)
    permutation = _PERMUTATION_BYTES * n_points
    peaks = Case(
        "peak memory beyond inputs and permutation",
        "MB",
        rows(lambda measured: max(measured.peak_bytes - permutation, 0) / _MEGABYTE),
    )
    for name in (TWO, ONE):
        peaks.within(ZARR, at_most=0.2, ours=name, what="memory")
    parameters = {"points": n_points, "chunk_points": chunk_points, "repetitions": repetitions}
    return Comparison.of("write", settings, parameters, [times, peaks])


def compare_hdf5(settings: Settings) -> Comparison:
    """Compare writes of a smaller and a larger sample from HDF5. Each write runs in a fresh process, in turn."""
    repetitions, sizes = settings.repetitions(quick=1, full=3), settings.hdf5_sizes
    source_arrays(settings.work_dir, 20_000)  # the jobs write a sample of this size first
    cases = [case for n_points in sizes for case in _compare_hdf5(settings, n_points, repetitions)]
    small_peak, times, peak = cases[1:]
    times.faster(BEFORE, at_least=2.5)
    for each in (small_peak, peak):
        each.below(_LARGEST_PEAK_MB)
    peak.targets.append(_same_peak(small_peak, peak, sizes))
    parameters = {
        "points": list(sizes),
        "source_bytes": [n_points * sum(WIDTHS.values()) * 4 for n_points in sizes],
        "chunk_points": CHUNK_POINTS[0],
        "repetitions": repetitions,
    }
    return Comparison.of("hdf5", settings, parameters, cases)


def _compare_hdf5(settings: Settings, n_points: int, repetitions: int) -> list[Case]:
    """Compare time and peak memory for one size of the sample."""
    job = {
        "work_dir": str(settings.work_dir),
        "source": str(_hdf5_source(settings.work_dir, n_points)),
        "chunk_points": CHUNK_POINTS[0],
    }
    runs: Runs = {
        OURS: partial(run_job, "write_hdf5", **job),
        BEFORE: lambda: run_earlier_job(earlier_library(settings.work_dir), "write_hdf5", **job),
        ZARR: partial(run_job, "write_hdf5_zarr", **job),
    }
    rows = _take_turns(runs, repetitions)
    return [
        Case(f"time, {n_points:,} points", "s", rows(_seconds)),
        Case(f"peak memory growth, {n_points:,} points", "MB", rows(lambda m: m.peak_bytes / _MEGABYTE)),
    ]


def _same_peak(small: Case, large: Case, sizes: tuple[int, int]) -> Target:
    """Return the target that peak memory changes by at most 10 % with the size of the sample."""
    peaks = [case.row(OURS).median for case in (small, large) if case.row(OURS).values]
    measured = max(peaks) / min(peaks) if len(peaks) == len(sizes) and min(peaks) else None
    text = f"larger over smaller peak of {OURS}, of {sizes[0]:,} and {sizes[1]:,} points"
    return Target(text, measured, 1.1, at_least=False)


def _take_turns(runs: Runs, repetitions: int) -> Rows:
    """Run all contenders in turn, in a different order each time. A contender that fails is not run again.

    Returns
    -------
    callable of (callable of Measured to float) to list of Row
        Returns the rows of the contenders, with one number per execution.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in runs}
    errors: dict[str, str] = {}
    names = list(runs)
    for repetition in range(repetitions):
        for place in order_of(repetition, len(names)):
            name = names[place]
            if name not in errors:
                try:
                    measured[name].append(runs[name]())
                except (JobError, EarlierError) as error:
                    errors[name] = str(error)
    return lambda number: [Row(name, [*map(number, each)], error=errors.get(name)) for name, each in measured.items()]


def _seconds(measured: Measured) -> float:
    return measured.seconds


def _hdf5_source(work_dir: Path, n_points: int) -> Path:
    """Write the generated sample like a solver: in mesh order, uncompressed. It is kept for the next benchmark."""
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
