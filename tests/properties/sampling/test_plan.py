"""The law of a draw: which rows a plan takes, and with what chance."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise
from math import ceil
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling.plan import CHUNK_ORDERS, ChunkOrder, plan_draw, plan_whole
from support.lanes import few_fast
from support.outcomes import EveryOutcome, rows_of

GRIDS = st.builds(Grid.fit, st.integers(1, 5_000), st.integers(1, 700))
ORDERS = st.sampled_from(CHUNK_ORDERS)
SEEDS = st.integers(0, 2**32)

# Below this, a fair plan would be called unfair once in ten thousand seeds; the seeds are fixed.
SIGNIFICANCE = 1e-4


def chances(grid: Grid, wanted: int, chunk_order: ChunkOrder) -> list[Fraction]:
    """Exact chance of each row of being in a draw, over all outcomes of the random choices."""
    total, per_row = Fraction(0), [Fraction(0)] * grid.n_points
    for plan, chance in EveryOutcome().outcomes(lambda rng: plan_draw(grid, wanted, rng, chunk_order)):
        total += chance
        for row in rows_of(plan):
            per_row[row] += chance
    assert total == 1
    return per_row


@pytest.mark.parametrize("chunk_order", CHUNK_ORDERS)
@pytest.mark.parametrize(
    ("n_points", "chunk_points"),
    [
        pytest.param(12, 4, id="all-chunks-full"),
        pytest.param(13, 4, id="short-chunk-of-one"),
        pytest.param(14, 4, id="short-chunk-of-half"),
        pytest.param(11, 4, id="short-chunk-of-all-but-one"),
        pytest.param(17, 5, id="three-full-and-short"),
        pytest.param(9, 5, id="one-full-and-short"),
        pytest.param(10, 5, id="two-full"),
        pytest.param(7, 1, id="chunks-of-one-row"),
        pytest.param(6, 6, id="one-chunk"),
        pytest.param(5, 8, id="less-than-a-chunk"),
        pytest.param(2, 1, id="two-points"),
    ],
)
def test_every_point_is_drawn_with_chance_t_of_n_exactly(
    n_points: int, chunk_points: int, chunk_order: ChunkOrder
) -> None:
    grid = Grid(n_points, chunk_points, chunk_points)
    drawn = {wanted: chances(grid, wanted, chunk_order) for wanted in range(1, n_points + 3)}
    assert drawn == {wanted: [min(Fraction(wanted, n_points), Fraction(1))] * n_points for wanted in drawn}


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_a_draw_gives_distinct_rows_in_range_as_many_as_asked_or_as_there_are(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int
) -> None:
    plan = plan_draw(grid, wanted, Random(seed), chunk_order)
    rows = rows_of(plan)
    assert len(rows) == plan.n_points == min(wanted, grid.n_points)
    assert rows == sorted(set(rows))
    assert rows[0] >= 0
    assert rows[-1] < grid.n_points
    assert plan.grid == grid


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_a_draw_reads_each_chunk_once_and_at_most_one_more_than_needed(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int
) -> None:
    """A draw reads its chunks in ascending order."""
    plan = plan_draw(grid, wanted, Random(seed), chunk_order)
    chunks = [part.chunk for part in plan.parts]
    assert chunks == sorted(set(chunks))
    assert chunks[-1] < grid.n_chunks
    assert len(chunks) <= ceil(min(wanted, grid.n_points) / grid.chunk_points) + 1


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_the_ranges_of_a_part_are_ascending_and_within_its_chunk(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int
) -> None:
    for part in plan_draw(grid, wanted, Random(seed), chunk_order).parts:
        edges = [edge for found in part.ranges for edge in found]
        assert edges == sorted(set(edges))
        assert edges[0] >= 0
        assert edges[-1] <= grid.chunk_size(part.chunk)
        assert part.n_points == sum(edges[1::2]) - sum(edges[::2])


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_runs_hold_all_parts_in_order_and_are_as_long_as_neighbours_reach(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int
) -> None:
    plan = plan_draw(grid, wanted, Random(seed), chunk_order)
    runs = list(plan.runs())
    assert [part for run in runs for part in run] == list(plan.parts)
    for run in runs:
        assert [part.chunk for part in run] == list(range(run[0].chunk, run[0].chunk + len(run)))
    for run, following in pairwise(runs):
        assert following[0].chunk > run[-1].chunk + 1


@given(GRIDS, st.integers(1, 6_000), SEEDS)
def test_a_consecutive_draw_is_one_run_or_two_where_it_wraps_or_adds_the_short_chunk(
    grid: Grid, wanted: int, seed: int
) -> None:
    plan = plan_draw(grid, wanted, Random(seed), "consecutive")
    chunks = {part.chunk for part in plan.parts}
    runs = len(list(plan.runs()))
    wraps = {0, grid.n_full_chunks - 1} <= chunks
    adds_short = grid.short_points > 0 and grid.n_chunks - 1 in chunks
    assert runs <= (2 if wraps or adds_short else 1)


def test_a_consecutive_draw_that_wraps_and_adds_the_short_chunk_is_still_two_runs() -> None:
    grid = Grid(41, 4, 4)
    plans = [plan for plan, _ in EveryOutcome().outcomes(lambda rng: plan_draw(grid, 18, rng))]
    wrapped = [plan for plan in plans if {0, 9, 10} <= {part.chunk for part in plan.parts}]
    assert {len(list(plan.runs())) for plan in wrapped} == {2}


def test_a_consecutive_run_starts_at_each_full_chunk_with_the_same_chance() -> None:
    grid = Grid(20, 4, 4)
    starts: dict[tuple[int, ...], Fraction] = {}
    for plan, chance in EveryOutcome().outcomes(lambda rng: plan_draw(grid, 8, rng)):
        chunks = tuple(part.chunk for part in plan.parts)
        starts[chunks] = starts.get(chunks, Fraction(0)) + chance
    assert starts == dict.fromkeys([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], Fraction(1, 5))


def test_scattered_chunks_are_chosen_independently_of_their_neighbours() -> None:
    grid, rng = Grid(24, 4, 4), Random(7)
    plans = (plan_draw(grid, 8, rng, "scattered") for _ in range(6_000))
    counts = Counter(tuple(part.chunk for part in plan.parts) for plan in plans)
    assert set(counts) == set(combinations(range(6), 2))
    assert chisquare(list(counts.values())).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("chunk_order", few_fast(CHUNK_ORDERS))
@pytest.mark.parametrize(
    ("n_points", "chunk_points", "wanted"),
    few_fast(
        [
            pytest.param(2_041, 256, 101, id="short-chunk-larger-than-the-draw"),
            pytest.param(2_041, 256, 700, id="short-chunk-smaller-than-the-draw"),
            pytest.param(2_041, 256, 1_900, id="draw-larger-than-the-full-chunks"),
        ]
    ),
)
def test_one_row_of_each_of_many_draws_is_uniform_over_all_points(
    n_points: int, chunk_points: int, wanted: int, chunk_order: ChunkOrder
) -> None:
    """Rows of one draw are neighbours, so one at random of each makes the counts independent, as chi-square asks."""
    grid, rng, counts = Grid.fit(n_points, chunk_points), Random(2041), np.zeros(n_points)
    for _ in range(40_000):
        nth = rng.randrange(wanted)
        for part in plan_draw(grid, wanted, rng, chunk_order).parts:
            if nth < part.n_points:
                counts[part.chunk * chunk_points + row_of(part.ranges, nth)] += 1
                break
            nth -= part.n_points
    assert chisquare(counts).pvalue > SIGNIFICANCE


def row_of(ranges: tuple[tuple[int, int], ...], nth: int) -> int:
    """The nth row of ascending ranges."""
    for start, stop in ranges:
        if nth < stop - start:
            return start + nth
        nth -= stop - start
    raise IndexError(nth)


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_the_same_generator_state_gives_the_same_plan(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int
) -> None:
    first, second = (plan_draw(grid, wanted, Random(seed), chunk_order) for _ in range(2))
    assert first == second


def test_further_draws_from_one_generator_differ() -> None:
    grid, rng = Grid.fit(2_041, 16), Random(0)
    assert len({plan_draw(grid, 100, rng) for _ in range(50)}) > 40


@given(GRIDS, st.integers(0, 100), ORDERS, SEEDS)
def test_as_many_points_as_there_are_or_more_read_the_domain_whole(
    grid: Grid, more: int, chunk_order: ChunkOrder, seed: int
) -> None:
    plan = plan_draw(grid, grid.n_points + more, Random(seed), chunk_order)
    assert plan == plan_whole(grid)
    assert rows_of(plan) == list(range(grid.n_points))
    assert len(list(plan.runs())) == 1


@pytest.mark.parametrize("wanted", [0, -1, 2.0, True, "5", None, np.array([1, 2])], ids=repr)
def test_a_number_of_points_that_is_no_positive_whole_number_is_refused(wanted: Any) -> None:
    with pytest.raises(ArgumentError, match=r"num_points: expected a whole number of at least 1, got "):
        plan_draw(Grid.fit(10, 4), wanted, Random(0))


def test_an_unknown_chunk_order_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match=r"chunk_order: expected one of consecutive, scattered, got 'random'"):
        plan_draw(Grid.fit(10, 4), 3, Random(0), cast(ChunkOrder, "random"))
