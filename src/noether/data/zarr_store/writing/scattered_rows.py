"""The rows of a field on disk: block by block as they come, and grouped by bucket in each block."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import scatter
from noether.data.zarr_store.core import ScratchFile

__all__ = ["ScatteredRows"]


class ScatteredRows:
    """Rows that are added in the source's order, and read back a bucket at a time. Safe to use from many threads.

    A block is written as one piece, at the place that its rows have in the source: so threads need not wait for one
    another, and the disk gets large pieces. A bucket is gathered from all of them.

    Parameters
    ----------
    file : ScratchFile
        Has room for all rows; whoever made it closes it.
    n_buckets : int
        At most `codec.MAX_BUCKETS`.
    width : int
        Components per point.
    dtype : numpy.dtype
        What is kept.
    """

    def __init__(self, file: ScratchFile, n_buckets: int, width: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._n_buckets = n_buckets
        self._width = width
        self._dtype = dtype
        # By the first row of a block: where in it each bucket begins, and the end of the last, in rows.
        self._bounds: dict[int, NDArray[np.int64]] = {}
        self._adding = Lock()

    def add(self, first_row: int, rows: NDArray[Any], buckets: NDArray[np.uint16]) -> None:
        """Keep a block of rows.

        Parameters
        ----------
        first_row : int
            Number of the first of them; blocks may come in any order, each once.
        rows : ndarray, shape (n, width)
            In the source's dtype. A value beyond the range of what is kept becomes infinite.
        buckets : ndarray of uint16, shape (n,)
            The bucket of each row.
        """
        grouped, counts = scatter(rows, buckets, self._n_buckets, self._dtype)
        self._file.write(grouped, first_row * self._row_bytes)
        with self._adding:
            self._bounds[first_row] = np.concatenate([[0], np.cumsum(counts)])

    def counts(self) -> NDArray[np.int64]:
        """Return how many rows each bucket has; int64, shape (n_buckets,)."""
        total: NDArray[np.int64] = np.sum([np.diff(bounds) for bounds in self._bounds.values()], axis=0, dtype=np.int64)
        return total

    def bucket(self, number: int) -> NDArray[Any]:
        """Read the rows of one bucket in the source's order; shape (n_rows, width)."""
        pieces = [(first, *self._bounds[first][number : number + 2].tolist()) for first in sorted(self._bounds)]
        rows = np.empty((sum(stop - start for _, start, stop in pieces), self._width), self._dtype)
        done = 0
        for first, start, stop in pieces:
            if start < stop:
                self._file.read_into(rows[done : done + stop - start], (first + start) * self._row_bytes)
                done += stop - start
        return rows

    @property
    def _row_bytes(self) -> int:
        return self._width * self._dtype.itemsize
