"""Arrays that read or compute rows lazily, when they are sliced."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import default_threads, run_all

__all__ = ["LazyArray", "ReadArray", "StackedArray", "TransposedArray", "chosen_rows", "joined", "read_threads"]

# Further threads cost memory and save little time.
_MAX_THREADS = 8
# Rows per block of a mask; `ChosenRows` keeps one count per block.
_MASK_ROWS = 1 << 16


def read_threads() -> int:
    """Return the number of threads that read a file concurrently."""
    return min(default_threads(), _MAX_THREADS)


@dataclass(frozen=True, slots=True)
class LazyArray:
    """An array that is not in memory.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : numpy.dtype
        Dtype of the rows that slicing returns.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read some rows. The index must be a slice without a step."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _bounds(self, rows: slice) -> tuple[int, int]:
        start, stop, _ = rows.indices(self.shape[0])
        return start, max(start, stop)


@dataclass(frozen=True, slots=True)
class ReadArray(LazyArray):
    """An array whose rows come from a function.

    Attributes
    ----------
    read : callable
        Function that returns the rows from `start` to `stop`. Several threads call it at once.
    step : int
        Largest number of rows per call.
    """

    read: Callable[[int, int], NDArray[Any]]
    step: int

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop = self._bounds(rows)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)

        def fill(first: int) -> None:
            last = min(first + self.step, stop)
            out[first - start : last - start] = self.read(first, last)

        threads = read_threads()
        with ThreadPoolExecutor(threads, thread_name_prefix="noether-read") as pool:
            run_all(pool, (partial(fill, first) for first in range(start, stop, self.step)), ahead=threads + 1)
        return out


@dataclass(frozen=True, slots=True)
class JoinedArray(LazyArray):
    """A concatenation of arrays along the rows.

    Attributes
    ----------
    parts : tuple of array-like
        Arrays of the same width.
    """

    parts: tuple[Any, ...]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop = self._bounds(rows)
        bounds = list(accumulate((one.shape[0] for one in self.parts), initial=0))
        pieces = [np.empty((0, *self.shape[1:]), self.dtype)]
        while start < stop:
            part = bisect_right(bounds, start) - 1
            end = min(stop, bounds[part + 1])
            pieces.append(np.asarray(self.parts[part][start - bounds[part] : end - bounds[part]]))
            start = end
        return np.asarray(pieces[1], self.dtype) if len(pieces) == 2 else np.concatenate(pieces, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class ChosenRows(LazyArray):
    """Some rows of an array; see `chosen_rows`."""

    source: Any
    mask: NDArray[np.bool_]
    # Number of chosen rows before each block of the mask, then the total.
    counts: list[int] = field(repr=False)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop = self._bounds(rows)
        if start == stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = self._place(start), self._place(stop - 1) + 1
        values: NDArray[Any] = np.asarray(self.source[first:last])[self.mask[first:last]]
        return values

    def _place(self, row: int) -> int:
        """Return the index in `source` of a chosen row."""
        block = bisect_right(self.counts, row) - 1
        inside = np.flatnonzero(self.mask[block * _MASK_ROWS : (block + 1) * _MASK_ROWS])
        return block * _MASK_ROWS + int(inside[row - self.counts[block]])


def chosen_rows(source: Any, mask: NDArray[np.bool_]) -> Any:
    """Return the rows of an array for which a mask is true. The result is in memory if the array is.

    Parameters
    ----------
    source : array-like, shape (n_rows, ...)
        The array.
    mask : ndarray of bool, shape (n_rows,)
        True for the rows to return.
    """
    if isinstance(source, np.ndarray):
        return source[mask]
    counts = [int(np.count_nonzero(mask[at : at + _MASK_ROWS])) for at in range(0, len(mask), _MASK_ROWS)]
    ends = list(accumulate(counts, initial=0))
    return ChosenRows((ends[-1], *source.shape[1:]), source.dtype, source, mask, ends)


def joined(parts: Sequence[Any]) -> Any:
    """Return the concatenation of arrays along the rows. The result is in memory if all arrays are."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    n_rows, dtype = sum(part.shape[0] for part in parts), np.result_type(*(part.dtype for part in parts))
    return JoinedArray((n_rows, *parts[0].shape[1:]), dtype, tuple(parts))


@dataclass(frozen=True, slots=True)
class StackedArray(LazyArray):
    """An array whose columns are arrays of one value per point."""

    columns: tuple[Any, ...]

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a block that is cheap to read at once; None if any block is cheap to read."""
        rows = [one.chunks[0] for one in self.columns if getattr(one, "chunks", None)]
        return (max(rows), self.shape[1]) if rows else None

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        columns = [np.asarray(one[rows]).reshape(-1) for one in self.columns]
        stacked = np.empty((len(columns[0]), len(columns)), self.dtype)
        for number, column in enumerate(columns):
            stacked[:, number] = column
        return stacked


@dataclass(frozen=True, slots=True)
class TransposedArray(LazyArray):
    """The transpose of an array."""

    source: Any

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a block that is cheap to read at once; None if any block is cheap to read."""
        chunks: tuple[int, ...] | None = getattr(self.source, "chunks", None)
        return None if chunks is None else chunks[::-1]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self.source[:, rows]).T
