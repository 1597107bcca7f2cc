"""The law of a draw: the rows of a plan, and their chances."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import cache, partial
from itertools import combinations, pairwise
from math import ceil, comb
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling.plan import (
    CHUNK_ORDERS,
    FEW_CHUNKS,
    MAX_COUNTED_DRAWS,
    ChunkOrder,
    count_draws,
    plan_draw,
    plan_whole,
)
from support.lanes import few_fast
from support.outcomes import EveryOutcome, rows_of

GRIDS = st.builds(Grid.fit, st.integers(1, 5_000), st.integers(1, 700))
ORDERS = st.sampled_from(CHUNK_ORDERS)
SEEDS = st.integers(0, 2**32)
WHOLE_CHUNKS = st.booleans()
# All domains of at most this many points, in chunks of every size.
SMALL_GRIDS = [Grid(n_points, size, size) for n_points in range(1, 12) for size in range(1, n_points + 2)]

# Below this, a fair plan would be called unfair once in ten thousand seeds; the seeds are fixed.
SIGNIFICANCE = 1e-4


@cache
def every_draw(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, whole_chunks: bool = False
) -> dict[tuple[int, ...], Fraction]:
    """Return the exact chance of each draw, by its rows, over all outcomes of the random choices."""
    found: dict[tuple[int, ...], Fraction] = {}
    make = partial(plan_draw, grid, wanted, chunk_order=chunk_order, whole_chunks=whole_chunks)
    for plan, chance in EveryOutcome().outcomes(make):
        rows = tuple(rows_of(plan))
        found[rows] = found.get(rows, Fraction(0)) + chance
    return found


def chances(grid: Grid, wanted: int, chunk_order: ChunkOrder, whole_chunks: bool = False) -> list[Fraction]:
    """Return the exact chance of each row to be in a draw."""
    drawn = every_draw(grid, wanted, chunk_order, whole_chunks)
    assert sum(drawn.values()) == 1
    per_row = [Fraction(0)] * grid.n_points
    for rows, chance in drawn.items():
        for row in rows:
            per_row[row] += chance
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


@pytest.mark.parametrize("whole_chunks", few_fast([False, True]))
@pytest.mark.parametrize("chunk_order", few_fast(CHUNK_ORDERS))
def test_the_law_holds_for_every_small_domain(chunk_order: ChunkOrder, whole_chunks: bool) -> None:
    """For every N, c and T, and all random choices: the chance is T/N, and the chunks are at most ceil(T/c) + 1."""
    for grid in SMALL_GRIDS:
        for wanted in range(1, grid.n_points + 1):
            drawn = chances(grid, wanted, chunk_order, whole_chunks)
            assert drawn == [Fraction(wanted, grid.n_points)] * grid.n_points, (grid, wanted)
            for rows in every_draw(grid, wanted, chunk_order, whole_chunks):
                assert len(rows) == wanted
                assert len({row // grid.chunk_points for row in rows}) <= ceil(wanted / grid.chunk_points) + 1


@pytest.mark.parametrize("chunk_order", CHUNK_ORDERS)
@pytest.mark.parametrize("few_chunks", few_fast([FEW_CHUNKS, 3]))
def test_count_draws_is_right_for_every_small_domain(
    chunk_order: ChunkOrder, few_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noether.data.zarr_store.sampling.plan.FEW_CHUNKS", few_chunks)
    for grid in SMALL_GRIDS:
        whole_chunks = grid.n_full_chunks >= few_chunks
        counted = {wanted: count_draws(grid, wanted, chunk_order) for wanted in range(1, grid.n_points + 3)}
        drawn = {wanted: len(every_draw(grid, wanted, chunk_order, whole_chunks)) for wanted in counted}
        assert counted == drawn, grid


def test_draws_are_counted_up_to_a_bound() -> None:
    """Counting 2**63 draws or more takes no time."""
    grid = Grid(1 << 48, 1 << 20, 1 << 20)
    n_chunks = 1 << 28
    assert count_draws(grid, 1 << 20, "scattered") == n_chunks
    assert count_draws(grid, 2 << 20, "scattered") == n_chunks * (n_chunks - 1) // 2
    assert count_draws(grid, 3 << 20, "scattered") == MAX_COUNTED_DRAWS
    assert count_draws(grid, 1 << 47, "scattered") == MAX_COUNTED_DRAWS
    assert count_draws(Grid(67, 1, 1), 33, "scattered") == MAX_COUNTED_DRAWS < comb(67, 33)
    assert count_draws(Grid(66, 1, 1), 33, "scattered") == comb(66, 33) < MAX_COUNTED_DRAWS


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), ORDERS, SEEDS)
def test_draws_of_a_domain_of_many_chunks_are_whole_chunks(
    size: int, n_chunks: int, more_chunks: int, chunk_order: ChunkOrder, seed: int
) -> None:
    """So a draw of a whole number of chunks costs no additional chunk."""
    grid = Grid((FEW_CHUNKS + more_chunks) * size, size, size)
    plan = plan_draw(grid, n_chunks * size, Random(seed), chunk_order)
    assert [part.ranges for part in plan.parts] == [((0, size),)] * n_chunks


@pytest.mark.parametrize("chunk_order", CHUNK_ORDERS)
def test_a_draw_of_a_chunk_begins_at_any_row_of_few_chunks(chunk_order: ChunkOrder) -> None:
    few, many = (Grid(n_chunks * 4, 4, 4) for n_chunks in (FEW_CHUNKS - 1, FEW_CHUNKS))
    assert len(every_draw(few, 4, chunk_order)) == few.n_points
    assert len(every_draw(many, 4, chunk_order)) == FEW_CHUNKS
    assert len(every_draw(few, 4, chunk_order, whole_chunks=True)) == FEW_CHUNKS - 1


@given(GRIDS, st.integers(1, 6_000), ORDERS, SEEDS)
def test_a_draw_has_distinct_rows_in_range(grid: Grid, wanted: int, chunk_order: ChunkOrder, seed: int) -> None:
    plan = plan_draw(grid, wanted, Random(seed), chunk_order)
    rows = rows_of(plan)
    assert len(rows) == plan.n_points == min(wanted, grid.n_points)
    assert rows == sorted(set(rows))
    assert rows[0] >= 0
    assert rows[-1] < grid.n_points
    assert plan.grid == grid


@given(GRIDS, st.integers(1, 6_000), ORDERS, WHOLE_CHUNKS, SEEDS)
def test_a_draw_reads_each_chunk_once_and_at_most_one_more_than_needed(
    grid: Grid, wanted: int, chunk_order: ChunkOrder, whole_chunks: bool, seed: int
) -> None:
    """A draw reads its chunks in ascending order."""
    plan = plan_draw(grid, wanted, Random(seed), chunk_order, whole_chunks=whole_chunks)
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
def test_a_consecutive_draw_has_at_most_two_runs(grid: Grid, wanted: int, seed: int) -> None:
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


def test_a_run_of_whole_chunks_starts_at_each_full_chunk_with_the_same_chance() -> None:
    drawn = every_draw(Grid(20, 4, 4), 8, "consecutive", whole_chunks=True)
    starts = {tuple(sorted({row // 4 for row in rows})): chance for rows, chance in drawn.items()}
    assert starts == dict.fromkeys([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], Fraction(1, 5))


def test_a_window_of_few_chunks_starts_at_each_row_with_the_same_chance() -> None:
    windows = [tuple(sorted((start + i) % 20 for i in range(8))) for start in range(20)]
    assert every_draw(Grid(20, 4, 4), 8, "consecutive") == dict.fromkeys(windows, Fraction(1, 20))


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
    """Rows of one draw are neighbours. One random row of each makes the counts independent, as chi-square needs."""
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
    """Return the nth row of ascending ranges."""
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
def test_num_points_of_all_points_or_more_reads_the_domain_whole(
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
