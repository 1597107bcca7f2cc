"""Arrays whose shards this library decodes itself, by byte ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.cache import BoundedCache
from noether.data.zarr_store.casting import cast_into
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.ranges import RangeRequest, plan_ranges
from noether.data.zarr_store.sampling import ReadPlan
from noether.data.zarr_store.shard import MISSING, ChunkCodec, ShardIndex, index_size
from noether.data.zarr_store.stores import Storage

__all__ = ["IndexCache", "ShardedArray"]


IndexCache = BoundedCache[ShardIndex]


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

    def requests(self, plan: ReadPlan, storage: Storage, cache: IndexCache) -> list[RangeRequest]:
        """Plan the ranges that hold the chunks of `plan`; reads the shard indexes that are not in the cache."""
        return list(plan_ranges(plan, self.chunks_per_shard, lambda shard: self._index(shard, storage, cache)))

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
        self._require_credible(request)
        data: Any = b""
        if request.length:
            data = memoryview(storage.read_range(self._shard_key(request.shard), request.start, request.length))
        if len(data) != request.length:
            missing = f"it ends early: expected {request.length} bytes at {request.start}, there are {len(data)}"
            raise self._damaged(f"shard {request.shard}", CorruptDataError(missing))
        codec = self.codec
        scratch = np.empty((codec.rows, codec.width), codec.dtype)
        direct = out.dtype == codec.dtype
        for place in request.places:
            part, row = place.part, place.first_row
            whole = direct and part.n_points == codec.rows
            rows = out[row : row + codec.rows] if whole else scratch
            try:
                if place.length:
                    codec.decode_into(data[place.offset : place.offset + place.length], rows, verify=verify)
                else:
                    self._fill(rows)
            except CorruptDataError as error:
                raise self._damaged(f"chunk {part.chunk}, in shard {request.shard},", error) from error
            if not whole:
                for start, stop in part.ranges:
                    cast_into(out[row : row + stop - start], rows[start:stop])
                    row += stop - start

    def read_index(self, shard: int, storage: Storage) -> ShardIndex:
        """Read the index of one shard; `CorruptDataError` where it is damaged."""
        found = storage.read_tail(self._shard_key(shard), index_size(self.chunks_per_shard))
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
        for place in request.places:
            if place.length > limit:
                error = f"its index claims {place.length} bytes, where a chunk has at most {limit}"
                raise self._damaged(f"chunk {place.part.chunk}, in shard {request.shard},", CorruptDataError(error))

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
