"""From the items of a dataset to batches, also where samples differ in size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.utils.data import get_worker_info

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["collate_samples"]


def collate_samples(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one batch of items: the `collate_fn` for a `torch.utils.data.DataLoader`.

    Parameters
    ----------
    items : sequence of mappings
        Items of a `ZarrStoreDataset`, transformed or not.

    Returns
    -------
    dict
        Tensors of the same shape in all B items are stacked: ``(B, T)`` and ``(B, T, width)``. Where only the numbers
        of points differ, they are concatenated: ``(T_1 + … + T_B,)`` and ``(T_1 + … + T_B, width)``; then ``offsets``
        has, by name of field, an int64 tensor of shape ``(B + 1,)``, and item i the rows from ``offsets[i]`` up to
        ``offsets[i + 1]``. ``attributes`` are stacked one by one. All else is a list with a member for each item.

    Raises
    ------
    ArgumentError
        An item lacks a field or an attribute that another one has.
    """
    sample_ids = [item.get("sample_id", number) for number, item in enumerate(items)]
    join = _Joiner(items)
    batch: dict[str, Any] = {}
    offsets: dict[str, torch.Tensor] = {}
    for key, values in _by_key(items, sample_ids).items():
        if key == "attributes":
            batch[key] = {name: join.stack(each) for name, each in _by_key(values, sample_ids).items()}
        elif _differ_in_length(values):
            batch[key] = join.concatenate(values)
            offsets[key] = join.shared(torch.tensor([0, *map(len, values)]).cumsum(0))
        else:
            batch[key] = join.stack(values)
    return batch | {"offsets": offsets} if offsets else batch


class _Joiner:
    """Joins the tensors of a batch.

    In a worker, all of float32 go into one piece of memory: each piece is sent to the main process on its own, which
    costs both of them more than to read a field of a small draw. What is sent is shared here, and not by the thread
    that sends it, which would abort the process if it were at that when the worker ends.
    """

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._in_worker = get_worker_info() is not None
        tensors = [value for item in items for value in (*item.values(), *item.get("attributes", {}).values())]
        n_values = sum(value.numel() for value in tensors if _is_float32(value)) if self._in_worker else 0
        self._memory = self.shared(torch.empty(n_values, dtype=torch.float32))

    def stack(self, values: list[Any]) -> Any:
        """Stack tensors of the same shape; of anything else, give the list."""
        if any(not isinstance(value, torch.Tensor) or value.shape != values[0].shape for value in values):
            return values
        return self.shared(torch.stack(values, out=self._room(values, (len(values), *values[0].shape))))

    def concatenate(self, values: list[torch.Tensor]) -> torch.Tensor:
        """Concatenate tensors along their points."""
        shape = sum(map(len, values)), *values[0].shape[1:]
        return self.shared(torch.cat(values, out=self._room(values, shape)))

    def shared(self, tensor: torch.Tensor) -> torch.Tensor:
        """Share the memory of a tensor with the main process, unless this is it."""
        if self._in_worker:
            tensor.share_memory_()  # type: ignore[no-untyped-call]  # PyTorch has it untyped
        return tensor

    def _room(self, values: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor | None:
        if not self._in_worker or not all(map(_is_float32, values)):
            return None
        room, self._memory = self._memory[: prod(shape)], self._memory[prod(shape) :]
        return room.view(shape)


def _is_float32(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _differ_in_length(values: Sequence[Any]) -> bool:
    """Say whether values are tensors of different lengths that are the same otherwise."""
    if not all(isinstance(value, torch.Tensor) and value.ndim for value in values):
        return False
    return len({value.shape for value in values}) > 1 and len({value.shape[1:] for value in values}) == 1


def _by_key(mappings: Sequence[Mapping[str, Any]], sample_ids: Sequence[object]) -> dict[str, list[Any]]:
    first = mappings[0]
    for mapping, sample_id in zip(mappings, sample_ids, strict=True):
        for key in sorted(first.keys() ^ mapping.keys()):
            has, lacks = (sample_ids[0], sample_id) if key in first else (sample_id, sample_ids[0])
            raise ArgumentError(
                f"sample {has!r} has {key!r} and sample {lacks!r} has not, so they do not fit into one batch; ask for "
                "fields that all samples have, or remove it in a transform"
            )
    return {key: [mapping[key] for mapping in mappings] for key in first}
