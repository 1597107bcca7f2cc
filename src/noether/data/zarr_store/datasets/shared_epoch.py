"""The epoch of a dataset without an epoch-counting sampler. Workers share it, and repeated draws cause a warning."""

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

# Indices into the shared memory. The marks of the samples come last: first the marks of loaders, then of single items.
# A mark identifies the `set_epoch` call before the last draw of the sample.
_OWNER, _EPOCH, _CALLS, _WARNED, _MARKS = range(5)


class SharedEpoch:
    """The epoch that `set_epoch` chose, in memory that the workers of a training share.

    Each training has its own memory. A process that is not a worker starts a new training if it inherits the dataset by
    a fork, or unpickles it: it takes over only the epoch.

    Parameters
    ----------
    n_samples : int
        Number of samples of the dataset.
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
        """Number of times that this training has set an epoch."""
        return int(self._own()[_CALLS])

    def set(self, epoch: int) -> None:
        """Set the epoch, also for running workers."""
        own = self._own()
        own[_EPOCH] = epoch
        own[_CALLS] += 1

    def watch(self, numbers: Sequence[int], sample_ids: Sequence[str], *, by_loader: bool) -> None:
        """Mark samples as drawn in this epoch. Warn once if a sample is drawn again and no epoch was set since.

        Parameters
        ----------
        numbers : sequence of int
            Indices of the drawn samples in `sample_ids`.
        sample_ids : sequence of str
            Ids of all samples of the dataset.
        by_loader : bool
            Whether a loader draws the samples. Single items may repeat without a warning until all were drawn.
        """
        own = self._own()
        of_loaders, of_items = np.split(own[_MARKS:], 2)
        marks, mark = of_loaders if by_loader else of_items, own[_CALLS] + 1
        for number in numbers:
            if marks[number] == mark and not own[_WARNED] and (by_loader or (marks == mark).all()):
                own[_WARNED] = 1
                warnings.warn(
                    f"sample {sample_ids[number]!r} repeats its points of epoch {own[_EPOCH]}, because no other epoch "
                    "was set. Iterate dataset.loader(...), or a DataLoader with sampler=EpochSampler(dataset), which "
                    "count epochs, or call dataset.set_epoch(epoch) before each pass. torch's Subset and random_split "
                    "lose the epoch of a sampler; dataset.subset(sample_ids) keeps it. If points should never change, "
                    "use fixed=True",
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
        """Return whether workers can access the memory."""
        return bool(self._shared.is_shared())  # type: ignore[no-untyped-call]  # untyped in PyTorch

    def _share(self) -> None:
        """Make the memory accessible to workers. After unpickling, it might no longer be shared."""
        self._shared.share_memory_()  # type: ignore[no-untyped-call]  # untyped in PyTorch


def _training() -> int:
    """Return the id of the process that trains: this process, or the main process of this worker."""
    parent = None if get_worker_info() is None else parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid
