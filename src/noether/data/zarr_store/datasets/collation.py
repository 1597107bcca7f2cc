"""Collation of the items of a dataset into batches, also if samples differ in size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

from noether.data.zarr_store.datasets.shared_buffers import (
    ALIGNMENT,
    MIN_SHARED_BYTES,
    WorkerBatch,
    allocate,
    as_batch,
    is_plain,
    recycled,
)
from noether.data.zarr_store.errors import ArgumentError

__all__ = ["collate_samples"]


def collate_samples(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one batch of items. Use it as the `collate_fn` of a `torch.utils.data.DataLoader`.

    Parameters
    ----------
    items : sequence of mappings
        Items of a `ZarrStoreDataset`, transformed or not.

    Returns
    -------
    dict
        Tensors of the same shape in all B items are stacked, to ``(B, T)`` and ``(B, T, width)``. Tensors that differ
        only in the number of points are concatenated, to ``(T_1 + … + T_B,)`` and ``(T_1 + … + T_B, width)``. Then
        ``offsets`` has, by field name, an int64 tensor of shape ``(B + 1,)``: item i has the rows from ``offsets[i]``
        up to ``offsets[i + 1]``. Such a batch is a `RaggedBatch`, which raises an error if a framework takes it apart.
        The ``attributes`` are stacked one by one. All other values become a list with a member for each item.

    Raises
    ------
    ArgumentError
        An item lacks a field or an attribute that another item has.
    """
    sample_ids = [item.get("sample_id", number) for number, item in enumerate(items)]
    join = _Joiner(items)
    batch: dict[str, Any] = WorkerBatch()
    offsets: dict[str, torch.Tensor] = {}
    for key, values in _by_key(items, sample_ids).items():
        if key == "attributes":
            batch[key] = {name: join.stack(each) for name, each in _by_key(values, sample_ids).items()}
        elif _differ_in_length(values):
            batch[key] = join.concatenate(values)
            offsets[key] = torch.tensor([0, *map(len, values)]).cumsum(0)
        else:
            batch[key] = join.stack(values)
    if offsets:
        batch["offsets"] = offsets
    return batch if get_worker_info() is not None else as_batch(batch)


class _Joiner:
    """Joins the tensors of a batch; in a worker, in shared memory that is sent to the main process without a copy.

    Tensors that are already contiguous in that memory are not copied.
    """

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._items = items
        self._in_worker = get_worker_info() is not None
        self._taken: list[tuple[int, int]] = []
        self._room: torch.Tensor | None = None

    def stack(self, values: list[Any]) -> Any:
        """Stack tensors of the same shape; return any other values unchanged, as a list."""
        if any(not isinstance(value, torch.Tensor) or value.shape != values[0].shape for value in values):
            return values
        shape = len(values), *values[0].shape
        joined = self._joined(values, shape)
        return torch.stack(values, out=self._place(values, shape)) if joined is None else joined

    def concatenate(self, values: list[torch.Tensor]) -> torch.Tensor:
        """Concatenate tensors along their points."""
        shape = sum(map(len, values)), *values[0].shape[1:]
        joined = self._joined(values, shape)
        return torch.cat(values, out=self._place(values, shape)) if joined is None else joined

    def _joined(self, values: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor | None:
        """Return one tensor if all are contiguous in recycled memory that no other result has; else None."""
        first = values[0]
        if not self._in_worker or not all(value.dtype == first.dtype and is_plain(value) for value in values):
            return None
        start = stop = first.data_ptr()
        for value in values:
            if value.data_ptr() != stop:
                return None
            stop += _n_bytes(value)
        # A tensor that a transform returns under two names becomes two tensors of the batch.
        if any(start < other_stop and other_start < stop for other_start, other_stop in self._taken):
            return None
        memory = recycled(start, stop)
        if memory is None:
            return None
        self._taken.append((start, stop))
        return memory.view(first.dtype).view(shape)

    def _place(self, values: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor | None:
        """Return memory for the joined tensors; None to let PyTorch allocate it."""
        dtype, n_bytes = values[0].dtype, sum(map(_n_bytes, values))
        if not self._in_worker or n_bytes < MIN_SHARED_BYTES or any(value.dtype != dtype for value in values):
            return None
        if self._room is None:  # one block for the whole batch: sending two blocks takes twice the time
            values_of_items = [(*item.values(), *item.get("attributes", {}).values()) for item in self._items]
            tensors = [value for values in values_of_items for value in values if isinstance(value, torch.Tensor)]
            self._room = torch.from_numpy(allocate([sum(map(_n_bytes, tensors)) + ALIGNMENT * len(tensors)])[0])
        place, self._room = self._room[:n_bytes], self._room[-(-n_bytes // ALIGNMENT) * ALIGNMENT :]
        return place.view(dtype).view(shape)


def _n_bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _differ_in_length(values: Sequence[Any]) -> bool:
    """Return whether values are tensors that differ in length only."""
    if not all(isinstance(value, torch.Tensor) and value.ndim for value in values):
        return False
    return len({value.shape for value in values}) > 1 and len({value.shape[1:] for value in values}) == 1


def _by_key(mappings: Sequence[Mapping[str, Any]], sample_ids: Sequence[object]) -> dict[str, list[Any]]:
    first = mappings[0]
    for mapping, sample_id in zip(mappings, sample_ids, strict=True):
        for key in sorted(first.keys() ^ mapping.keys()):
            has, lacks = (sample_ids[0], sample_id) if key in first else (sample_id, sample_ids[0])
            raise ArgumentError(
                f"sample {has!r} has {key!r} and sample {lacks!r} does not, so they do not fit into one batch; request "
                f"only fields that all samples have, or remove {key!r} in a transform"
            )
    return {key: [mapping[key] for mapping in mappings] for key in first}
