"""Arrays that this library reads by byte ranges, and decodes without zarr-python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, pairwise
from operator import attrgetter, sub
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import (
    MAX_RUN_CHUNKS,
    MISSING,
    ChunkCodec,
    ContentChecksum,
    ShardIndex,
    cast_into,
    index_size,
)
from noether.data.zarr_store.core import BoundedCache, Grid
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, StorageError
from noether.data.zarr_store.reading.io_meter import IoMeter
from noether.data.zarr_store.reading.near import NOT_CACHED, NearArray
from noether.data.zarr_store.reading.ranges import RangeRequest, plan_ranges
from noether.data.zarr_store.sampling import ReadPlan, plan_whole
from noether.data.zarr_store.stores import Storage, from_to, log_request, logs_requests

__all__ = ["IndexCache", "ShardAccess", "ShardedArray", "index_cache"]

IndexCache = BoundedCache[ShardIndex]

_MAX_CHUNKS_PER_SHARD = 1 << 22
_MAX_INDEX_BYTES = index_size(_MAX_CHUNKS_PER_SHARD)

# Bytes that one step decodes, about the size of a core's cache. Other threads can run between steps.
_MAX_RUN_BYTES = 1 << 20


def index_cache(max_bytes: int = _MAX_INDEX_BYTES) -> IndexCache:
    """Return an empty cache of shard indexes, which take 16 bytes per chunk."""
    return BoundedCache(max_bytes, lambda index: index.n_bytes)


@dataclass(frozen=True, slots=True)
class ShardAccess:
    """Access to the shards of a store. Safe to use from many threads.

    Attributes
    ----------
    storage : Storage
        Storage of the store.
    indexes : IndexCache
        Cache of shard indexes.
    verify : bool
        Whether to compare checksums.
    meter : IoMeter
        Counter of the reads.
    """

    storage: Storage
    indexes: IndexCache = field(default_factory=index_cache)
    verify: bool = True
    meter: IoMeter = field(default_factory=IoMeter)


@dataclass(frozen=True, slots=True)
class ShardedArray:
    """One field of one sample, as a `ReadableArray`.

    Attributes
    ----------
    key : str
        Key of the array, relative to the root of the store.
    codec : ChunkCodec
        Codec of its chunks.
    chunks_per_shard : int
        Number of chunks that a shard has room for.
    where : str
        Sample and field, with which error messages begin.
    missing_is_error : bool
        Whether a chunk that is not stored is an error; otherwise it has fill values.
    access : ShardAccess
        Access to the shards.
    lengths : ndarray of uint32 or None
        Lengths of all chunks from the chunk index; the chunks are contiguous in each shard. If None, the array
        reads the shard indexes.
    near : NearArray or None
        Cache entries of the array on this machine; None if there is no cache.
    """

    key: str
    codec: ChunkCodec
    chunks_per_shard: int
    where: str
    missing_is_error: bool
    access: ShardAccess = field(compare=False)
    lengths: NDArray[np.uint32] | None = None
    near: NearArray | None = field(default=None, compare=False)

    @classmethod
    def of_metadata(
        cls,
        key: str,
        metadata: Mapping[str, Any],
        chunk_points: int,
        where: str,
        access: ShardAccess,
        *,
        missing_is_error: bool,
    ) -> Self | None:
        """Return the array that a ``zarr.json`` describes; None if zarr-python must read it."""
        codec = ChunkCodec.of_metadata(metadata)
        if codec is None or codec.rows != chunk_points:
            return None
        shard_points = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        return cls(key, codec, shard_points // codec.rows, where, missing_is_error, access)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype, in the byte order of the machine."""
        return self.codec.dtype.newbyteorder("=")

    def unread_indexes(self, plan: ReadPlan) -> list[int]:
        """Return the shards of a plan whose indexes are neither in the cache nor in the chunk index."""
        if self.lengths is not None:
            return []
        shards = dict.fromkeys(run.shard for run in plan.shard_runs(self.chunks_per_shard))
        return [shard for shard in shards if self.access.indexes.get(self._shard_key(shard)) is None]

    def requests(self, plan: ReadPlan) -> list[RangeRequest]:
        """Return the byte ranges that hold the chunks of `plan`; reads the shard indexes that are not in the cache."""
        return plan_ranges(plan, self.chunks_per_shard, self.read_index)

    def read(self, request: RangeRequest, out: NDArray[Any]) -> None:
        """Fetch one byte range and decode the rows of its chunks into `out`; see `ReadableArray.read`.

        The compiled module reads local files. If it cannot read a chunk, for any reason, `_read_from` reads the
        remaining chunks. `_read_from` knows all storages and encodings, and raises the errors.
        """
        shard, start, parts, first_row, bounds = request
        codec, access, n_done = self.codec, self.access, 0
        # If some chunks are not stored, only `_read_from` can continue after them.
        is_run = len(parts) <= MAX_RUN_CHUNKS and (self.missing_is_error or len(set(bounds)) == len(bounds))
        if is_run and codec.can_decode_to(out.dtype):
            file = access.storage.local_file(self._shard_key(shard))
            if file is not None:
                rows, begun = [part.ranges for part in parts], perf_counter()
                n_done = codec.read_run(
                    file.descriptor,
                    start,
                    bounds,
                    out,
                    rows=rows,
                    first_row=first_row,
                    verify=access.verify,
                    tally=access.meter.tally,
                )
                if n_done == len(parts) and logs_requests():
                    self._log(request, perf_counter() - begun)
        if n_done < len(parts):
            self._read_from(n_done, request, out)

    def _log(self, request: RangeRequest, seconds: float) -> None:
        what = f"read {self._shard_key(request.shard)}, {from_to(request.start, request.length)}"
        log_request(what, f"{request.length:,} bytes", seconds)

    def read_near(self, request: RangeRequest, out: NDArray[Any]) -> bool:
        """Read a request from a cache on this machine; see `ReadableArray.read_near`."""
        near, codec, (shard, start, parts, first_row, bounds) = self.near, self.codec, request
        if near is None or len(parts) > MAX_RUN_CHUNKS or not codec.can_decode_to(out.dtype):
            return False
        rows, begun = [part.ranges for part in parts], perf_counter()
        for file in near.files(shard):
            # Always verify: chunks that the cache does not have are zeros in its file.
            n_done = codec.read_run(file.descriptor, start, bounds, out, rows=rows, first_row=first_row, verify=True)
            if n_done == len(parts):
                near.cache.count(hits=n_done, hit_bytes=request.length)
                self.access.meter.add(cache_hits=n_done, seconds_decoding=perf_counter() - begun)
                return True
        return False

    def keep_near(self, request: RangeRequest) -> None:
        """Store the bytes of a request in the cache on this machine; see `ReadableArray.keep_near`."""
        if self.near is None or not self.near.can_cache(request.shard):
            raise ArgumentError(
                f"{self.where}: the field cannot be cached: {NOT_CACHED}; convert the sample again with checksums"
            )
        self._fetch(request)

    def _read_from(self, n_done: int, request: RangeRequest, out: NDArray[Any]) -> None:
        """Fetch one byte range and decode its chunks, except for the first `n_done` chunks."""
        data, begun = self._fetch(request), perf_counter()
        try:
            self._decode(data, n_done, request, out)
        finally:
            self.access.meter.add(seconds_decoding=perf_counter() - begun)

    def _decode(self, data: memoryview, n_done: int, request: RangeRequest, out: NDArray[Any]) -> None:
        codec, verify = self.codec, self.access.verify
        row = request.first_row + sum(part.n_points for part in request.parts[:n_done])
        for first, stop in _runs(request.bounds, n_done, codec):
            if codec.can_decode_to(out.dtype):
                bounds, parts = request.bounds[first : stop + 1], request.parts[first:stop]
                rows = [part.ranges for part in parts]
                done = codec.decode_run(data, bounds, out, rows=rows, first_row=row, verify=verify)
                first, row = first + done, row + sum(part.n_points for part in parts[:done])
            for i in range(first, stop):
                values = self._decode_alone(request, i, data)
                for begin, end in request.parts[i].ranges:
                    cast_into(out[row : row + end - begin], values[begin:end])
                    row += end - begin

    def leading_shards(self, grid: Grid, checksum: ContentChecksum) -> Iterator[Iterator[bytes]]:
        """Yield the shards of a copy of this array's first chunks, each shard as an iterator of its bytes.

        The chunks keep their encoded bytes.

        Parameters
        ----------
        grid : Grid
            Grid of the copy: chunks of the same size, and the same number of chunks per shard unless the copy has
            fewer in all.
        checksum : ContentChecksum
            Receives the chunks as they are copied.

        Raises
        ------
        CorruptDataError
            A shard is truncated, or a chunk is lost or does not match its checksum.
        """
        for _, of_shard in groupby(self.requests(plan_whole(grid)), attrgetter("shard")):
            yield self._copy(of_shard, grid.shard_points // grid.chunk_points, checksum)

    def _copy(self, requests: Iterable[RangeRequest], capacity: int, checksum: ContentChecksum) -> Iterator[bytes]:
        lengths: list[int] = []
        for request in requests:
            data = self._fetch(request)
            for part, (start, stop) in zip(request.parts, pairwise(request.bounds), strict=True):
                try:
                    self._check(data[start:stop])
                except CorruptDataError as error:
                    raise self._damaged(f"chunk {part.chunk}, in shard {request.shard},", error) from error
                lengths.append(stop - start)
            checksum.add(data, lengths[-len(request.parts) :])
            yield bytes(data)
        yield ShardIndex.of_lengths(lengths, capacity).encode()

    def _check(self, chunk: memoryview) -> None:
        if chunk:
            self.codec.check(chunk)
        elif self.missing_is_error:
            raise CorruptDataError("it is not stored")

    def _fetch(self, request: RangeRequest) -> memoryview:
        self._require_credible(request)
        if not request.length:
            return memoryview(b"")
        if self.near is None:
            return self._fetch_range(request.shard, request.start, request.length)
        data, n_hits, n_misses = self.near.fetch(request, self.codec.check, partial(self._fetch_range, request.shard))
        self.access.meter.add(cache_hits=n_hits, cache_misses=n_misses)
        return data

    def _fetch_range(self, shard: int, start: int, length: int) -> memoryview:
        data, begun = memoryview(b""), perf_counter()
        try:
            data = memoryview(self.access.storage.read_range(self._shard_key(shard), start, length))
        except StorageError as error:
            raise StorageError(f"{self.where}: {error}") from error.__cause__
        finally:
            self.access.meter.add(requests=1, n_bytes=len(data), seconds_waiting=perf_counter() - begun)
        if len(data) != length:
            missing = f"it ends early: expected {length:,} bytes at offset {start:,}, got {len(data):,}"
            raise self._damaged(f"shard {shard}", CorruptDataError(missing))
        return data

    def _decode_alone(self, request: RangeRequest, i: int, data: memoryview) -> NDArray[Any]:
        """Return all rows of one chunk of a request, in the stored dtype."""
        rows = np.empty((self.codec.rows, self.codec.width), self.codec.dtype)
        start, stop = request.bounds[i : i + 2]
        try:
            if start < stop:
                self.codec.decode_into(data[start:stop], rows, verify=self.access.verify)
            else:
                self._fill(rows)
        except CorruptDataError as error:
            raise self._damaged(f"chunk {request.parts[i].chunk}, in shard {request.shard},", error) from error
        return rows

    def read_index(self, shard: int) -> ShardIndex:
        """Return the index of one shard, from the cache if possible; raise `CorruptDataError` if it is damaged."""
        key, cache = self._shard_key(shard), self.access.indexes
        index = cache.get(key)
        if index is None:
            if self.lengths is None:
                index = self._fetch_index(shard)
            else:
                first = shard * self.chunks_per_shard
                index = ShardIndex.of_lengths(self.lengths[first : first + self.chunks_per_shard])
            cache.put(key, index)
        return index

    def _fetch_index(self, shard: int) -> ShardIndex:
        # The length is limited, because damaged metadata may claim an index larger than a whole shard.
        length = index_size(min(self.chunks_per_shard, _MAX_CHUNKS_PER_SHARD))
        index = self._near_index(shard, length)
        if index is not None:
            return index
        found = self.access.meter.of_metadata(
            lambda: self.access.storage.read_tail(self._shard_key(shard), length),
            lambda tail: 0 if tail is None else len(tail[0]),
        )
        try:
            if found is None:
                return self._index_of_nothing()
            index = ShardIndex.decode(found[0], self.chunks_per_shard, found[1])
        except CorruptDataError as error:
            raise self._damaged(f"shard {shard}", error) from error
        if self.near is not None:
            self.near.store(shard, found[1] - len(found[0]), found[0])
        return index

    def _near_index(self, shard: int, length: int) -> ShardIndex | None:
        """Return the index of a shard from the cache on this machine; None if it has no intact index."""
        if self.near is None:
            return None
        try:
            data, size = self.near.read_tail(shard, length)
            return ShardIndex.decode(data, self.chunks_per_shard, size)
        except CorruptDataError:
            return None

    def _index_of_nothing(self) -> ShardIndex:
        if self.missing_is_error:
            raise CorruptDataError("it is missing")
        # The arrays are as long as the metadata claim, but use the memory of one element.
        nothing = np.broadcast_to(np.uint64(MISSING), self.chunks_per_shard)
        return ShardIndex(nothing, nothing)

    def _require_credible(self, request: RangeRequest) -> None:
        """Raise `CorruptDataError` instead of allocating memory for more bytes than a chunk can have."""
        limit = self.codec.max_stored_bytes
        bounds = request.bounds
        if max(map(sub, bounds[1:], bounds)) <= limit:
            return
        for part, (start, end) in zip(request.parts, pairwise(bounds), strict=True):
            if end - start > limit:
                error = f"expected at most {limit:,} bytes, its index claims {end - start:,}"
                raise self._damaged(f"chunk {part.chunk}, in shard {request.shard},", CorruptDataError(error))

    def _fill(self, rows: NDArray[Any]) -> None:
        if self.missing_is_error:
            raise CorruptDataError("it is not stored")
        rows[...] = self.codec.fill_value

    def _damaged(self, what: str, error: Exception) -> CorruptDataError:
        way_out = "convert the sample again"
        if self.lengths is not None:
            way_out = f"rebuild the chunk index with noether-zarr index STORE and, if that does not help, {way_out}"
        return CorruptDataError(f"{self.where}: {what} is damaged: {error}; {way_out}")

    def _shard_key(self, shard: int) -> str:
        return f"{self.key}/c/{shard}/0"


def _runs(bounds: Sequence[int], first: int, codec: ChunkCodec) -> Iterator[tuple[int, int]]:
    """Yield `(first, stop)` of each run of stored chunks, and of every missing chunk alone, from chunk `first` on."""
    limit, n_chunks = min(max(_MAX_RUN_BYTES // codec.n_bytes, 1), MAX_RUN_CHUNKS), len(bounds) - 1
    while first < n_chunks:
        stop = first + 1
        while bounds[first] < bounds[stop] and stop < min(n_chunks, first + limit) and bounds[stop] < bounds[stop + 1]:
            stop += 1
        yield first, stop
        first = stop
