"""What samples come to in a store, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.sources import FieldDescription
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["LARGE_BYTES", "SampleSize", "row_bytes", "scratch_bytes_of"]

# Beside the sample and a permutation: chunks on their way through the threads, and what is being sent.
_BUFFER_BYTES = 16 << 20
# Of a field that is not read into memory: two buckets at a time.
_BUCKET_BYTES = 2 * (32 << 20)

# A field that is not read into memory goes through temporary files if it has more, each row with its number.
LARGE_BYTES = 32 << 20
_ROW_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class SampleSize:
    """What one sample comes to; of its memory, what a process takes for it beside what it has taken already."""

    grids: dict[str, Grid]
    source_bytes: int
    stored_bytes: int
    n_objects: int
    memory_bytes: int
    scratch_bytes: int

    @classmethod
    def of(cls, writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> Self:
        """Reckon up a sample from the descriptions of its fields."""
        grids: dict[str, Grid] = {}
        stored_bytes, n_objects = 0, 1
        for domain, layout in writer.layouts.items():
            arrays = [array for field, array in layout.arrays.items() if field in fields]
            if arrays:
                grids[domain] = grid = writer.settings.grid(domain, fields[arrays[0].field].shape[0])
                stored_bytes += sum(grid.n_points * row_bytes(array) for array in arrays)
                n_objects += 1 + len(arrays) * (1 + grid.n_shards)
        loaded = sum(one.n_bytes for one in fields.values() if one.in_memory)
        loading = max((one.loading_bytes for one in fields.values()), default=0)
        writing = max((grid.n_points for grid in grids.values()), default=0) * np.dtype(np.int64).itemsize
        writing += _BUFFER_BYTES if all(one.in_memory for one in fields.values()) else _BUFFER_BYTES + _BUCKET_BYTES
        return cls(
            grids,
            sum(one.n_bytes for one in fields.values()),
            stored_bytes,
            n_objects,
            loaded + max(loading, writing),
            scratch_bytes_of(writer, fields),
        )


def scratch_bytes_of(writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> int:
    """Return the most bytes of temporary files while a sample is converted.

    Copies of files are gone when the sample is loaded. Rows in stored order stay until it is done, those of all fields.
    """
    copied = max((one.scratch_bytes for one in fields.values()), default=0)
    reordered = sum(
        fields[field].shape[0] * (row_bytes(array) + _ROW_NUMBER_BYTES)
        for layout in writer.layouts.values()
        for field, array in layout.arrays.items()
        if field in fields and not fields[field].in_memory and fields[field].n_bytes > LARGE_BYTES
    )
    return max(copied, reordered)


def row_bytes(array: ArrayLayout) -> int:
    """Return the stored bytes of a point, before compression."""
    return array.dim * np.dtype(array.dtype).itemsize
