"""What a dataset and its workers share."""

from __future__ import annotations

import pickle
from typing import Any, Generic, TypeVar

import torch

__all__ = ["SharedPickle"]

Value = TypeVar("Value")


class SharedPickle(Generic[Value]):
    """A value that does not change, and reaches workers through shared memory.

    A spawned worker gets its dataset through a pipe, which holds 64 kB: a manifest would fill it, and the next worker
    would not be started before this one has imported PyTorch and read its own.

    Attributes
    ----------
    value : object
        Can be pickled.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        # Kept, since a worker may open it only after it has been sent, and since the next one gets it as well.
        self._pickled: torch.Tensor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._pickled is None:
            self._pickled = torch.frombuffer(bytearray(pickle.dumps(self.value)), dtype=torch.uint8)
        return _unpickle, (self._pickled,)


def _unpickle(pickled: torch.Tensor) -> SharedPickle[Any]:
    return SharedPickle(pickle.loads(pickled.numpy().data))  # noqa: S301 - it comes out of a pickle itself
