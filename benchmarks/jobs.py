"""Jobs whose memory is measured, each in its own process: ``python -m benchmarks.jobs NAME JSON``.

A job prints a `Measured` as JSON. `run_job` starts a job and returns its `Measured`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import DOMAIN, FIELDS, FILEMAP, SAMPLE, Arrays, source_arrays
from benchmarks.earlier import environment_of
from benchmarks.memory import peak_bytes, resident_bytes, start_peak
from benchmarks.settings import DRAW_POINTS, REPOSITORY

__all__ = ["JobError", "Measured", "run_earlier_job", "run_job"]

_WARM_UP_POINTS = 20_000
_WARM_UP_DRAWS = 10


class JobError(RuntimeError):
    """A job failed; the message is the last line of its error."""


@dataclass(frozen=True)
class Measured:
    """Time and memory of a job.

    Attributes
    ----------
    seconds : float
        Time of the work alone.
    peak_bytes : int
        Peak growth of memory during the work.
    kept_bytes : int
        Growth of memory that was still in use at the end.
    """

    seconds: float
    peak_bytes: int
    kept_bytes: int


def run_job(name: str, **arguments: Any) -> Measured:
    """Run a job in a fresh process.

    Raises
    ------
    JobError
        The job failed.
    """
    return run_earlier_job(None, name, **arguments)


def run_earlier_job(library: Path | None, name: str, /, **arguments: Any) -> Measured:
    """Run a job in a fresh process that imports the library from a directory; see `earlier_library`.

    Raises
    ------
    JobError
        The job failed.
    """
    command = [sys.executable, "-m", "benchmarks.jobs", name, json.dumps(arguments)]
    environment = environment_of(library)
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(done.stderr.strip().splitlines()[-1])
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def write_ours(work_dir: str, n_points: int, chunk_points: int, threads: int) -> Measured:
    """Write the sample with this library."""
    from noether.data.zarr_store import ZarrStoreWriter

    root = Path(work_dir) / "written-ours"

    shutil.rmtree(root, ignore_errors=True)

    def write(arrays: Arrays) -> None:
        writer = ZarrStoreWriter(root, FILEMAP, "benchmark", chunk_points=chunk_points, threads=threads)
        writer.write_group(SAMPLE, arrays)

    return _measure_write(write, work_dir, n_points, root)


def write_zarr(work_dir: str, n_points: int, chunk_points: int, level: int) -> Measured:
    """Write the sample with zarr-python: shuffled and cast by NumPy, then assigned, one shard per field."""
    from benchmarks.zarr_writing import write_with_zarr

    root = Path(work_dir) / "written-zarr"

    shutil.rmtree(root, ignore_errors=True)

    def write(arrays: Arrays) -> None:
        write_with_zarr(root, SAMPLE, arrays, chunk_points, level)

    return _measure_write(write, work_dir, n_points, root)


def write_hdf5(work_dir: str, source: str, chunk_points: int) -> Measured:
    """Write a sample whose fields are datasets of an HDF5 file."""
    import h5py

    from noether.data.zarr_store import ZarrStoreWriter

    root = Path(work_dir) / "written-hdf5"
    shutil.rmtree(root, ignore_errors=True)
    writer = ZarrStoreWriter(root, FILEMAP, "benchmark", chunk_points=chunk_points)
    writer.write_group("warm_up", _first_points(work_dir))
    with h5py.File(source, "r") as file:
        datasets = {field: file[field] for field in FIELDS}
        measured = _measure(lambda: writer.write_group(SAMPLE, datasets))
    shutil.rmtree(root)
    return measured


def write_hdf5_zarr(work_dir: str, source: str, chunk_points: int) -> Measured:
    """Read the fields of an HDF5 file whole, and write them with zarr-python."""
    import h5py

    from benchmarks.zarr_writing import write_with_zarr

    root = Path(work_dir) / "written-hdf5-zarr"
    shutil.rmtree(root, ignore_errors=True)
    write_with_zarr(root, SAMPLE, _first_points(work_dir), chunk_points)
    with h5py.File(source, "r") as file:
        measured = _measure(
            lambda: write_with_zarr(root, SAMPLE, {field: file[field][:] for field in FIELDS}, chunk_points)
        )
    shutil.rmtree(root)
    return measured


def open_manifest(root: str, small_root: str, expected: int) -> Measured:
    """Open a store with many samples."""
    from noether.data.zarr_store import ZarrChunkReader

    ZarrChunkReader(small_root)  # warm up: imports and first uses are not measured
    opened: list[ZarrChunkReader] = []
    measured = _measure(lambda: opened.append(ZarrChunkReader(root)))
    if len(opened[0].manifest.samples) != expected:
        raise RuntimeError(f"expected {expected} samples, got {len(opened[0].manifest.samples)}")
    return measured


def iterate(root: str, batch_points: int) -> Measured:
    """Read all points of a sample in batches."""
    from noether.data.zarr_store import ZarrChunkReader

    reader = ZarrChunkReader(root)
    next(reader.iter_sample(SAMPLE, 1))  # warm up: imports and first uses are not measured
    return _measure(lambda: sum(len(batch.rows) for batch in reader.iter_sample(SAMPLE, batch_points)))


def read_whole(root: str) -> Measured:
    """Read all points of a sample at once."""
    from noether.data.zarr_store import ZarrChunkReader

    reader = ZarrChunkReader(root)
    next(reader.iter_sample(SAMPLE, 1))
    return _measure(lambda: reader.read_arrays(SAMPLE))


def first_batch(root: str, method: str) -> Measured:
    """Make a dataset, and read the first batch of two workers. The import of PyTorch counts in the workers only."""
    from torch.utils.data import DataLoader

    from noether.data.zarr_store.datasets import ZarrStoreDataset, collate_samples

    def take() -> None:
        dataset = ZarrStoreDataset(root, num_points={DOMAIN: DRAW_POINTS})
        loader = DataLoader(
            dataset, 4, shuffle=True, collate_fn=collate_samples, num_workers=2, multiprocessing_context=method
        )
        next(iter(loader))

    return _measure(take)


def worker_memory(root: str, samples: int, epochs: int) -> Measured:
    """Draw from many samples in two workers; return the larger growth of memory of the two."""
    from torch.utils.data import DataLoader

    from noether.data.zarr_store.datasets import ZarrStoreDataset

    sample_ids = [f"run_{number:05d}" for number in range(samples)]
    dataset = ZarrStoreDataset(root, sample_ids=sample_ids, num_points={DOMAIN: DRAW_POINTS}, transform=_memory_now)
    loader = DataLoader(dataset, None, shuffle=True, num_workers=2, persistent_workers=True)
    seen: dict[int, list[int]] = {}
    start = time.perf_counter()
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        for item in loader:
            seen.setdefault(item["worker"], []).append(item["resident_bytes"])
    seconds = time.perf_counter() - start
    grown = [[size - sizes[_WARM_UP_DRAWS] for size in sizes[_WARM_UP_DRAWS:]] for sizes in seen.values()]
    return Measured(seconds, max(map(max, grown)), max(sizes[-1] for sizes in grown))


def _memory_now(_: dict[str, Any]) -> dict[str, Any]:
    """Return the memory of the worker instead of an item."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return {"worker": -1 if info is None else info.id, "resident_bytes": resident_bytes()}


def _measure_write(write: Callable[[Arrays], None], work_dir: str, n_points: int, root: Path) -> Measured:
    arrays = {field: np.array(values) for field, values in source_arrays(Path(work_dir), n_points).items()}
    write(_first_points(work_dir))
    shutil.rmtree(root)
    measured = _measure(lambda: write(arrays))
    shutil.rmtree(root)
    return measured


def _first_points(work_dir: str) -> Arrays:
    """Return a small sample, which is written once before timing starts."""
    return {field: np.array(values) for field, values in source_arrays(Path(work_dir), _WARM_UP_POINTS).items()}


def _measure(work: Callable[[], object]) -> Measured:
    before = start_peak()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Measured(seconds, max(peak_bytes() - before, 0), max(resident_bytes() - before, 0))


_JOBS: dict[str, Callable[..., Measured]] = {
    job.__name__: job
    for job in (
        write_ours,
        write_zarr,
        write_hdf5,
        write_hdf5_zarr,
        open_manifest,
        iterate,
        read_whole,
        first_batch,
        worker_memory,
    )
}

if __name__ == "__main__":
    result = _JOBS[sys.argv[1]](**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
