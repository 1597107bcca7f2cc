"""Counts of a dataset's reads, in memory that all its workers share."""

from __future__ import annotations

import os
from typing import Any

import torch

from noether.data.zarr_store.reading import IO_NUMBERS, IoRow, IoStatistics

__all__ = ["SharedStatistics"]

_MAX_PROCESSES = 512
# A whole number of CPU cache lines: two processes that write to the same line slow each other down.
_ROW_NUMBERS = 16


class SharedStatistics:
    """The counts of all processes. Each process counts in its own row, so no process waits for another.

    Forked processes, and processes that multiprocessing started with the dataset, share the memory. A copy of the
    dataset, and a dataset from a pickle file, begin at 0.
    """

    _rows: torch.Tensor
    # The process of the last call, and its row.
    _own: tuple[int, IoRow] | None

    def __init__(self) -> None:
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._rows.is_shared():  # type: ignore[no-untyped-call]  # untyped in PyTorch
            self._begin()

    def own_row(self) -> IoRow:
        """Return the row of this process."""
        pid = os.getpid()
        if self._own is None or self._own[0] != pid:
            # The number of the worker is not unique: two loaders may run, each with a worker 0.
            self._own = pid, self._rows[pid % _MAX_PROCESSES, :IO_NUMBERS].numpy()
        return self._own[1]

    def total(self) -> IoStatistics:
        """Return the sums over all processes."""
        return IoStatistics.of_row(self._rows[:, :IO_NUMBERS].sum(dim=0).tolist())

    def _begin(self) -> None:
        self._own = None
        self._rows = torch.zeros(_MAX_PROCESSES, _ROW_NUMBERS, dtype=torch.int64)
        self._rows.share_memory_()  # type: ignore[no-untyped-call]  # untyped in PyTorch
