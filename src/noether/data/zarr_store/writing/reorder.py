"""The rows of a field in stored order: gathered from memory, or through buckets on disk where memory is too small."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import gather
from noether.data.zarr_store.core import Grid, map_again
from noether.data.zarr_store.errors import SampleDataError
from noether.data.zarr_store.manifest import Origin
from noether.data.zarr_store.sampling import invert
from noether.data.zarr_store.writing.origin import minus_origin

__all__ = ["Block", "ExternalShuffle", "GatheredRows", "RowsInOrder", "SourceRows", "StoredRows", "destinations"]

# Number of its first row, and rows, shape (n, width).
Block = tuple[int, NDArray[Any]]
# Rows, shape (n, width), and the numbers of those that are meant, in their order, int64; None for all rows in order.
RowsInOrder = tuple[NDArray[Any], NDArray[np.int64] | None]

# A bucket is read back whole, so this bounds the memory of a field that does not fit.
_BUCKET_BYTES = 32 << 20
# Chunks are made a few ahead and may come from two buckets at a time.
_LOADED_BUCKETS = 2
# Every bucket is an open file while the source is read; most systems allow 1,024.
_MAX_BUCKETS = 256
# What is read from a source, or from a bucket, at once.
_BLOCK_BYTES = 4 << 20
# Rows whose destinations are computed at once.
_BLOCK_ROWS = 1 << 18
_LOW_BITS = 32


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
        if values.base is None or values.nbytes <= _BUCKET_BYTES:
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

    @property
    def is_small(self) -> bool:
        """Whether it may as well be loaded."""
        return self._row_bytes * self.shape[0] <= _BUCKET_BYTES

    def load(self) -> NDArray[Any]:
        """Read all rows; shape ``(n_points, width)``."""
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
            A few rows, to be used before the next ones are asked for.

        Raises
        ------
        SampleDataError
            They cannot be read, or are not what dtype and shape promise.
        """
        n_rows = self._block_rows()
        for start in range(0, self.shape[0], n_rows):
            stop = min(start + n_rows, self.shape[0])
            yield start, self._read(start, stop).reshape(stop - start, -1)
            _forget_pages(self.values)

    @property
    def _row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    def _block_rows(self) -> int:
        rows = max(_BLOCK_BYTES // self._row_bytes, 1)
        chunks = getattr(self.values, "chunks", None)
        if not (isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int)):
            return rows
        # HDF5 and Zarr decompress a chunk for every read that touches it.
        return max(rows // chunks[0], 1) * chunks[0]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        kind = type(self.values).__name__
        try:
            block = np.asarray(self.values[start:stop])
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


def _forget_pages(values: Any) -> None:
    """Take what was read of a mapped file out of this process's memory, where the system can; its cache keeps it."""
    # Of a private copy, mode "c", the pages may be the only place of a change.
    if not isinstance(values, np.memmap) or values.mode not in ("r", "r+", "w+"):
        return
    base: Any = values
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def destinations(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stored row of each source row, in the memory of `order`, which is used up.

    Parameters
    ----------
    order : ndarray of int64, shape (n_points,)
        A permutation: stored row ``i`` is source row ``order[i]``.
    """
    # The inverse is built in the upper half of each number: two arrays would take 4.6 GB for 285 million points.
    if len(order) >= 1 << _LOW_BITS - 1:
        return invert(order)
    lower = (1 << _LOW_BITS) - 1
    for first in range(0, len(order), _BLOCK_ROWS):
        source_rows = order[first : first + _BLOCK_ROWS] & lower
        order[source_rows] |= np.arange(first, first + len(source_rows)) << _LOW_BITS
    order >>= _LOW_BITS
    return order


class ExternalShuffle:
    """Rows of a source that is read once, front to back, and scattered into files, each of a run of stored rows.

    Parameters
    ----------
    directory : Path
        An empty directory for the files; whoever made it removes it.
    grid : Grid
        A bucket holds whole chunks of it.
    destinations : ndarray of an integer dtype, shape (n_points,)
        Source row ``i`` is stored row ``destinations[i]``.
    width : int
        Components per point.
    dtype : numpy.dtype
        What is stored.
    """

    def __init__(
        self, directory: Path, grid: Grid, destinations: NDArray[np.integer[Any]], width: int, dtype: np.dtype[Any]
    ) -> None:
        self._directory = directory
        self._destinations = destinations
        self._n_points = grid.n_points
        self._record = np.dtype([("row", "<u4"), ("value", dtype, (width,))])
        chunk_bytes = grid.chunk_points * self._record.itemsize
        chunks = max(_BUCKET_BYTES // chunk_bytes, -(-grid.n_chunks // _MAX_BUCKETS), 1)
        self._bucket_rows = chunks * grid.chunk_points
        self._loaded: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._given: dict[int, int] = {}
        self._loading = Lock()

    def scatter(self, blocks: Iterator[Block]) -> Self:
        """Take all rows of the source.

        Parameters
        ----------
        blocks : iterator of (int, ndarray of shape (n, width))
            Number of the first row, and rows, in the source's order and dtype.
        """
        with ExitStack() as stack:
            n_buckets = -(-self._n_points // self._bucket_rows)
            files = [stack.enter_context(self._path(bucket).open("wb")) for bucket in range(n_buckets)]
            for first_row, block in blocks:
                self._scatter_block(files, self._destinations[first_row : first_row + len(block)], block)
        self._destinations = np.empty(0, np.int64)  # as large as the field; not needed any more
        return self

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows of one bucket; see `StoredRows`."""
        bucket, first = divmod(start, self._bucket_rows)
        with self._loading:
            rows = self._load(bucket)
            self._given[bucket] = self._given.get(bucket, 0) + stop - start
            if self._given[bucket] >= len(rows):  # all of it; other fields need the memory
                del self._loaded[bucket], self._given[bucket]
        return rows[first : first + stop - start]

    def parts(self, start: int, stop: int) -> Iterator[RowsInOrder]:
        """Yield the rows of each bucket; see `StoredRows`."""
        while start < stop:
            end = min(stop, (start // self._bucket_rows + 1) * self._bucket_rows)
            yield self.chunk(start, end), None
            start = end

    def _scatter_block(self, files: Sequence[BinaryIO], stored_rows: NDArray[Any], block: NDArray[Any]) -> None:
        buckets, rows = np.divmod(stored_rows, self._bucket_rows)
        # Of 16 bits, since NumPy sorts these by counting, in a tenth of the time.
        by_bucket = np.argsort(buckets.astype(np.uint16), kind="stable")
        records = np.empty(len(block), self._record)
        records["row"] = rows[by_bucket]
        # What overflows is refused after the last block, with more to say than a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            records["value"] = block[by_bucket]
        ends = np.cumsum(np.bincount(buckets, minlength=len(files))).tolist()
        for file, start, end in zip(files, [0, *ends], ends, strict=False):
            file.write(records[start:end].data)

    def _load(self, bucket: int) -> NDArray[Any]:
        if bucket not in self._loaded:
            while len(self._loaded) >= _LOADED_BUCKETS:
                self._loaded.popitem(last=False)
            self._loaded[bucket] = self._read(bucket)
        return self._loaded[bucket]

    def _read(self, bucket: int) -> NDArray[Any]:
        n_rows = min(self._bucket_rows, self._n_points - bucket * self._bucket_rows)
        rows = np.empty((n_rows, *self._record["value"].shape), self._record["value"].base)
        with self._path(bucket).open("rb") as file:
            while len(records := np.fromfile(file, self._record, max(_BLOCK_BYTES // self._record.itemsize, 1))):
                rows[records["row"]] = records["value"]
        return rows

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{bucket}.rows"
