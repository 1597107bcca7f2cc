"""Examples of the requests of a plan."""

from __future__ import annotations

from random import Random

import pytest

from noether.data.zarr_store.codec.shard_index import ShardIndex
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.reading.ranges import MAX_REQUEST_BYTES, plan_ranges
from noether.data.zarr_store.sampling.plan import plan_draw, plan_whole
from noether.data.zarr_store.sampling.read_plan import ChunkPart, ReadPlan

HALF = MAX_REQUEST_BYTES // 2


def requests_of(lengths: list[int], per_shard: int, plan: ReadPlan | None = None) -> list[tuple[int, int, int]]:
    """Return shard, start and length of each request, for chunks of 10 points."""
    plan = plan or plan_whole(Grid(10 * len(lengths), 10, 10 * per_shard))
    shards = [ShardIndex.of_lengths(lengths[i : i + per_shard], per_shard) for i in range(0, len(lengths), per_shard)]
    requests = plan_ranges(plan, per_shard, shards.__getitem__)
    return [(request.shard, request.start, request.length) for request in requests]


@pytest.mark.parametrize(
    ("lengths", "per_shard", "expected"),
    [
        pytest.param([5, 6, 7], 3, [(0, 0, 18)], id="one shard"),
        pytest.param([5, 6, 7], 2, [(0, 0, 11), (1, 0, 7)], id="a request never crosses into the next shard"),
        pytest.param([0, 0, 0], 3, [(0, 0, 0)], id="nothing stored costs nothing"),
        pytest.param([HALF, HALF], 2, [(0, 0, 2 * HALF)], id="exactly the largest request"),
        pytest.param([HALF, HALF, 1], 3, [(0, 0, 2 * HALF), (0, 2 * HALF, 1)], id="one byte more"),
        pytest.param([3 * HALF, 1], 2, [(0, 0, 3 * HALF), (0, 3 * HALF, 1)], id="a chunk larger than that, alone"),
        pytest.param([1, 3 * HALF], 2, [(0, 0, 1), (0, 1, 3 * HALF)], id="a chunk larger than that, second"),
    ],
)
def test_a_whole_field_is_read_in_these_requests(
    lengths: list[int], per_shard: int, expected: list[tuple[int, int, int]]
) -> None:
    assert requests_of(lengths, per_shard) == expected


def test_chunks_that_are_not_neighbours_are_separate_requests() -> None:
    grid = Grid(60, 10, 60)
    plan = ReadPlan(grid, tuple(ChunkPart(chunk, ((0, 10),)) for chunk in (0, 1, 3, 5)))
    assert requests_of([1, 2, 4, 8, 16, 32], 6, plan) == [(0, 0, 3), (0, 7, 8), (0, 31, 32)]


@pytest.mark.parametrize("seed", range(20))
def test_a_draw_from_one_shard_is_one_request_or_two(seed: int) -> None:
    """A draw takes two requests where it wraps around, or adds the short chunk."""
    grid = Grid(995, 10, 1000)
    plan = plan_draw(grid, 100, Random(seed))
    chunks = {part.chunk for part in plan.parts}
    splits = {0, 98} <= chunks or 99 in chunks
    assert len(requests_of([7] * 100, 100, plan)) <= 1 + splits
