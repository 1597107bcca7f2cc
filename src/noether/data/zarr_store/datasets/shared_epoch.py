"""The epoch of a dataset that nobody's sampler counts: shared with its workers, and watched."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from multiprocessing import parent_process
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

__all__ = ["SharedEpoch"]

# What the shared memory holds before the marks of the samples: those of loaders, and those of single items.
_OWNER, _EPOCH, _CALLS, _WARNED, _MARKS = range(5)


class SharedEpoch:
    """The epoch that `set_epoch` chose, in memory that the workers of a training share.

    Each training has memory of its own: a process that is no worker, and was forked from one that has a dataset or got
    it in a pickle, goes on with the epoch alone.

    Parameters
    ----------
    n_samples : int
        Of the dataset.
    epoch : int
        The first epoch.
    """

    def __init__(self, n_samples: int, epoch: int = 0) -> None:
        self._shared = torch.zeros(_MARKS + 2 * n_samples, dtype=torch.int64)
        self._shared[_EPOCH] = epoch
        self._shared[_OWNER] = _training()
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    @property
    def value(self) -> int:
        """The epoch."""
        return int(self._own()[_EPOCH])

    @property
    def n_set(self) -> int:
        """How often this training has chosen an epoch."""
        return int(self._own()[_CALLS])

    def set(self, epoch: int) -> None:
        """Choose the epoch, also for workers that run already."""
        own = self._own()
        own[_EPOCH] = epoch
        own[_CALLS] += 1

    def watch(self, numbers: Sequence[int], sample_ids: Sequence[str], *, by_loader: bool) -> None:
        """Mark samples as drawn in this epoch; warn, once, where one of them was before and no epoch was set since.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the samples.
        sample_ids : sequence of str
            Of the whole dataset.
        by_loader : bool
            Whether a loader asks. Who looks at single items may see the same one again, until all were looked at.
        """
        own = self._own()
        of_loaders, of_items = np.split(own[_MARKS:], 2)
        marks, mark = of_loaders if by_loader else of_items, own[_CALLS] + 1
        for number in numbers:
            if marks[number] == mark and not own[_WARNED] and (by_loader or (marks == mark).all()):
                own[_WARNED] = 1
                warnings.warn(
                    f"sample {sample_ids[number]!r} comes again with the points that it gave before, those of epoch "
                    f"{own[_EPOCH]}: nobody has said that another epoch began. Iterate dataset.loader(...), or a "
                    "DataLoader with sampler=EpochSampler(dataset), which count epochs, or call "
                    "dataset.set_epoch(epoch) before each pass. torch's Subset and random_split lose the epoch of a "
                    "sampler; dataset.subset(sample_ids) keeps it. Where points shall never move: fixed=True",
                    stacklevel=5,
                )
            marks[number] = mark

    def _own(self) -> NDArray[np.int64]:
        """Return the memory of this training."""
        memory: NDArray[np.int64] = self._shared.numpy()
        training = _training()
        if memory[_OWNER] != training:
            fresh = torch.zeros_like(self._shared)
            fresh[_EPOCH], fresh[_OWNER] = int(memory[_EPOCH]), training
            self._shared = fresh
            self._share()
            memory = fresh.numpy()
        return memory

    def is_shared(self) -> bool:
        """Return whether workers see it."""
        return bool(self._shared.is_shared())  # type: ignore[no-untyped-call]  # PyTorch has it untyped

    def _share(self) -> None:
        """Let workers see it; of a dataset that comes out of a pickle, the memory may not be shared any more."""
        self._shared.share_memory_()  # type: ignore[no-untyped-call]  # PyTorch has it untyped


def _training() -> int:
    """Return the number of the process that trains: this one, or the one whose worker this is."""
    parent = None if get_worker_info() is None else parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid
