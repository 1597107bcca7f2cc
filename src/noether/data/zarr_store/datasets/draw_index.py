"""An index of a dataset that carries the epoch and the repeat of its draw."""

from __future__ import annotations

from typing import Any

__all__ = ["DrawIndex"]


class DrawIndex(int):
    """An index of a dataset, with the epoch and the repeat of its draw.

    The index itself takes the epoch from the sampler to every worker, so no state is shared. Code that knows nothing of
    epochs can use it as an int.

    Attributes
    ----------
    epoch : int
        Number of the epoch that the index belongs to.
    repeat : int
        Number of times that the same index came before in this epoch.
    """

    epoch: int
    repeat: int

    def __new__(cls, index: int, epoch: int, repeat: int = 0) -> DrawIndex:
        """Return `index` with the epoch and the repeat of its draw."""
        self = super().__new__(cls, index)
        self.epoch = epoch
        self.repeat = repeat
        return self

    def __sub__(self, other: int) -> DrawIndex:
        """Return the index minus `other`, which `torch.utils.data.ConcatDataset` subtracts to address its datasets."""
        return DrawIndex(int(self) - int(other), self.epoch, self.repeat)

    def __reduce__(self) -> tuple[Any, ...]:
        return DrawIndex, (int(self), self.epoch, self.repeat)

    def __repr__(self) -> str:
        return f"DrawIndex({int(self)}, epoch={self.epoch}, repeat={self.repeat})"
