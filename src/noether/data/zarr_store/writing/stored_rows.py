"""The rows of a field in stored order: a protocol, and an implementation for arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import gather
from noether.data.zarr_store.manifest import Origin
from noether.data.zarr_store.writing.origin import minus_origin

__all__ = ["GatheredRows", "RowsInOrder", "StoredRows"]

# Rows, shape (n, width), and the int64 indices of the rows to take, in order; None takes all rows in order.
RowsInOrder = tuple[NDArray[Any], NDArray[np.int64] | None]


class StoredRows(Protocol):
    """The rows of one field in stored order. Thread-safe."""

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows `start` to `stop` in the stored dtype; shape ``(stop - start, width)``."""

    def parts(self, start: int, stop: int) -> Iterator[RowsInOrder]:
        """Yield the rows `start` to `stop` of neighbouring chunks, not gathered yet, some whole chunks at a time."""


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """The `StoredRows` of an array in memory.

    Attributes
    ----------
    values : ndarray, shape (n_points, width)
        Rows in the order and dtype of the source.
    order : ndarray of int64, shape (n_points,)
        Permutation: stored row ``i`` is source row ``order[i]``.
    dtype : numpy.dtype
        Stored dtype.
    origin : tuple of three floats, optional
        Point that is subtracted before the cast.
    """

    values: NDArray[Any]
    order: NDArray[np.int64]
    dtype: np.dtype[Any]
    origin: Origin | None = None

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows, gathered and cast; see `StoredRows`."""
        # Overflow was reported before, so values that are infinite here were infinite in the source.
        if self.origin is None:
            return gather(self.values, self.order[start:stop], self.dtype)
        rows = gather(self.values, self.order[start:stop], self.values.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            return minus_origin(rows, self.origin).astype(self.dtype, order="C", copy=False)

    def parts(self, start: int, stop: int) -> Iterator[RowsInOrder]:
        """Yield all rows at once; see `StoredRows`."""
        if self.origin is None:
            yield self.values, self.order[start:stop]
        else:
            yield self.chunk(start, stop), None
