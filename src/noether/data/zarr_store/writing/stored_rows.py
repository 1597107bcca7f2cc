"""The rows of a field in stored order, and those of an array in memory."""

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

# Rows, shape (n, width), and the numbers of those that are meant, in their order, int64; None for all rows in order.
RowsInOrder = tuple[NDArray[Any], NDArray[np.int64] | None]


class StoredRows(Protocol):
    """The rows of one field in stored order. Safe to use from many threads."""

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows `start` to `stop` of one chunk in the stored dtype; shape ``(stop - start, width)``."""

    def parts(self, start: int, stop: int) -> Iterator[RowsInOrder]:
        """Yield the rows `start` to `stop` of neighbouring chunks, which are not gathered yet, in whole chunks."""


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """Rows of an array in memory.

    Attributes
    ----------
    values : ndarray, shape (n_points, width)
        In the source's order and dtype.
    order : ndarray of int64, shape (n_points,)
        Stored row ``i`` is source row ``order[i]``.
    dtype : numpy.dtype
        What is stored.
    origin : tuple of three floats, optional
        What is subtracted before the cast.
    """

    values: NDArray[Any]
    order: NDArray[np.int64]
    dtype: np.dtype[Any]
    origin: Origin | None = None

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Gather and cast; see `StoredRows`."""
        # Overflow was refused before: what becomes infinite here was infinite in the source.
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
