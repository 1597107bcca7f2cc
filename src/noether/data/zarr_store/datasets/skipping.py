"""Skipping of samples that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch.utils.data import get_worker_info

from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.datasets.items import Item
from noether.data.zarr_store.errors import CorruptDataError, StorageError, require_one_of

__all__ = ["UNREADABLE", "OnError", "Skipped", "check_on_error", "read_or_next"]

OnError = Literal["raise", "skip"]

UNREADABLE = (CorruptDataError, StorageError)

_MAX_WORKERS = 256

# If this many consecutive samples cannot be read, the storage is more likely to be the cause than the samples.
_MAX_SKIPPED_IN_A_ROW = 8

_logger = logging.getLogger(__name__)


def check_on_error(choice: OnError) -> bool:
    """Return whether to skip unreadable samples; raise `ArgumentError` for an unknown choice."""
    require_one_of("on_error", choice, get_args(OnError))
    return choice == "skip"


class Skipped:
    """The skipped samples and the number of skipped items, in memory that all workers of a dataset share.

    Parameters
    ----------
    n_samples : int
        Number of samples of the dataset.
    """

    def __init__(self, n_samples: int) -> None:
        # Workers write in parallel: each to its own element, or the same value to the same element.
        self._samples = torch.zeros(n_samples, dtype=torch.bool)
        self._items = torch.zeros(1 + _MAX_WORKERS, dtype=torch.int64)
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    @property
    def n_items(self) -> int:
        """Number of items that contain another sample, because the requested sample could not be read."""
        return int(self._items.sum())

    @property
    def samples(self) -> list[int]:
        """Indices of the samples that were skipped."""
        found: list[int] = self._samples.nonzero().flatten().tolist()
        return found

    def count_item(self) -> None:
        """Count one item."""
        worker = get_worker_info()
        self._items[0 if worker is None else 1 + worker.id % _MAX_WORKERS] += 1

    def add_sample(self, number: int, sample_id: str, error: Exception) -> None:
        """Record that a sample was skipped, and log the reason unless it was skipped before."""
        if not self._samples[number]:
            self._samples[number] = True
            _logger.warning("sample %r cannot be read, and is skipped: %s", sample_id, error)

    def _share(self) -> None:
        for memory in (self._samples, self._items):
            memory.share_memory_()  # type: ignore[no-untyped-call]  # untyped in PyTorch


def read_or_next(
    read: Callable[[Sequence[DrawIndex]], list[Item]], draw: DrawIndex, sample_ids: Sequence[str], skipped: Skipped
) -> Item:
    """Return one item, or else the item of the next readable sample, in the same epoch.

    Parameters
    ----------
    read : callable
        Reads the items of a batch.
    draw : DrawIndex
        The requested draw.
    sample_ids : sequence of str
        Ids of all samples of the dataset.
    skipped : Skipped
        Record of the skipped samples and items.
    """
    last = min(len(sample_ids), _MAX_SKIPPED_IN_A_ROW) - 1
    for step in range(last + 1):
        candidate = DrawIndex((int(draw) + step) % len(sample_ids), draw.epoch, draw.repeat)
        try:
            [item] = read([candidate])
        except UNREADABLE as error:
            skipped.add_sample(candidate, sample_ids[candidate], error)
            if step == last:
                error.add_note(f"on_error='skip': none of {last + 1} samples in a row could be read")
                raise
        else:
            break
    if step:
        skipped.count_item()
    return item
