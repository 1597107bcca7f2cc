"""The rows of a field in a temporary file, in blocks whose rows are grouped by bucket."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import scatter
from noether.data.zarr_store.core import ScratchFile

__all__ = ["ScatteredRows"]


class ScatteredRows:
    """Rows that are added in blocks of source order, and read back a bucket at a time. Thread-safe.

    A block is written with one write, at the offset that its rows have in the source. So threads do not wait for each
    other, and the disk gets large writes. A bucket is gathered from all blocks.

    Parameters
    ----------
    file : ScratchFile
        File with room for all rows; the caller closes it.
    n_buckets : int
        Number of buckets, at most `codec.MAX_BUCKETS`.
    width : int
        Number of components per point.
    dtype : numpy.dtype
        Dtype of the rows in the file.
    """

    def __init__(self, file: ScratchFile, n_buckets: int, width: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._n_buckets = n_buckets
        self._width = width
        self._dtype = dtype
        # By the first row of a block: the first row of each bucket within the block, then the number of rows.
        self._bounds: dict[int, NDArray[np.int64]] = {}
        self._adding = Lock()

    def add(self, first_row: int, rows: NDArray[Any], buckets: NDArray[np.uint16]) -> None:
        """Write a block of rows.

        Parameters
        ----------
        first_row : int
            Row number of the first row. The blocks can come in any order; each must come once.
        rows : ndarray, shape (n, width)
            Rows in the dtype of the source. A value beyond the range of the file's dtype becomes infinite.
        buckets : ndarray of uint16, shape (n,)
            The bucket of each row.
        """
        grouped, counts = scatter(rows, buckets, self._n_buckets, self._dtype)
        self._file.write(grouped, first_row * self._row_bytes)
        with self._adding:
            self._bounds[first_row] = np.concatenate([[0], np.cumsum(counts)])

    def counts(self) -> NDArray[np.int64]:
        """Return the number of rows of each bucket; int64, shape (n_buckets,)."""
        total: NDArray[np.int64] = np.sum([np.diff(bounds) for bounds in self._bounds.values()], axis=0, dtype=np.int64)
        return total

    def bucket(self, number: int) -> NDArray[Any]:
        """Read the rows of one bucket, in source order; shape (n_rows, width)."""
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
