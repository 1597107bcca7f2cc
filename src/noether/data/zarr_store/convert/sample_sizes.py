"""How large samples are: what a source tells of them, and what they come to in a store, in memory and on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from noether.data.zarr_store.convert.report import Association
from noether.data.zarr_store.core import Grid, map_again, memory_bytes, peak_memory_bytes
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.layout import ArrayLayout, present_specs
from noether.data.zarr_store.sources import DescribedSource, FieldDescription, SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["SampleSize", "Seen", "look", "row_bytes", "scratch_bytes_of"]

# Of very many samples, so many tell enough of the rest.
_MAX_DESCRIBED = 200

# Beside the sample and a permutation: chunks on their way through the threads, and what is being sent.
_BUFFER_BYTES = 16 << 20
# Of a field that is not read into memory: two buckets at a time.
_BUCKET_BYTES = 2 * (32 << 20)

# A field that is not read into memory goes through temporary files if it has more, each row with its number.
_LARGE_BYTES = 32 << 20
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
        if field in fields and not fields[field].in_memory and fields[field].n_bytes > _LARGE_BYTES
    )
    return max(copied, reordered)


def row_bytes(array: ArrayLayout) -> int:
    """Return the stored bytes of a point, before compression."""
    return array.dim * np.dtype(array.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker process saw of some samples, why not of others, and the memory that it takes without a sample."""

    described: dict[str, Mapping[str, FieldDescription]]
    failures: dict[str, str]
    memory_bytes: int

    def associations(self, writer: ZarrStoreWriter) -> dict[str, dict[str, Association]]:
        """Return by sample and domain whether its points are cells or points of a mesh, as far as that is known."""
        return {
            sample_id: {
                domain: association
                for domain, layout in writer.layouts.items()
                if layout.position in fields and (association := fields[layout.position].association) is not None
            }
            for sample_id, fields in self.described.items()
        }


def look(source: SampleSource, sample_ids: list[str], seconds: float = math.inf) -> Seen:
    """Describe samples, evenly spread where they are very many; or load the first one.

    Parameters
    ----------
    source : SampleSource
        Has the samples.
    sample_ids : list of str
        The samples.
    seconds : float, optional
        Time after which no further sample is looked at.
    """
    if not isinstance(source, DescribedSource):
        return _load_first(source, sample_ids)
    described: dict[str, Mapping[str, FieldDescription]] = {}
    failures: dict[str, str] = {}
    start = time.monotonic()
    for sample_id in _spread(sample_ids):
        try:
            found = source.describe(sample_id)
        except StoreError as error:
            failures[sample_id] = str(error)
        else:
            if found is None:
                return _load_first(source, sample_ids)
            described[sample_id] = found
        if time.monotonic() - start > seconds:
            break
    in_order = {sample_id: failures[sample_id] for sample_id in sample_ids if sample_id in failures}
    return Seen(described, in_order, memory_bytes())


def _spread(sample_ids: Sequence[str]) -> list[str]:
    """Return some samples in an order whose every beginning is evenly spread: each step halves the gaps."""
    count = min(len(sample_ids), _MAX_DESCRIBED)
    digits = _MAX_DESCRIBED.bit_length()
    numbers = sorted(range(count), key=lambda number: f"{number:0{digits}b}"[::-1])
    return [sample_ids[number * len(sample_ids) // count] for number in numbers]


def _load_first(source: SampleSource, sample_ids: list[str]) -> Seen:
    if not sample_ids:
        return Seen({}, {}, memory_bytes())
    try:
        sample = source.load(sample_ids[0])
    except StoreError as error:
        return Seen({}, {sample_ids[0]: str(error)}, memory_bytes())
    domains, associations = {spec.field: spec.domain for spec in present_specs(source.filemap)}, sample.associations
    described = {
        name: FieldDescription(
            values.shape,
            values.dtype,
            in_memory=_is_in_memory(values),
            association=associations.get(domains.get(name, "")),
        )
        for name, values in sample.fields.items()
    }
    # What it took to load them stays part of it: a mesh is larger than the arrays that are made of it.
    held = sum(one.n_bytes for one in described.values() if one.in_memory)
    return Seen({sample_ids[0]: described}, {}, peak_memory_bytes() - held)


def _is_in_memory(values: Any) -> bool:
    """Return whether an array is in memory as the writer takes it: no file, HDF5 dataset or Zarr array."""
    if not isinstance(values, np.ndarray):
        return not isinstance(getattr(values, "dtype", None), np.dtype)  # a tensor has a dtype of its own kind
    may_be_mapped = values.base is not None and values.nbytes > _LARGE_BYTES
    return not isinstance(values, np.memmap) and not (may_be_mapped and map_again(values) is not None)
