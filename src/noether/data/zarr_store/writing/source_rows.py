"""The rows of an array that is not in memory, read front to back in blocks."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import map_again
from noether.data.zarr_store.errors import SampleDataError, StoreError

__all__ = ["BLOCK_BYTES", "Block", "SourceRows"]

# Number of its first row, and rows, shape (n, width).
Block = tuple[int, NDArray[Any]]

# Whether smaller arrays lie in a mapped file makes no difference.
_SMALL_BYTES = 32 << 20
BLOCK_BYTES = 8 << 20
"""What is read at once."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Rows of an array that is not in memory, in the source's order.

    Attributes
    ----------
    values : array-like, shape (n_points, width) or (n_points,)
        A `numpy.memmap`, or anything else that has a shape and a NumPy dtype and gives an array for a slice.
    where : str
        Names sample and field, to begin an error with.
    """

    values: Any
    where: str

    @classmethod
    def of(cls, given: Any, where: str) -> Self | None:
        """Wrap an array that is not in memory; None for one that is, as arrays, tensors and lists are.

        Nothing is read.
        """
        if isinstance(given, np.ndarray | np.generic):
            outside = isinstance(given, np.memmap)
        else:  # a tensor has a dtype of its own kind
            outside = (
                isinstance(getattr(given, "dtype", None), np.dtype)
                and isinstance(shape := getattr(given, "shape", None), tuple)
                and all(isinstance(size, int | np.integer) for size in shape)
                and hasattr(given, "__getitem__")
            )
        return cls(given, where) if outside else None

    @classmethod
    def of_mapped(cls, values: NDArray[Any], where: str) -> Self | None:
        """Wrap an array that looks as if it were in memory, but lies in a mapped file; None for one that is.

        So do the tensors of `torch.load(mmap=True)`. Small ones are not looked at.
        """
        if values.base is None or values.nbytes <= _SMALL_BYTES:
            return None
        mapped = map_again(values)
        return None if mapped is None else cls(mapped, where)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the source."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the source, whatever it is."""
        return tuple(self.values.shape)

    def load(self) -> NDArray[Any]:
        """Return all rows; shape ``(n_points, width)``. Those of a mapped file stay there: the system may drop them."""
        if isinstance(self.values, np.memmap) and self.values.flags.c_contiguous:
            return np.asarray(self.values).reshape(self.shape[0], -1)
        rows = np.empty((self.shape[0], prod(self.shape[1:])), self.dtype)
        for first_row, block in self.blocks():
            rows[first_row : first_row + len(block)] = block
        return rows

    def blocks(self) -> Iterator[Block]:
        """Read the rows once, front to back.

        Yields
        ------
        int
            Number of the first row.
        ndarray, shape (n, width)
            A few rows. Those of a mapped file are read from it where they are used; see `forget_pages`.

        Raises
        ------
        SampleDataError
            They cannot be read, or are not what dtype and shape promise.
        """
        n_rows = self._block_rows()
        for start in range(0, self.shape[0], n_rows):
            stop = min(start + n_rows, self.shape[0])
            yield start, self._read(start, stop).reshape(stop - start, -1)
            self.forget_pages()

    def forget_pages(self) -> None:
        """Take what was read of a mapped file out of this process's memory, where the system can; a cache keeps it."""
        # Of a private copy, mode "c", the pages may be the only place of a change.
        if not isinstance(self.values, np.memmap) or self.values.mode not in ("r", "r+", "w+"):
            return
        base: Any = self.values
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)

    @property
    def _row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    def _block_rows(self) -> int:
        rows = max(BLOCK_BYTES // self._row_bytes, 1)
        chunks = getattr(self.values, "chunks", None)
        if not (isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int)):
            return rows
        # HDF5 and Zarr decompress a chunk for every read that touches it.
        return max(rows // chunks[0], 1) * chunks[0]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        kind = type(self.values).__name__
        try:
            block = np.asarray(self.values[start:stop])
        except StoreError:  # says what is wrong, and what to do
            raise
        except Exception as error:
            raise SampleDataError(
                f"{self.where}: rows {start} to {stop} of the {kind} cannot be read ({error}); mend the source"
            ) from error
        expected = (stop - start, *self.shape[1:])
        if block.shape != expected or block.dtype != self.dtype:
            raise SampleDataError(
                f"{self.where}: rows {start} to {stop} of the {kind} have shape {block.shape} and dtype {block.dtype}; "
                f"expected {expected} and {self.dtype}, as it says itself; give it as a NumPy array"
            )
        return block
