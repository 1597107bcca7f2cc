"""Values that a dataset and its workers share."""

from __future__ import annotations

import pickle
from typing import Any, Generic, TypeVar

import torch

__all__ = ["SharedPickle"]

Value = TypeVar("Value")


class SharedPickle(Generic[Value]):
    """A value that does not change, and reaches workers through shared memory.

    A spawned worker gets its dataset through a pipe, which holds 64 kB. A manifest would fill the pipe, and the next
    worker could not start before this worker has imported PyTorch and read its dataset.

    Attributes
    ----------
    value : object
        The value; it must be picklable.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        # The tensor is kept: a worker opens it some time after it was sent, and the next worker gets it too.
        self._pickled: torch.Tensor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._pickled is None:
            self._pickled = torch.frombuffer(bytearray(pickle.dumps(self.value)), dtype=torch.uint8)
        return _unpickle, (self._pickled,)


def _unpickle(pickled: torch.Tensor) -> SharedPickle[Any]:
    return SharedPickle(pickle.loads(pickled.numpy().data))  # noqa: S301 - the tensor itself came in a pickle
