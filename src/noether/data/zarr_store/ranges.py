"""Which byte ranges of which shards hold the chunks of a read plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from noether.data.zarr_store.sampling import ChunkPart, ReadPlan
from noether.data.zarr_store.shard import ShardIndex

__all__ = ["ChunkPlace", "RangeRequest", "plan_ranges"]

# A whole field is read in pieces of this size, so that they can be fetched and decoded at the same time and no more
# than a few of them are in memory. A draw is far smaller, and so is one request.
MAX_REQUEST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where the bytes of one chunk lie in a request, and where its rows go.

    Attributes
    ----------
    part : ChunkPart
        The chunk, and its rows that are taken.
    first_row : int
        Where the first of these goes in the result.
    offset, length : int
        Its bytes, counted from the start of the request.
    """

    part: ChunkPart
    first_row: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """One range of one shard.

    Attributes
    ----------
    shard : int
        Number of the shard.
    start, length : int
        The bytes; no bytes where the chunks are not stored.
    places : tuple of ChunkPlace
        What lies there, neighbours in the shard.
    """

    shard: int
    start: int
    length: int
    places: tuple[ChunkPlace, ...]


def plan_ranges(plan: ReadPlan, chunks_per_shard: int, index_of: Callable[[int], ShardIndex]) -> Iterator[RangeRequest]:
    """Yield the requests of one field: chunks that are neighbours in a shard are one.

    Parameters
    ----------
    plan : ReadPlan
        The chunks, the same for all fields of the domain.
    chunks_per_shard : int
        Chunks that a shard has room for.
    index_of : callable of int to ShardIndex
        The index of a shard; called once for each that the plan touches.
    """
    shard, index = -1, None
    start = end = 0
    places: list[ChunkPlace] = []
    first_row = 0
    for part in plan.parts:
        its_shard, position = divmod(part.chunk, chunks_per_shard)
        if index is None or its_shard != shard:
            if places:
                yield RangeRequest(shard, start, end - start, tuple(places))
            shard, index, places = its_shard, index_of(its_shard), []
        offset, length = index.range_of(position)
        neighbour = bool(places) and offset == end and end + length - start <= MAX_REQUEST_BYTES
        if not neighbour:
            if places:
                yield RangeRequest(shard, start, end - start, tuple(places))
            start, end, places = offset, offset, []
        places.append(ChunkPlace(part, first_row, offset - start, length))
        end = offset + length
        first_row += part.n_points
    if places:
        yield RangeRequest(shard, start, end - start, tuple(places))
