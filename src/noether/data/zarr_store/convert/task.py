"""The work on one sample, as a picklable callable."""

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
    """Protocol of the work on each sample of a store. Implementations are pickled for worker processes."""

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Do the work on a sample, and return the result without its time; raise if it fails."""


class SampleTask:
    """A callable that does the work on one sample; an unpickled copy opens its own writer.

    Parameters
    ----------
    work : SampleWork
        The work on a sample.
    writer : ZarrStoreWriter
        Writer of the store.
    threads : int
        Number of threads of the writer of an unpickled copy.
    """

    def __init__(self, work: SampleWork, writer: ZarrStoreWriter, threads: int) -> None:
        self._work = work
        self._writer = writer
        self._threads = threads

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._work, self._writer.to_init_kwargs() | {"threads": self._threads})

    def __call__(self, sample_id: str) -> SampleResult:
        """Do the work on a sample; an error becomes part of the result.

        Raises
        ------
        MissingDependencyError
            A library that every sample needs is not installed.
        """
        start = time.perf_counter()
        try:
            result = self._work.do(self._writer, sample_id)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001 - a library may raise anything on a broken file; the rest goes on
            return failure(sample_id, error, time.perf_counter() - start)
        return replace(result, seconds=time.perf_counter() - start)


def failure(sample_id: str, error: Exception, seconds: float = 0.0) -> SampleResult:
    """Return the result of a sample that failed."""
    reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
    named = reason if repr(sample_id) in reason else f"sample {sample_id!r}: {reason}"
    return SampleResult(sample_id, "failed", None, named, "".join(traceback.format_exception(error)), seconds)


def _rebuilt(work: SampleWork, writer_kwargs: dict[str, Any]) -> SampleTask:
    # The parent process has saved the manifest, and has shown this warning already.
    warnings.simplefilter("ignore", StorageWarning)
    writer = ZarrStoreWriter(**writer_kwargs)
    return SampleTask(work, writer, writer.settings.encoding.threads)
