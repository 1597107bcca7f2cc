"""Estimates of the size of samples in a store, in memory and in temporary files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.sources import FieldDescription
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import PERMUTATION_BYTES, RANK_BYTES, fits_in_memory, memory_of_blocks

__all__ = ["SampleSize", "row_bytes", "scratch_bytes_of"]

# Memory in addition to the sample and a permutation: chunks that the threads encode, and data that are being sent.
_BUFFER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class SampleSize:
    """The sizes of one sample.

    Attributes
    ----------
    grids : dict of str to Grid
        Grid of each domain.
    source_bytes, stored_bytes : int
        Bytes of the arrays, in the source and in the store (before compression).
    n_objects : int
        Number of objects of the group.
    memory_bytes : int
        Memory for the conversion, in addition to the memory of an idle process.
    scratch_bytes : int
        Largest size of the temporary files.
    """

    grids: dict[str, Grid]
    source_bytes: int
    stored_bytes: int
    n_objects: int
    memory_bytes: int
    scratch_bytes: int

    @classmethod
    def of(cls, writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> Self:
        """Compute the sizes of a sample from the descriptions of its fields."""
        grids: dict[str, Grid] = {}
        stored_bytes, n_objects = 0, 1
        for domain, layout in writer.layouts.items():
            arrays = [array for field, array in layout.arrays.items() if field in fields]
            if arrays:
                grids[domain] = grid = writer.settings.grid(domain, fields[arrays[0].field].shape[0])
                stored_bytes += sum(grid.n_points * row_bytes(array) for array in arrays)
                n_objects += 1 + len(arrays) * (1 + grid.n_shards)
        return cls(
            grids,
            sum(one.n_bytes for one in fields.values()),
            stored_bytes,
            n_objects,
            _memory_bytes_of(writer, fields),
            scratch_bytes_of(writer, fields),
        )


def scratch_bytes_of(writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> int:
    """Return the largest size of the temporary files during the conversion of a sample.

    Local copies of files are removed when the sample is loaded. Reordered rows of all fields stay until the sample is
    written.
    """
    copied = max((one.scratch_bytes for one in fields.values()), default=0)
    reordered = 0
    for domain in _domains_in_blocks(writer, fields):
        arrays = [array for field, array in writer.layouts[domain].arrays.items() if field in fields]
        reordered += fields[arrays[0].field].shape[0] * (sum(map(row_bytes, arrays)) + RANK_BYTES)
    return max(copied, reordered)


def _memory_bytes_of(writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> int:
    """Return the peak memory for loading and writing a sample."""
    in_blocks = _domains_in_blocks(writer, fields)
    loaded, writing = 0, 0
    for domain, layout in writer.layouts.items():
        there = [fields[field] for field in layout.arrays if field in fields]
        loaded += sum(one.n_bytes for one in there if one.in_memory or domain not in in_blocks)
        if there and domain not in in_blocks:
            writing = max(writing, there[0].shape[0] * PERMUTATION_BYTES)
    if in_blocks:
        writing = max(writing, memory_of_blocks(writer.settings.encoding.threads))
    loading = max((one.loading_bytes for one in fields.values()), default=0)
    return loaded + max(loading, writing + _BUFFER_BYTES)


def _domains_in_blocks(writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> set[str]:
    """Return the domains that are read in blocks, and reordered through temporary files."""
    n_bytes, most_points = sum(one.n_bytes for one in fields.values()), max(one.shape[0] for one in fields.values())
    if fits_in_memory(n_bytes, most_points):
        return set()
    return {
        domain
        for domain, layout in writer.layouts.items()
        if any(field in fields and not fields[field].in_memory for field in layout.arrays)
    }


def row_bytes(array: ArrayLayout) -> int:
    """Return the stored bytes of a point, before compression."""
    return array.dim * np.dtype(array.dtype).itemsize
