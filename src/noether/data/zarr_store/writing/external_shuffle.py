"""The rows of a field in stored order, read from buckets on disk."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.writing.bucket_order import BucketOrder
from noether.data.zarr_store.writing.scattered_rows import ScatteredRows
from noether.data.zarr_store.writing.stored_rows import RowsInOrder

__all__ = ["ExternalShuffle"]

# Number of buckets in memory: the threads work on one bucket and the next one.
_LOADED_BUCKETS = 2
# The rows of a bucket in source order, and their ranks in stored order.
_Bucket = tuple[NDArray[Any], NDArray[np.uint32]]


class ExternalShuffle:
    """The `StoredRows` of a field whose rows are in buckets on disk.

    A bucket is loaded when its first row is requested, and dropped after its last row.

    Parameters
    ----------
    rows : ScatteredRows
        All rows of the field, scattered into the buckets of `order`.
    order : BucketOrder
        The order of the domain.
    chunk_points : int
        Number of rows of a chunk.
    """

    def __init__(self, rows: ScatteredRows, order: BucketOrder, chunk_points: int) -> None:
        self._rows = rows
        self._order = order
        self._chunk_points = chunk_points
        self._loaded: OrderedDict[int, Future[_Bucket]] = OrderedDict()
        self._n_taken: dict[int, int] = {}
        self._loading = Lock()

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows, from one or more buckets; see `StoredRows`."""
        parts = []
        while start < stop:
            bucket = self._bucket_of(start)
            end = min(stop, self._order.starts[bucket + 1])
            values, order = self._take(bucket, start, end)
            parts.append(values.take(order, axis=0))
            start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def parts(self, start: int, stop: int) -> Iterator[RowsInOrder]:
        """Yield all whole chunks of a bucket together, and each chunk that spans several buckets; see `StoredRows`."""
        while start < stop:
            bucket = self._bucket_of(start)
            end = min(stop, self._order.starts[bucket + 1])
            if end < stop:
                end -= (end - start) % self._chunk_points
            if start < end:
                yield self._take(bucket, start, end)
            else:
                end = min(start + self._chunk_points, stop)
                yield self.chunk(start, end), None
            start = end

    def _bucket_of(self, row: int) -> int:
        return bisect_right(self._order.starts, row) - 1

    def _take(self, bucket: int, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the rows of a bucket, and the indices in it of the stored rows `start` to `stop`."""
        first, end = self._order.starts[bucket : bucket + 2]
        values, ranks = self._load(bucket)
        with self._loading:
            self._n_taken[bucket] = self._n_taken.get(bucket, 0) + stop - start
            if self._n_taken[bucket] >= end - first:  # all rows were taken, and other fields need the memory
                del self._n_taken[bucket]
                self._loaded.pop(bucket, None)
        return values, ranks[start - first : stop - first].astype(np.int64)

    def _load(self, bucket: int) -> _Bucket:
        with self._loading:
            loading = self._loaded.get(bucket)
            is_first = loading is None
            if loading is None:
                loading = self._loaded[bucket] = Future()
                while len(self._loaded) > _LOADED_BUCKETS:
                    self._loaded.popitem(last=False)
        if is_first:
            try:
                loading.set_result((self._rows.bucket(bucket), self._order.ranks(bucket)))
            except BaseException as error:
                loading.set_exception(error)
                raise
        return loading.result()
