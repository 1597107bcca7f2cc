"""What a dataset has read, in memory that all its workers share."""

from __future__ import annotations

import os
from typing import Any

import torch

from noether.data.zarr_store.reading import IO_NUMBERS, IoRow, IoStatistics

__all__ = ["SharedStatistics"]

_MAX_PROCESSES = 512
# Lines of a processor's cache: two processes that write to one slow each other down.
_ROW_NUMBERS = 16


class SharedStatistics:
    """The sums of what processes read. Each process counts in a row of its own, so that none waits for another.

    Processes that were forked, and those that multiprocessing started with the dataset, share the memory. A copy of the
    dataset, and one that comes out of a file, begins anew.
    """

    _rows: torch.Tensor
    # The process that asked last, and its row.
    _own: tuple[int, IoRow] | None

    def __init__(self) -> None:
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._rows.is_shared():  # type: ignore[no-untyped-call]  # PyTorch has it untyped
            self._begin()

    def own_row(self) -> IoRow:
        """Return the numbers of this process."""
        pid = os.getpid()
        if self._own is None or self._own[0] != pid:
            # Not the number of a worker: two loaders may be at work, each with a first one.
            self._own = pid, self._rows[pid % _MAX_PROCESSES, :IO_NUMBERS].numpy()
        return self._own[1]

    def total(self) -> IoStatistics:
        """Return the sums over all processes."""
        return IoStatistics.of_row(self._rows[:, :IO_NUMBERS].sum(dim=0).tolist())

    def _begin(self) -> None:
        self._own = None
        self._rows = torch.zeros(_MAX_PROCESSES, _ROW_NUMBERS, dtype=torch.int64)
        self._rows.share_memory_()  # type: ignore[no-untyped-call]  # PyTorch has it untyped
