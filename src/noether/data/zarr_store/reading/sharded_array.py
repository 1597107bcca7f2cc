"""Arrays whose shards this library decodes itself, by byte ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter, sub
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MAX_RUN_CHUNKS, MISSING, ChunkCodec, ShardIndex, cast_into, index_size
from noether.data.zarr_store.core import BoundedCache, Grid
from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.reading.ranges import ChunkRun, RangeRequest, chunk_runs, plan_ranges
from noether.data.zarr_store.sampling import ReadPlan, plan_whole
from noether.data.zarr_store.stores import Storage

__all__ = ["IndexCache", "ShardedArray"]


IndexCache = BoundedCache[ShardIndex]

# An index of 64 MiB.
_MAX_CHUNKS_PER_SHARD = 1 << 22

# What one step decodes, about as much as a core's cache holds: other threads have their turn in between.
_MAX_RUN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardedArray:
    """One field of one sample.

    Attributes
    ----------
    key : str
        Of the array, relative to the root.
    codec : ChunkCodec
        How its chunks become bytes.
    chunks_per_shard : int
        Chunks that a shard has room for.
    where : str
        Names sample and field, to begin an error with.
    complete : bool
        Whether a chunk that is not stored is a lost one, and not one of fill values.
    lengths : ndarray of uint32 or None
        The lengths of all chunks, which lie one after the other in each shard, where the chunk index has them; else
        the shards' own indexes are read.
    """

    key: str
    codec: ChunkCodec
    chunks_per_shard: int
    where: str
    complete: bool
    lengths: NDArray[np.uint32] | None = None

    @classmethod
    def of_metadata(
        cls, key: str, metadata: Mapping[str, Any], chunk_points: int, where: str, *, complete: bool
    ) -> Self | None:
        """Describe an array by its ``zarr.json``; None where zarr-python has to read it."""
        codec = ChunkCodec.of_metadata(metadata)
        if codec is None or codec.rows != chunk_points:
            return None
        shard_points = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        return cls(key, codec, shard_points // codec.rows, where, complete)

    def requests(
        self, plan: ReadPlan, runs: Sequence[ChunkRun], storage: Storage, cache: IndexCache
    ) -> list[RangeRequest]:
        """Plan the ranges that hold the chunks of `plan`; reads the shard indexes that are not in the cache.

        `runs` are the plan's `chunk_runs` for `chunks_per_shard`.
        """
        return list(plan_ranges(plan, runs, lambda shard: self._index(shard, storage, cache)))

    def read(self, request: RangeRequest, storage: Storage, out: NDArray[Any], *, verify: bool) -> None:
        """Fetch one range and decode its chunks to where their rows go.

        Parameters
        ----------
        request : RangeRequest
            One of `requests`.
        storage : Storage
            Where the bytes live.
        out : ndarray, shape (plan.n_points, width)
            The result, of any floating dtype; only the rows of the request are written.
        verify : bool
            Whether to compare checksums.
        """
        data = self._fetch(request, storage)
        codec, row = self.codec, request.first_row
        for first, stop, whole in _runs(request, codec):
            if whole and codec.can_decode_to(out.dtype):
                bounds = request.bounds[first : stop + 1]
                n_rows = (stop - first) * codec.rows
                done = codec.decode_run(data, bounds, out[row : row + n_rows], verify=verify)
                first, row = first + done, row + done * codec.rows
            for i in range(first, stop):
                rows = self._decode_alone(request, i, data, out.dtype, verify=verify)
                for begin, end in request.parts[i].ranges:
                    cast_into(out[row : row + end - begin], rows[begin:end])
                    row += end - begin

    def leading_shards(self, grid: Grid, storage: Storage, cache: IndexCache) -> Iterator[Iterator[bytes]]:
        """Give the shards of an array of the first chunks of this one, in parts; the chunks stay as they are.

        Parameters
        ----------
        grid : Grid
            Of the other array: chunks of the same size, and as many of them a shard unless there are fewer in all.
        storage : Storage
            Where the bytes of this one live.
        cache : IndexCache
            Keeps the shard indexes.

        Raises
        ------
        CorruptDataError
            A shard ends early, or a chunk is lost or does not match its checksum.
        """
        plan = plan_whole(grid)
        requests = self.requests(plan, chunk_runs(plan, self.chunks_per_shard), storage, cache)
        for _, of_shard in groupby(requests, attrgetter("shard")):
            yield self._copy(of_shard, grid.shard_points // grid.chunk_points, storage)

    def _copy(self, requests: Iterable[RangeRequest], capacity: int, storage: Storage) -> Iterator[bytes]:
        lengths: list[int] = []
        for request in requests:
            data = self._fetch(request, storage)
            for part, (start, stop) in zip(request.parts, pairwise(request.bounds), strict=True):
                try:
                    self._check(data[start:stop])
                except CorruptDataError as error:
                    raise self._damaged(f"chunk {part.chunk}, in shard {request.shard},", error) from error
                lengths.append(stop - start)
            yield bytes(data)
        yield ShardIndex.of_lengths(lengths, capacity).encode()

    def _check(self, chunk: memoryview) -> None:
        if chunk:
            self.codec.check(chunk)
        elif self.complete:
            raise CorruptDataError("it is not stored")

    def _fetch(self, request: RangeRequest, storage: Storage) -> memoryview:
        self._require_credible(request)
        data = memoryview(b"")
        if request.length:
            try:
                data = memoryview(storage.read_range(self._shard_key(request.shard), request.start, request.length))
            except StorageError as error:
                raise StorageError(f"{self.where}: {error}") from error.__cause__
        if len(data) != request.length:
            missing = f"it ends early: expected {request.length} bytes at {request.start}, there are {len(data)}"
            raise self._damaged(f"shard {request.shard}", CorruptDataError(missing))
        return data

    def _decode_alone(
        self, request: RangeRequest, i: int, data: memoryview, dtype: np.dtype[Any], *, verify: bool
    ) -> NDArray[Any]:
        """Give all rows of one chunk of a request, as `dtype` where that costs nothing, else as they are stored."""
        codec = self.codec
        start, stop = request.bounds[i : i + 2]
        if start < stop and codec.can_decode_to(dtype):
            rows = np.empty((codec.rows, codec.width), dtype)
            if codec.decode_run(data, [start, stop], rows, verify=verify):
                return rows
        rows = np.empty((codec.rows, codec.width), codec.dtype)
        try:
            if start < stop:
                codec.decode_into(data[start:stop], rows, verify=verify)
            else:
                self._fill(rows)
        except CorruptDataError as error:
            raise self._damaged(f"chunk {request.parts[i].chunk}, in shard {request.shard},", error) from error
        return rows

    def read_index(self, shard: int, storage: Storage) -> ShardIndex:
        """Read the index of one shard; `CorruptDataError` where it is damaged."""
        # No more than is credible: what the metadata claim may be more than all of a large shard.
        length = index_size(min(self.chunks_per_shard, _MAX_CHUNKS_PER_SHARD))
        found = storage.read_tail(self._shard_key(shard), length)
        try:
            if found is None:
                return self._index_of_nothing()
            return ShardIndex.decode(found[0], self.chunks_per_shard, found[1])
        except CorruptDataError as error:
            raise self._damaged(f"shard {shard}", error) from error

    def _index(self, shard: int, storage: Storage, cache: IndexCache) -> ShardIndex:
        key = self._shard_key(shard)
        index = cache.get(key)
        if index is None:
            if self.lengths is None:
                index = self.read_index(shard, storage)
            else:
                first = shard * self.chunks_per_shard
                lengths = self.lengths[first : first + self.chunks_per_shard]
                index = ShardIndex.of_lengths(lengths)
            cache.put(key, index)
        return index

    def _index_of_nothing(self) -> ShardIndex:
        if self.complete:
            raise CorruptDataError("it is not there")
        # As many as the metadata claim, in the memory of one.
        nothing = np.broadcast_to(np.uint64(MISSING), self.chunks_per_shard)
        return ShardIndex(nothing, nothing)

    def _require_credible(self, request: RangeRequest) -> None:
        """Raise `CorruptDataError` before memory is taken for more bytes than a chunk can have."""
        limit = self.codec.max_stored_bytes
        bounds = request.bounds
        if max(map(sub, bounds[1:], bounds)) <= limit:
            return
        for part, (start, end) in zip(request.parts, pairwise(bounds), strict=True):
            if end - start > limit:
                error = f"its index claims {end - start} bytes, where a chunk has at most {limit}"
                raise self._damaged(f"chunk {part.chunk}, in shard {request.shard},", CorruptDataError(error))

    def _fill(self, rows: NDArray[Any]) -> None:
        if self.complete:
            raise CorruptDataError("it is not stored")
        rows[...] = self.codec.fill_value

    def _damaged(self, what: str, error: Exception) -> CorruptDataError:
        way_out = "convert the sample again"
        if self.lengths is not None:
            way_out = f"make the chunk index anew (noether-zarr index STORE) and, if that does not help, {way_out}"
        return CorruptDataError(f"{self.where}: {what} is damaged: {error}; {way_out}")

    def _shard_key(self, shard: int) -> str:
        return f"{self.key}/c/{shard}/0"


def _runs(request: RangeRequest, codec: ChunkCodec) -> Iterator[tuple[int, int, bool]]:
    """Yield first and stop of neighbours that are stored and taken whole, and True; every other chunk with False."""
    parts, bounds = request.parts, request.bounds
    whole, limit = ((0, codec.rows),), min(max(_MAX_RUN_BYTES // codec.n_bytes, 1), MAX_RUN_CHUNKS)
    first = 0
    while first < len(parts):
        stop = first
        while stop < min(len(parts), first + limit) and parts[stop].ranges == whole and bounds[stop] < bounds[stop + 1]:
            stop += 1
        yield first, max(stop, first + 1), stop > first
        first = max(stop, first + 1)
