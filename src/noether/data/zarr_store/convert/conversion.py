"""The conversion of one sample, and the test whether a sample is current."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from noether.data.zarr_store.convert.report import SampleResult
from noether.data.zarr_store.core import peak_memory_bytes
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sources import FingerprintedSource, SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import PositionLoss

__all__ = ["Conversion", "array_bytes", "fingerprint_of_sample", "is_current"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Converts samples that are not complete yet.

    Attributes
    ----------
    source : SampleSource
        Source of the samples.
    overwrite : bool
        Whether to convert complete samples, too.
    keep_grids : bool
        Whether to skip complete samples even if their chunks or shards differ from the settings.
    """

    source: SampleSource
    overwrite: bool = False
    keep_grids: bool = False

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Convert a sample unless it is complete and current; see `SampleWork`."""
        fingerprint = fingerprint_of_sample(self.source, sample_id)
        entry = None if self.overwrite else writer.find_group(sample_id)
        if entry is not None and is_current(entry, fingerprint, writer, keep_grids=self.keep_grids):
            return SampleResult(sample_id, "skipped", entry)
        sample, stored_bytes = self.source.load(sample_id), 0
        losses: list[PositionLoss] = []

        def count(n_bytes: int) -> None:
            nonlocal stored_bytes
            stored_bytes += n_bytes

        entry = writer.write_group(
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
            source_bytes=sum(map(array_bytes, sample.fields.values())),
            stored_bytes=stored_bytes,
            peak_memory_bytes=peak_memory_bytes(),
            associations=dict(sample.associations),
            position_losses=tuple(losses),
        )


def array_bytes(values: Any) -> int:
    """Return the size of an array in bytes; the array need not be in memory."""
    return int(np.dtype(values.dtype).itemsize * prod(values.shape))


def fingerprint_of_sample(source: SampleSource, sample_id: str) -> str | None:
    """Return a fingerprint of the source files of a sample, or None if the source has none."""
    return source.fingerprint(sample_id) if isinstance(source, FingerprintedSource) else None


def is_current(
    entry: SampleEntry, fingerprint: str | None, writer: ZarrStoreWriter, *, keep_grids: bool = False
) -> bool:
    """Return whether a sample was made from the present state of its source, with the chunks and shards of a writer.

    A source without a fingerprint counts as unchanged. With `keep_grids`, chunks and shards are not compared.
    """
    if entry.fingerprint is not None and fingerprint is not None and entry.fingerprint != fingerprint:
        return False
    return keep_grids or all(
        writer.settings.grid(domain, one.n_points) == one.grid for domain, one in entry.domains.items()
    )
