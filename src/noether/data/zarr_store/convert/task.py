"""What is done with one sample, wherever it is done."""

from __future__ import annotations

import time
import traceback
import warnings
from math import prod
from typing import Any

import numpy as np

from noether.data.zarr_store.convert.report import SampleResult
from noether.data.zarr_store.core import peak_memory_bytes
from noether.data.zarr_store.errors import MissingDependencyError, StoreError
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sources import FingerprintedSource, SampleSource
from noether.data.zarr_store.stores import StorageWarning
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import PositionLoss

__all__ = ["SampleTask", "failure", "fingerprint_of_sample", "is_current"]


class SampleTask:
    """Converts samples, each by a call. A pickle of it opens a writer of its own.

    Parameters
    ----------
    source : SampleSource
        Where the samples come from.
    writer : ZarrStoreWriter
        Where they go.
    overwrite : bool
        Convert complete samples, too.
    threads : int
        Those of the writer that a pickle opens.
    keep_grids : bool
        Take complete samples for complete whatever their chunks and shards.
    """

    def __init__(
        self, source: SampleSource, writer: ZarrStoreWriter, overwrite: bool, threads: int, keep_grids: bool = False
    ) -> None:
        self._source = source
        self._writer = writer
        self._overwrite = overwrite
        self._threads = threads
        self._keep_grids = keep_grids

    def __reduce__(self) -> tuple[Any, ...]:
        kwargs = self._writer.to_init_kwargs() | {"threads": self._threads}
        return _rebuilt, (self._source, kwargs, self._overwrite, self._keep_grids)

    def __call__(self, sample_id: str) -> SampleResult:
        """Convert a sample unless it is complete; whatever goes wrong with it becomes part of the result.

        Raises
        ------
        MissingDependencyError
            A library is missing without which no sample can be converted.
        """
        start = time.perf_counter()
        try:
            return self._convert(sample_id, start)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a library raise, the rest goes on
            return failure(sample_id, error, time.perf_counter() - start)

    def _convert(self, sample_id: str, start: float) -> SampleResult:
        fingerprint = fingerprint_of_sample(self._source, sample_id)
        entry = None if self._overwrite else self._writer.find_group(sample_id)
        if entry is not None and is_current(entry, fingerprint, self._writer, keep_grids=self._keep_grids):
            return SampleResult(sample_id, "skipped", entry, seconds=time.perf_counter() - start)
        sample, stored_bytes = self._source.load(sample_id), 0
        losses: list[PositionLoss] = []

        def count(n_bytes: int) -> None:
            nonlocal stored_bytes
            stored_bytes += n_bytes

        entry = self._writer.write_group(
            sample_id,
            sample.fields,
            attributes=sample.attributes,
            fingerprint=fingerprint,
            on_bytes=count,
            on_position_loss=losses.append,
        )
        return SampleResult(
            sample_id,
            "converted",
            entry,
            seconds=time.perf_counter() - start,
            source_bytes=sum(np.dtype(one.dtype).itemsize * prod(one.shape) for one in sample.fields.values()),
            stored_bytes=stored_bytes,
            peak_memory_bytes=peak_memory_bytes(),
            position_losses=tuple(losses),
        )


def fingerprint_of_sample(source: SampleSource, sample_id: str) -> str | None:
    """Ask a source for the state of a sample; None where it cannot tell."""
    return source.fingerprint(sample_id) if isinstance(source, FingerprintedSource) else None


def is_current(
    entry: SampleEntry, fingerprint: str | None, writer: ZarrStoreWriter, *, keep_grids: bool = False
) -> bool:
    """Say whether a sample was made from what its source is now, and as a writer would make it.

    What is not known has not changed. With `keep_grids`, chunks and shards do not count.
    """
    if entry.fingerprint is not None and fingerprint is not None and entry.fingerprint != fingerprint:
        return False
    return keep_grids or all(
        writer.settings.grid(domain, one.n_points) == one.grid for domain, one in entry.domains.items()
    )


def failure(sample_id: str, error: Exception, seconds: float = 0.0) -> SampleResult:
    """Return the result of a sample that could not be converted."""
    reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
    named = reason if repr(sample_id) in reason else f"sample {sample_id!r}: {reason}"
    return SampleResult(sample_id, "failed", None, named, "".join(traceback.format_exception(error)), seconds)


def _rebuilt(
    source: SampleSource, writer_kwargs: dict[str, Any], overwrite: bool, keep_grids: bool = False
) -> SampleTask:
    # The process that sends samples here saves the manifest first, and has warned.
    warnings.simplefilter("ignore", StorageWarning)
    writer = ZarrStoreWriter(**writer_kwargs)
    return SampleTask(source, writer, overwrite, writer.settings.encoding.threads, keep_grids)
