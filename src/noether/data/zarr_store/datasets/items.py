"""Reading of the items of a dataset."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.datasets.shared_buffers import allocate
from noether.data.zarr_store.datasets.taken_rows import TakenRows, share_out
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.reading import ResultDtype, ResultDtypes
from noether.data.zarr_store.sampling import DrawPlanner

__all__ = ["Item", "make_item", "read_items"]

Item: TypeAlias = dict[str, Any]


def read_items(
    reader: ZarrChunkReader,
    planner: DrawPlanner,
    sample_ids: Sequence[str],
    draws: Sequence[DrawIndex],
    dtype: ResultDtype,
) -> list[Item]:
    """Read the items of a batch, with all their requests in parallel.

    Parameters
    ----------
    reader : ZarrChunkReader
        Reader of the store.
    planner : DrawPlanner
        Plans the draws of a sample.
    sample_ids : sequence of str
        Ids of the samples.
    draws : sequence of DrawIndex
        Epoch and repeat of the draw of each sample.
    dtype : dtype-like, or mapping of str to dtype-like
        See `ZarrChunkReader.read_arrays`.
    """
    entries = [reader.entry(sample_id) for sample_id in sample_ids]
    planned = [
        planner.plan(sample_id, entry, draw.epoch, draw.repeat)
        for sample_id, entry, draw in zip(sample_ids, entries, draws, strict=True)
    ]
    taken_rows = TakenRows(planned, ResultDtypes.of(dtype, reader.manifest.domains), allocate)
    read = reader.read_planned([[one.planned for one in reads] for reads in planned], taken_rows.allocate, dtype)
    items: list[Item] = []
    for sample_id, entry, reads, arrays in zip(sample_ids, entries, planned, read, strict=True):
        fields = share_out(reads, arrays, taken_rows)
        tensors = {name: torch.from_numpy(fields[name]) for name in planner.names if name in fields}
        items.append(make_item(tensors, sample_id, entry))
    return items


def make_item(tensors: Mapping[str, torch.Tensor], sample_id: str, entry: SampleEntry) -> Item:
    """Return the item of a sample: the tensors, the sample id and the attributes."""
    attributes = {name: _attribute(value) for name, value in entry.attributes.items()}
    return {**tensors, "sample_id": sample_id, "attributes": attributes}


def _attribute(value: Any) -> Any:
    """Return numbers as a float32 tensor, and any other value as a copy, which the caller may change."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return copy.deepcopy(value)
    return torch.as_tensor(numbers, dtype=torch.float32) if numbers.dtype.kind in "iuf" else copy.deepcopy(value)
