"""What is done with one sample, wherever it is done."""

from __future__ import annotations

import time
import traceback
import warnings
from dataclasses import replace
from typing import Any, Protocol

from noether.data.zarr_store.convert.report import SampleResult
from noether.data.zarr_store.errors import MissingDependencyError, StoreError
from noether.data.zarr_store.stores import StorageWarning
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["SampleTask", "SampleWork", "failure"]


class SampleWork(Protocol):
    """What a run does with each sample of a store. It goes to other processes as a pickle."""

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Return what became of a sample, but for the time that it took; raise where it has failed."""


class SampleTask:
    """Does the work of one sample by each call. A pickle of it opens a writer of its own.

    Parameters
    ----------
    work : SampleWork
        What is done.
    writer : ZarrStoreWriter
        Has the store.
    threads : int
        Those of the writer that a pickle opens.
    """

    def __init__(self, work: SampleWork, writer: ZarrStoreWriter, threads: int) -> None:
        self._work = work
        self._writer = writer
        self._threads = threads

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._work, self._writer.to_init_kwargs() | {"threads": self._threads})

    def __call__(self, sample_id: str) -> SampleResult:
        """Do the work of a sample; whatever goes wrong with it becomes part of the result.

        Raises
        ------
        MissingDependencyError
            A library is missing without which no sample can be done.
        """
        start = time.perf_counter()
        try:
            result = self._work.do(self._writer, sample_id)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a library raise, the rest goes on
            return failure(sample_id, error, time.perf_counter() - start)
        return replace(result, seconds=time.perf_counter() - start)


def failure(sample_id: str, error: Exception, seconds: float = 0.0) -> SampleResult:
    """Return the result of a sample that failed."""
    reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
    named = reason if repr(sample_id) in reason else f"sample {sample_id!r}: {reason}"
    return SampleResult(sample_id, "failed", None, named, "".join(traceback.format_exception(error)), seconds)


def _rebuilt(work: SampleWork, writer_kwargs: dict[str, Any]) -> SampleTask:
    # The process that sends samples here saves the manifest first, and has warned.
    warnings.simplefilter("ignore", StorageWarning)
    writer = ZarrStoreWriter(**writer_kwargs)
    return SampleTask(work, writer, writer.settings.encoding.threads)
