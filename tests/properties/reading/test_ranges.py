"""The requests of a plan contain all its chunks and nothing else, with the smallest number of requests."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.codec.shard_index import MISSING, ShardIndex
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.reading.ranges import MAX_REQUEST_BYTES, RangeRequest, plan_ranges
from noether.data.zarr_store.sampling.plan import CHUNK_ORDERS, plan_draw, plan_whole
from noether.data.zarr_store.sampling.read_plan import ReadPlan

MEGABYTE = 1 << 20
# 0 stands for a chunk that is not stored.
LENGTHS = st.sampled_from([0, 1, 700, MEGABYTE, 3 * MEGABYTE, MAX_REQUEST_BYTES, MAX_REQUEST_BYTES + 1])


@st.composite
def plans(draw: st.DrawFn) -> ReadPlan:
    chunk_points = draw(st.integers(1, 6))
    grid = Grid.fit(draw(st.integers(1, 90)), chunk_points, draw(st.none() | st.integers(1, 40)))
    if draw(st.booleans()):
        return plan_whole(grid)
    rng = Random(draw(st.integers(0, 2**32)))
    return plan_draw(grid, draw(st.integers(1, 90)), rng, draw(st.sampled_from(CHUNK_ORDERS)))


@st.composite
def indexes(draw: st.DrawFn, n_chunks: int) -> ShardIndex:
    """Draw chunks in any order, as other writers lay them out, some after a gap."""
    lengths = draw(st.lists(LENGTHS, min_size=n_chunks, max_size=n_chunks))
    if draw(st.booleans()):
        return ShardIndex.of_lengths(lengths)
    index = ShardIndex(np.full(n_chunks, MISSING, np.uint64), np.full(n_chunks, MISSING, np.uint64))
    end = 0
    for chunk in draw(st.permutations(range(n_chunks))):
        if lengths[chunk]:
            start = end + draw(st.sampled_from([0, 0, 9]))
            index.offsets[chunk], index.lengths[chunk] = start, lengths[chunk]
            end = start + lengths[chunk]
    return index


@st.composite
def cases(draw: st.DrawFn) -> tuple[ReadPlan, list[ShardIndex], list[RangeRequest]]:
    plan = draw(plans())
    per_shard = plan.grid.shard_points // plan.grid.chunk_points
    shards = [draw(indexes(per_shard)) for _ in range(plan.grid.n_shards)]
    return plan, shards, list(plan_ranges(plan, per_shard, shards.__getitem__))


Case = tuple[ReadPlan, list[ShardIndex], list[RangeRequest]]


@given(cases())
def test_requests_have_all_parts_in_order_with_their_rows(case: Case) -> None:
    plan, _, requests = case
    assert tuple(part for request in requests for part in request.parts) == plan.parts
    row = 0
    for request in requests:
        assert request.first_row == row
        row += sum(part.n_points for part in request.parts)


@given(cases())
def test_the_bytes_of_a_chunk_are_where_the_index_of_its_shard_says(case: Case) -> None:
    plan, shards, requests = case
    per_shard = plan.grid.shard_points // plan.grid.chunk_points
    for request in requests:
        for part, (start, stop) in zip(request.parts, pairwise(request.bounds), strict=True):
            shard, position = divmod(part.chunk, per_shard)
            assert shard == request.shard
            ((offset, length),) = shards[shard].ranges_of(position)
            assert stop - start == length
            assert length == 0 or request.start + start == offset


@given(cases())
def test_no_byte_is_requested_that_belongs_to_no_chunk_of_the_plan(case: Case) -> None:
    _, _, requests = case
    for request in requests:
        assert request.bounds[0] == 0
        assert request.bounds == sorted(request.bounds)
        assert request.length == request.bounds[-1]


@given(cases())
def test_a_request_of_several_chunks_is_bounded(case: Case) -> None:
    _, _, requests = case
    for request in requests:
        assert request.length <= MAX_REQUEST_BYTES or len(set(request.bounds)) == 2


@given(cases())
def test_neighbours_in_a_shard_are_one_request_unless_that_would_be_too_large(case: Case) -> None:
    _, _, requests = case
    for request, following in pairwise(requests):
        if following.shard == request.shard and following.length and request.start + request.length == following.start:
            assert request.length + following.bounds[1] > MAX_REQUEST_BYTES


@given(plans(), st.integers(1, 9))
def test_the_index_of_each_shard_of_a_plan_is_requested_once(plan: ReadPlan, length: int) -> None:
    per_shard = plan.grid.shard_points // plan.grid.chunk_points
    asked = []

    def index_of(shard: int) -> ShardIndex:
        asked.append(shard)
        return ShardIndex.of_lengths([length] * per_shard)

    list(plan_ranges(plan, per_shard, index_of))
    assert asked == sorted({part.chunk // per_shard for part in plan.parts})
