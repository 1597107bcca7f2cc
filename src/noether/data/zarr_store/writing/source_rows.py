"""The rows of an array that is not in memory, read from front to back in blocks."""

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

# Row number of the first row of a block, and its rows, shape (n, width).
Block = tuple[int, NDArray[Any]]

# Smaller arrays are not examined: it makes no difference whether they are memory-mapped.
_SMALL_BYTES = 32 << 20
BLOCK_BYTES = 8 << 20
"""Approximate number of bytes of a block."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Rows of an array that is not in memory, in source order.

    Attributes
    ----------
    values : array-like, shape (n_points, width) or (n_points,)
        A `numpy.memmap`, or any object that has a shape and a NumPy dtype, and returns an array for a slice.
    where : str
        Sample and field, to begin error messages.
    """

    values: Any
    where: str

    @classmethod
    def of(cls, given: Any, where: str) -> Self | None:
        """Wrap an array that is not in memory, without reading it; None for arrays, tensors and lists in memory."""
        if isinstance(given, np.ndarray | np.generic):
            outside = isinstance(given, np.memmap)
        else:  # the dtype of a tensor is not a NumPy dtype
            outside = (
                isinstance(getattr(given, "dtype", None), np.dtype)
                and isinstance(shape := getattr(given, "shape", None), tuple)
                and all(isinstance(size, int | np.integer) for size in shape)
                and hasattr(given, "__getitem__")
            )
        return cls(given, where) if outside else None

    @classmethod
    def of_mapped(cls, values: NDArray[Any], where: str) -> Self | None:
        """Wrap an array that is memory-mapped but is not a `numpy.memmap`; None for arrays in memory.

        Tensors of `torch.load(mmap=True)` are such arrays. The result is None for small arrays, which are not examined.
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
        """Shape of the source, with any number of dimensions."""
        return tuple(self.values.shape)

    def load(self) -> NDArray[Any]:
        """Return all rows, shape ``(n_points, width)``.

        Rows of a contiguous memory-mapped file are not copied, so the system can drop them from memory.
        """
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
            Row number of the first row of a block.
        ndarray, shape (n, width)
            Rows of the block. Rows of a memory-mapped file are read when they are used; see `forget_pages`.

        Raises
        ------
        SampleDataError
            The rows cannot be read, or do not have the dtype and shape of the source.
        """
        n_rows = self._block_rows()
        for start in range(0, self.shape[0], n_rows):
            stop = min(start + n_rows, self.shape[0])
            yield start, self._read(start, stop).reshape(stop - start, -1)
            self.forget_pages()

    def forget_pages(self) -> None:
        """Remove the pages of a memory-mapped file from this process's memory; they stay in the system's page cache.

        This is a no-op for other arrays, and on systems without ``MADV_DONTNEED``.
        """
        # Not in mode "c" (a private copy), where changes exist only in the pages.
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
        # HDF5 and Zarr decompress a whole chunk for each read, so a block has whole chunks.
        return max(rows // chunks[0], 1) * chunks[0]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        kind = type(self.values).__name__
        try:
            block = np.asarray(self.values[start:stop])
        except StoreError:  # its message already explains the problem
            raise
        except Exception as error:
            raise SampleDataError(
                f"{self.where}: rows {start:,} to {stop:,} of the {kind} cannot be read ({error}); correct the source"
            ) from error
        expected = (stop - start, *self.shape[1:])
        if block.shape != expected or block.dtype != self.dtype:
            raise SampleDataError(
                f"{self.where}: rows {start:,} to {stop:,} of the {kind}: expected shape {expected} and dtype "
                f"{self.dtype}, as it declares, got {block.shape} and {block.dtype}; pass a NumPy array instead"
            )
        return block
