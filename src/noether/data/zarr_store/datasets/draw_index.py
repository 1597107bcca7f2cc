"""An index that says which draw of a sample is asked for."""

from __future__ import annotations

from typing import Any

__all__ = ["DrawIndex"]


class DrawIndex(int):
    """An index of a dataset, with the epoch and the repeat that its draw is made for.

    A sampler that yields these tells every worker the epoch with the index itself, so that nothing is shared. To all
    who know nothing of epochs it is the int.

    Attributes
    ----------
    epoch : int
        The pass that the index belongs to.
    repeat : int
        How often the same index came before in this pass.
    """

    epoch: int
    repeat: int

    def __new__(cls, index: int, epoch: int, repeat: int = 0) -> DrawIndex:
        """Return `index`, with what is said of its draw."""
        self = super().__new__(cls, index)
        self.epoch = epoch
        self.repeat = repeat
        return self

    def __sub__(self, other: int) -> DrawIndex:
        """Return the index counted from `other` on: `torch.utils.data.ConcatDataset` finds its datasets so."""
        return DrawIndex(int(self) - int(other), self.epoch, self.repeat)

    def __reduce__(self) -> tuple[Any, ...]:
        return DrawIndex, (int(self), self.epoch, self.repeat)

    def __repr__(self) -> str:
        return f"DrawIndex({int(self)}, epoch={self.epoch}, repeat={self.repeat})"
