"""Timed conversions of many samples. Each job runs in its own process, which can start others.

``python -m benchmarks.conversion_jobs NAME JSON`` runs a job and prints a number. `run_conversion_job` starts such a
process and returns the number.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.data import FIELDS, FILEMAP
from benchmarks.settings import REPOSITORY
from benchmarks.zarr_writing import write_with_zarr
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import add_fields, convert, open_field_writer, plan_conversion
from noether.data.zarr_store.convert.executors import ProcessExecutor
from noether.data.zarr_store.sources import SourceSample, TreeSource
from noether.data.zarr_store.upkeep import remove_fields

__all__ = ["TinySource", "run_conversion_job", "torch_file"]


class TinySource:
    """A source of samples of eight points, which load in no time."""

    filemap = FILEMAP

    def __init__(self, n_samples: int) -> None:
        self.notices: list[str] = []
        self._n_samples = n_samples

    def sample_ids(self) -> list[str]:
        """Return the sample ids."""
        return [f"run_{number}" for number in range(self._n_samples)]

    def load(self, sample_id: str) -> SourceSample:
        """Return eight points on a line."""
        number = float(sample_id.removeprefix("run_"))
        widths = {"volume_pressure": 1}
        return SourceSample({field: np.full((8, widths.get(field, 3)), number, np.float32) for field in FIELDS})


def torch_file(field: str) -> str:
    """Return the name of a field's file in the directory of its sample."""
    return f"{field}.pt"


_FILES = FILEMAP.model_copy(update={field: torch_file(field) for field in FIELDS})


def run_conversion_job(name: str, **arguments: Any) -> float:
    """Run a job in a fresh process.

    Raises
    ------
    RuntimeError
        The job failed. The message is the last line that it wrote.
    """
    command = [sys.executable, "-m", "benchmarks.conversion_jobs", name, json.dumps(arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.splitlines()[-1])


def convert_ours(tree: str, root: str, chunk_points: int, workers: int, threads: int) -> float:
    """Convert a tree of ``.pt`` files; return the seconds, including the start of processes."""
    shutil.rmtree(root, ignore_errors=True)
    start = time.perf_counter()
    source, writer = _open(tree, root, chunk_points, threads)
    report = convert(source, writer, workers=workers)
    seconds = time.perf_counter() - start
    failed = report.having("failed")
    if failed:
        raise RuntimeError(failed[0].reason)
    return seconds


def add_pressure(
    tree: str, root: str, chunk_points: int, workers: int, threads: int, compare: Literal["all", "some"]
) -> float:
    """Add the pressure to samples that were converted without it; return the seconds, as `convert_ours` does."""
    source = TreeSource(tree, _FILES)
    if Path(root).exists():
        remove_fields(root, ["volume_pressure"])
    else:
        others = source.only([field for field in FIELDS if field != "volume_pressure"])
        writer = ZarrStoreWriter(root, others.filemap, "benchmark", chunk_points=chunk_points, threads=threads)
        convert(others, writer, workers=workers)
    start = time.perf_counter()
    writer = open_field_writer(root, source.filemap, fields=["volume_pressure"], threads=threads)
    report = add_fields(source, writer, workers=workers, compare=compare)
    seconds = time.perf_counter() - start
    if report.having("failed") or StoreManifest.load(root).pending_fields:
        raise RuntimeError("expected the pressure in all samples")
    return seconds


def convert_zarr(tree: str, root: str, chunk_points: int, workers: int) -> float:
    """Convert with a plain loop: a process pool, `torch.load` and zarr-python; return the seconds."""
    shutil.rmtree(root, ignore_errors=True)
    start = time.perf_counter()
    sample_ids = sorted(path.name for path in Path(tree).iterdir())
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for _ in pool.map(partial(_convert_one, tree, root, chunk_points), sample_ids):
            pass
    return time.perf_counter() - start


def convert_complete(root: str, n_samples: int, workers: int) -> float:
    """Convert into a store in which all samples are complete; return the seconds per sample."""
    source = TinySource(n_samples)
    if not Path(root).exists():
        convert(source, ZarrStoreWriter(root, FILEMAP, "benchmark"))
    writer = ZarrStoreWriter(root, FILEMAP, "benchmark")
    start = time.perf_counter()
    report = convert(source, writer, workers=workers)
    seconds = time.perf_counter() - start
    if len(report.having("skipped")) != n_samples:
        raise RuntimeError("expected a store in which all samples are complete")
    return seconds / n_samples


def call_nothing(n_calls: int, workers: int) -> float:
    """Call a no-op in running worker processes; return the seconds per call."""
    with ProcessExecutor(workers) as executor:
        for _ in range(2):  # all workers have started before the second call
            start = time.perf_counter()
            for future in [executor.submit(nothing, number) for number in range(n_calls)]:
                future.result()
    return (time.perf_counter() - start) / n_calls


def planned_memory(tree: str, root: str, chunk_points: int) -> float:
    """Return the bytes of memory that a dry run plans per worker."""
    shutil.rmtree(root, ignore_errors=True)  # complete samples need no memory
    source, writer = _open(tree, root, chunk_points, threads=1)
    return plan_conversion(source, writer, source.sample_ids()).memory_bytes


def measured_memory(tree: str, root: str, chunk_points: int) -> float:
    """Return the peak memory of a worker in bytes."""
    shutil.rmtree(root, ignore_errors=True)
    source, writer = _open(tree, root, chunk_points, threads=1)
    return max(result.peak_memory_bytes for result in convert(source, writer, workers=1).results)


def nothing(number: int) -> int:
    """Do nothing."""
    return number


def _open(tree: str, root: str, chunk_points: int, threads: int) -> tuple[TreeSource, ZarrStoreWriter]:
    writer = ZarrStoreWriter(root, _FILES, "benchmark", chunk_points=chunk_points, threads=threads)
    return TreeSource(tree, _FILES), writer


def _convert_one(tree: str, root: str, chunk_points: int, sample_id: str) -> None:
    import torch

    arrays = {field: torch.load(Path(tree, sample_id, torch_file(field))).numpy() for field in FIELDS}
    write_with_zarr(Path(root, f"{sample_id}.zarr"), sample_id, arrays, chunk_points)


_JOBS: dict[str, Callable[..., float]] = {
    job.__name__: job
    for job in (
        convert_ours,
        add_pressure,
        convert_zarr,
        convert_complete,
        call_nothing,
        planned_memory,
        measured_memory,
    )
}

if __name__ == "__main__":
    sys.stdout.write(f"{_JOBS[sys.argv[1]](**json.loads(sys.argv[2]))!r}\n")
