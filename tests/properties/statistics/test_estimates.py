"""Laws of means that are estimated from some of the points."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.statistics import RunningStats
from noether.data.zarr_store.statistics.estimates import extrapolate, points_to_read, share_to_read

TOLERANCES = st.floats(0.001, 0.9)
grids = st.builds(Grid.fit, st.integers(1, 3000), st.integers(1, 200))


def chosen_rows(n_points: int, n_read: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.random.default_rng(seed).permutation(n_points)[:n_read]


@given(st.lists(grids, min_size=1, max_size=5), TOLERANCES, st.integers(0, 2**32))
def test_the_margin_over_all_samples_is_within_the_tolerance(grids: list[Grid], tolerance: float, seed: int) -> None:
    share = share_to_read(sum(grid.n_points for grid in grids), tolerance)
    parts = []
    for number, grid in enumerate(grids):
        values = np.random.default_rng([seed, number]).gamma(0.3, size=(grid.n_points, 2)) + 5 * number
        read = chosen_rows(grid.n_points, points_to_read(grid, share), seed)
        parts.append(extrapolate(RunningStats.of(values[read]), grid.n_points))
    stats = reduce(RunningStats.merge, parts)
    assert stats.count == sum(grid.n_points for grid in grids)
    assert (stats.mean_margin <= tolerance * stats.std * (1 + 1e-9)).all()
    assert (stats.logmean_margin <= tolerance * stats.logstd * (1 + 1e-9)).all()


@given(grids, TOLERANCES, st.integers(1, 10**9))
def test_whole_chunks_are_read_and_two_points_at_least_where_there_are_two(
    grid: Grid, tolerance: float, more_points: int
) -> None:
    n_read = points_to_read(grid, share_to_read(grid.n_points + more_points, tolerance))
    assert min(2, grid.n_points) <= n_read <= grid.n_points
    assert n_read % grid.chunk_points == 0 or n_read == grid.n_points


@given(st.integers(1, 10**12), TOLERANCES)
def test_more_points_need_a_smaller_share_but_never_fewer_points(n_points: int, tolerance: float) -> None:
    share, next_share = (share_to_read(n, tolerance) for n in (n_points, 2 * n_points))
    assert 0 < next_share < share <= 1
    assert 2 * n_points * next_share >= n_points * share * (1 - 1e-9)
    assert n_points * share <= (1.96 / tolerance) ** 2


def test_statistics_of_all_points_are_not_an_estimate() -> None:
    stats = RunningStats.of(np.arange(10.0))
    assert extrapolate(stats, 10) is stats
    assert not stats.is_estimate


def test_an_estimate_covers_all_points_and_has_no_extremes() -> None:
    stats = extrapolate(RunningStats.of([1.0, 2.0, 4.0, 5.0]), 400)
    assert (stats.count, stats.points_read, stats.is_estimate) == (400, 4, True)
    assert stats.mean == 3
    assert stats.std == pytest.approx(np.std([1, 2, 4, 5], ddof=1))
    assert stats.mean_margin == pytest.approx(1.95996 * np.sqrt(0.99 * np.var([1, 2, 4, 5], ddof=1) / 4), rel=1e-5)
    assert np.isnan([stats.min, stats.max]).all()


def test_one_finite_value_gives_no_margin_to_rely_on() -> None:
    stats = extrapolate(RunningStats.of([7.0, np.nan]), 100)
    assert (stats.mean.tolist(), stats.non_finite.tolist()) == ([7], [1])
    assert np.isnan(stats.mean_margin)


def test_errors_of_merged_estimates_add_up_as_those_of_strata() -> None:
    first = extrapolate(RunningStats.of([1.0, 3.0]), 100)
    second = extrapolate(RunningStats.of([10.0, 20.0, 60.0]), 300)
    merged = first.merge(second)
    assert merged.mean == pytest.approx(0.25 * first.mean + 0.75 * second.mean)
    assert merged.mean_margin == pytest.approx(np.hypot(0.25 * first.mean_margin, 0.75 * second.mean_margin))
    assert (merged.count, merged.points_read) == (400, 5)


def test_an_estimate_merged_with_exact_statistics_is_an_estimate() -> None:
    merged = extrapolate(RunningStats.of([1.0, 3.0]), 100).merge(RunningStats.of([2.0, 2.0]))
    assert merged.is_estimate
    assert np.isnan([merged.min, merged.max]).all()
