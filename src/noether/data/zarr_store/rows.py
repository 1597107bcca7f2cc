"""The rows of a field in stored order: gathered from memory, or through buckets on disk where memory is too small."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.grid import Grid

__all__ = ["BucketedRows", "GatheredRows", "StoredRows"]

# A bucket is read back whole, so this bounds the memory of a field that does not fit.
_BUCKET_BYTES = 32 << 20
# Chunks are made a few ahead and may come from two buckets at a time.
_LOADED_BUCKETS = 2
# Every bucket is an open file while the source is read; most systems allow 1,024.
_MAX_BUCKETS = 256


class StoredRows(Protocol):
    """The rows of one field in stored order and dtype, chunk by chunk. Safe to use from many threads."""

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Give the rows `start` to `stop` of one chunk; shape ``(stop - start, width)``, C order."""


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
    """

    values: NDArray[Any]
    order: NDArray[np.int64]
    dtype: np.dtype[Any]

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Gather and cast; see `StoredRows`."""
        # Overflow was refused before: what becomes infinite here was infinite in the source.
        return self.values.take(self.order[start:stop], axis=0).astype(self.dtype, order="C", copy=False)


class BucketedRows:
    """Rows of a source that is read once, front to back, and scattered into files, each of a run of stored rows.

    Used as a context manager, it removes its files at the end.

    Parameters
    ----------
    directory : Path
        An empty directory for the files.
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
        chunk_bytes = grid.chunk_points * width * dtype.itemsize
        chunks = max(_BUCKET_BYTES // chunk_bytes, -(-grid.n_chunks // _MAX_BUCKETS), 1)
        self._bucket_rows = chunks * grid.chunk_points
        self._loaded: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._loading = Lock()

    def scatter(self, blocks: Iterator[tuple[int, NDArray[Any]]]) -> Self:
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
        return self

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Give the rows of one chunk; see `StoredRows`."""
        bucket, first = divmod(start, self._bucket_rows)
        return self._load(bucket)[first : first + stop - start]

    def _scatter_block(self, files: Sequence[BinaryIO], stored_rows: NDArray[Any], block: NDArray[Any]) -> None:
        buckets, rows = np.divmod(stored_rows.astype(np.int64), self._bucket_rows)
        by_bucket = np.argsort(buckets, kind="stable")
        records = np.empty(len(block), self._record)
        records["row"] = rows[by_bucket]
        records["value"] = block[by_bucket]
        ends = np.searchsorted(buckets[by_bucket], np.arange(len(files)), side="right").tolist()
        for file, start, end in zip(files, [0, *ends], ends, strict=False):
            file.write(records[start:end].data)

    def _load(self, bucket: int) -> NDArray[Any]:
        with self._loading:
            if bucket not in self._loaded:
                while len(self._loaded) >= _LOADED_BUCKETS:
                    self._loaded.popitem(last=False)
                records = np.fromfile(self._path(bucket), self._record)
                rows = np.empty((len(records), *self._record["value"].shape), self._record["value"].base)
                rows[records["row"]] = records["value"]
                self._loaded[bucket] = rows
            return self._loaded[bucket]

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{bucket}.rows"
