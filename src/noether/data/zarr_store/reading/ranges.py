"""The byte ranges of shards that hold the chunks of a read plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from noether.data.zarr_store.codec import ShardIndex
from noether.data.zarr_store.sampling import ChunkPart, ChunkRun, ReadPlan

__all__ = ["RangeRequest", "plan_ranges"]

# A whole field is read in requests of this size, which are fetched and decoded in parallel, a few of them in memory at
# a time. A draw is far smaller, so it is one request.
MAX_REQUEST_BYTES = 8 << 20


class RangeRequest(NamedTuple):
    """One byte range of one shard, and the chunks in it.

    Attributes
    ----------
    shard : int
        Number of the shard.
    start : int
        Offset of the first byte in the shard.
    parts : tuple of ChunkPart
        The chunks, each with the rows that the plan takes.
    first_row : int
        Index of the first of these rows in the result.
    bounds : list of int, one more than parts
        Start of each chunk and end of the last, as offsets from `start`. A chunk that is not stored has no bytes.
    """

    shard: int
    start: int
    parts: tuple[ChunkPart, ...]
    first_row: int
    bounds: list[int]

    @property
    def length(self) -> int:
        """Number of bytes to read; 0 if none of the chunks is stored."""
        return self.bounds[-1]


def plan_ranges(plan: ReadPlan, chunks_per_shard: int, index_of: Callable[[int], ShardIndex]) -> list[RangeRequest]:
    """Return the requests of one field. Chunks whose bytes are contiguous in a shard share a request.

    Parameters
    ----------
    plan : ReadPlan
        The chunks, the same for all fields of the domain.
    chunks_per_shard : int
        Number of chunks that a shard has room for.
    index_of : callable of int to ShardIndex
        Returns the index of a shard. It is called once for each shard of the plan if the shards ascend.
    """
    runs = plan.shard_runs(chunks_per_shard)
    if len(runs) == 1:  # as in nearly every draw
        shard, first, n_chunks = runs[0]
        found = index_of(shard).bounds_of(first, n_chunks)
        if found is not None and found[1][-1] <= MAX_REQUEST_BYTES:
            return [RangeRequest(shard, found[0], plan.parts, 0, found[1])]
    return list(_split_ranges(plan, runs, index_of))


def _split_ranges(
    plan: ReadPlan, runs: list[ChunkRun], index_of: Callable[[int], ShardIndex]
) -> Iterator[RangeRequest]:
    """Yield the requests of one field; see `plan_ranges`."""
    shard, index = -1, None
    first = stop = first_row = start = 0
    bounds = [0]
    for run in runs:
        changes = run.shard != shard
        if index is None or changes:
            index = index_of(run.shard)
        for offset, length in index.ranges_of(run.first_in_shard, run.n_chunks):
            end = start + bounds[-1]
            if stop > first and (changes or offset != end or end + length - start > MAX_REQUEST_BYTES):
                parts = plan.parts[first:stop]
                yield RangeRequest(shard, start, parts, first_row, bounds)
                first_row += sum(part.n_points for part in parts)
                first = stop
            if stop == first:
                shard, start, bounds = run.shard, offset, [0]
            changes = False
            bounds.append(bounds[-1] + length)
            stop += 1
    if stop > first:
        yield RangeRequest(shard, start, plan.parts[first:stop], first_row, bounds)
