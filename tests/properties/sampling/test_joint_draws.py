"""The laws of disjoint draws, and of sweeps, in which the draws of many epochs share few points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.sampling.joint_plan import JointPlan, sweep_length
from noether.data.zarr_store.sampling.plan import (
    CHUNK_ORDERS,
    FEW_CHUNKS,
    ChunkOrder,
    cyclic_window,
    plan_draw,
    plan_window,
)
from support.outcomes import EveryOutcome, rows_of

GRIDS = st.builds(Grid.fit, st.integers(1, 3_000), st.integers(1, 500))
SEEDS = st.integers(0, 2**70)
GRIDS_TO_WALK = [
    pytest.param(12, 4, id="all-chunks-full"),
    pytest.param(13, 4, id="short-chunk-of-one"),
    pytest.param(11, 4, id="short-chunk-of-all-but-one"),
    pytest.param(7, 1, id="chunks-of-one-row"),
    pytest.param(5, 8, id="one-chunk"),
]


@st.composite
def grids_and_counts(draw: st.DrawFn) -> tuple[Grid, list[int]]:
    """Draw a grid, and the numbers of points of up to four draws that fit into it."""
    grid = draw(GRIDS)
    counts: list[int] = []
    for _ in range(draw(st.integers(1, 4))):
        if sum(counts) < grid.n_points:
            counts.append(draw(st.integers(1, grid.n_points - sum(counts))))
    return grid, counts


def rows_of_draws(joint: JointPlan) -> list[list[int]]:
    """Return the stored rows of each draw of a plan."""
    rows = rows_of(joint.plan)
    return [[row for start, stop in window for row in rows[start:stop]] for window in joint.windows]


def chances(grid: Grid, counts: list[int], make: Callable[[Random], JointPlan], bits: int = 0) -> list[list[Fraction]]:
    """Return the exact chance of each row to be in each draw, over all outcomes of the random choices."""
    found = [[Fraction(0)] * grid.n_points for _ in counts]
    for joint, chance in EveryOutcome(bits).outcomes(make):
        for per_row, rows in zip(found, rows_of_draws(joint), strict=True):
            for row in rows:
                per_row[row] += chance
    return found


@given(grids_and_counts(), st.sampled_from(CHUNK_ORDERS), SEEDS)
def test_joint_draws_have_their_numbers_of_rows_and_share_none(
    wanted: tuple[Grid, list[int]], chunk_order: ChunkOrder, seed: int
) -> None:
    grid, counts = wanted
    joint = JointPlan.of_draws(grid, counts, Random(seed), chunk_order)
    drawn = rows_of_draws(joint)
    assert [len(rows) for rows in drawn] == counts
    assert sorted(row for rows in drawn for row in rows) == rows_of(joint.plan)
    chunks = [part.chunk for part in joint.plan.parts]
    assert len(set(chunks)) == len(chunks) <= ceil(sum(counts) / grid.chunk_points) + 1


@pytest.mark.parametrize("few_chunks", [FEW_CHUNKS, 0])
@pytest.mark.parametrize("chunk_order", CHUNK_ORDERS)
@pytest.mark.parametrize(("n_points", "chunk_points"), GRIDS_TO_WALK)
def test_every_point_is_in_each_joint_draw_with_chance_t_of_n_exactly(
    n_points: int, chunk_points: int, chunk_order: ChunkOrder, few_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for draws that begin at any row, as in a domain of few chunks, and for draws of whole chunks."""
    monkeypatch.setattr("noether.data.zarr_store.sampling.plan.FEW_CHUNKS", few_chunks)
    grid = Grid.fit(n_points, chunk_points)
    for counts in ([1, 1], [2, 3], [1, n_points - 1], [1, 2, n_points - 3]):
        drawn = chances(grid, counts, partial(JointPlan.of_draws, grid, counts, chunk_order=chunk_order))
        assert drawn == [[Fraction(count, n_points)] * n_points for count in counts]


@pytest.mark.parametrize("order_seed", [0, 1, 2**100])
@pytest.mark.parametrize(("n_points", "chunk_points"), GRIDS_TO_WALK)
def test_every_point_has_the_same_chance_in_each_step_of_a_sweep(
    n_points: int, chunk_points: int, order_seed: int
) -> None:
    grid = Grid.fit(n_points, chunk_points)
    for counts in ([1], [2], [n_points], [2, 3], [n_points - 1, 1]):
        for step in range(sweep_length(grid, counts[0])):
            drawn = chances(grid, counts, partial(JointPlan.of_sweep, grid, counts, step), order_seed)
            assert drawn == [[Fraction(count, n_points)] * n_points for count in counts]


@given(grids_and_counts(), SEEDS, st.data())
def test_a_sweep_has_every_row_once_or_twice(wanted: tuple[Grid, list[int]], seed: int, data: st.DataObject) -> None:
    """The other joint draws never have rows of the same step of the sweep."""
    grid, counts = wanted
    # A limit on the number of steps, for the time of the test.
    counts[0] = max(counts[0], ceil(grid.n_points / 40))
    if sum(counts) > grid.n_points:
        counts = counts[:1]
    times: Counter[int] = Counter()
    for step in range(sweep_length(grid, counts[0])):
        joint = JointPlan.of_sweep(grid, counts, step, Random(seed))
        drawn = rows_of_draws(joint)
        assert [len(rows) for rows in drawn] == counts
        assert sorted(row for rows in drawn for row in rows) == rows_of(joint.plan)
        assert len(list(joint.plan.runs())) <= 2
        times.update(drawn[0])
    assert times.keys() == set(range(grid.n_points))
    assert set(times.values()) <= {1, 2}


@given(grids_and_counts(), SEEDS, st.data())
def test_a_step_of_a_sweep_reads_at_most_two_chunks_more_than_needed(
    wanted: tuple[Grid, list[int]], seed: int, data: st.DataObject
) -> None:
    """This holds for all its draws together, and for each draw alone."""
    grid, counts = wanted
    step = data.draw(st.integers(0, sweep_length(grid, counts[0]) - 1))
    joint = JointPlan.of_sweep(grid, counts, step, Random(seed))
    assert len(joint.plan.parts) <= ceil(sum(counts) / grid.chunk_points) + 2
    for draw, count in enumerate(counts):
        alone, _ = joint.select([draw])
        assert len(alone.parts) <= ceil(count / grid.chunk_points) + 2


def test_a_step_of_a_sweep_can_read_two_chunks_more_than_needed() -> None:
    """Four rows, the size of a chunk: the last row of a full chunk, both rows of the short chunk, and the first row."""
    grid = Grid.fit(10, 4)
    steps = [joint for joint, _ in EveryOutcome().outcomes(partial(JointPlan.of_sweep, grid, [4], 0))]
    assert max(len(joint.plan.parts) for joint in steps) == ceil(4 / 4) + 2
    assert [0, 7, 8, 9] in [rows_of(joint.plan) for joint in steps]


@given(GRIDS, st.integers(0, 5_000), st.integers(1, 4_000))
def test_a_window_has_contiguous_rows_from_its_start(grid: Grid, start: int, length: int) -> None:
    start %= grid.n_points
    plan = plan_window(grid, start, length)
    taken = min(length, grid.n_points)
    assert rows_of(plan) == sorted((start + i) % grid.n_points for i in range(taken))
    chunks = [part.chunk for part in plan.parts]
    assert chunks == sorted(set(chunks))
    assert len(chunks) <= ceil(taken / grid.chunk_points) + 2
    assert all(part.n_points for part in plan.parts)
    ring = [row for a, b in cyclic_window(grid.n_points, taken, start) for row in range(a, b)]
    assert ring == rows_of(plan)


@given(grids_and_counts(), SEEDS, st.data())
def test_take_returns_a_plan_of_the_given_rows(wanted: tuple[Grid, list[int]], seed: int, data: st.DataObject) -> None:
    grid, counts = wanted
    plan = plan_draw(grid, sum(counts), Random(seed))
    edges = data.draw(st.lists(st.integers(0, plan.n_points), unique=True, max_size=8).map(sorted))
    ranges = list(zip(edges[::2], edges[1::2], strict=False))
    rows = rows_of(plan)
    part = plan.take(ranges)
    assert rows_of(part) == [row for start, stop in ranges for row in rows[start:stop]]
    assert all(one.n_points for one in part.parts)


@given(grids_and_counts(), SEEDS, st.data())
def test_some_joint_draws_are_read_without_rows_of_the_others(
    wanted: tuple[Grid, list[int]], seed: int, data: st.DataObject
) -> None:
    grid, counts = wanted
    joint = JointPlan.of_draws(grid, counts, Random(seed))
    draws = data.draw(st.lists(st.sampled_from(range(len(counts))), unique=True, min_size=1).map(sorted))
    plan, shares = joint.select(draws)
    rows, expected = rows_of(plan), rows_of_draws(joint)
    assert [[row for a, b in share for row in rows[a:b]] for share in shares] == [expected[draw] for draw in draws]
    assert plan.n_points == sum(counts[draw] for draw in draws)
    for draw, count in enumerate(counts):
        alone, _ = joint.select([draw])
        assert len(alone.parts) <= ceil(count / grid.chunk_points) + 3
