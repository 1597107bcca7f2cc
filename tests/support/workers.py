"""Functions that tests run in other processes. Spawned processes import them by name."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from threading import Barrier
from typing import Any

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.manifest import SampleEntry
from support.ahmed import load_run

WAIT_SECONDS = 120.0

_together: Barrier


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of spawned processes that share a barrier."""
    context = get_context("spawn")
    with ProcessPoolExecutor(count, context, _begin, (context.Barrier(count),)) as pool:
        yield pool


def _begin(barrier: Barrier) -> None:
    global _together
    _together = barrier


def rebuilt(pickled_kwargs: bytes) -> ZarrStoreWriter:
    return ZarrStoreWriter(**pickle.loads(pickled_kwargs))


def write_run(pickled_kwargs: bytes, run: str) -> SampleEntry:
    """Write a bundled run with a writer that is built from pickled keyword arguments."""
    return rebuilt(pickled_kwargs).write_group(run, load_run(run))


def save_together(pickled_kwargs: bytes, samples: list[dict[str, SampleEntry]]) -> None:
    """Record and save samples in rounds. All processes save at the same moment."""
    writer = rebuilt(pickled_kwargs)
    for entries in samples:
        for sample_id, entry in entries.items():
            writer.record(sample_id, entry)
        _together.wait(WAIT_SECONDS)
        writer.save_manifest()


def write_run_with_small_files(pickled_kwargs: bytes, run: str, limit_bytes: int) -> None:
    """Write a run under a limit on the size of files."""
    arrays: dict[str, Any] = load_run(run)
    writer = rebuilt(pickled_kwargs)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    writer.write_sample(run, arrays)
