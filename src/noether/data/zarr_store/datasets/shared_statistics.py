"""What a dataset has read, in memory that all its workers share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noether.data.zarr_store.reading import IO_NAMES, IoStatistics

__all__ = ["SharedStatistics"]

_MAX_PROCESSES = 512


class SharedStatistics:
    """The sums of what processes read. Each process adds to a row of its own, so that none waits for another.

    Processes that were forked, and those that multiprocessing started with the dataset, share the memory. A copy of the
    dataset, and one that comes out of a file, begins anew.
    """

    _rows: torch.Tensor
    # The process that added last, and its row.
    _own: tuple[int, NDArray[np.float64]] | None

    def __init__(self) -> None:
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._rows.is_shared():  # type: ignore[no-untyped-call]  # PyTorch has it untyped
            self._begin()

    def add(self, numbers: Sequence[float]) -> None:
        """Add what this process read since it did so last, in the order of the attributes of `IoStatistics`."""
        if numbers:
            row = self._own_row()
            row += numbers

    def total(self) -> IoStatistics:
        """Return the sums over all processes."""
        return IoStatistics.of(self._rows.numpy().sum(axis=0).tolist())

    def _own_row(self) -> NDArray[np.float64]:
        pid = os.getpid()
        if self._own is None or self._own[0] != pid:
            # Not the number of a worker: two loaders may be at work, each with a first one.
            self._own = pid, self._rows.numpy()[pid % _MAX_PROCESSES]
        return self._own[1]

    def _begin(self) -> None:
        self._own = None
        self._rows = torch.zeros(_MAX_PROCESSES, len(IO_NAMES), dtype=torch.float64)
        self._rows.share_memory_()  # type: ignore[no-untyped-call]  # PyTorch has it untyped
