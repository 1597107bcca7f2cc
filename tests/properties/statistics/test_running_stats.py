"""Laws of statistics that merge."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from noether.data.zarr_store.statistics import RunningStats, statistics_from_dict, statistics_to_dict

# Squares of smaller or larger values do not fit in float64.
MAGNITUDES = st.floats(1e-100, 1e100)
FLOATS = st.just(0.0) | MAGNITUDES | MAGNITUDES.map(lambda x: -x)
NON_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
SHAPES = st.tuples(st.integers(1, 60), st.integers(1, 3))


def columns(elements: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[Any]]:
    return hnp.arrays(np.float64, SHAPES, elements=elements)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Draw values, some of them not finite, and their parts in random order."""
    values = draw(columns(FLOATS | NON_FINITE))
    cuts = sorted(draw(st.sets(st.integers(1, max(len(values) - 1, 1)), max_size=8)))
    parts = [part for part in np.split(values, cuts) if len(part)]
    return values, draw(st.permutations(parts))


def assert_close(given: NDArray[Any], expected: NDArray[Any], values: NDArray[Any]) -> None:
    """Compare to 1e-12 of the size of the values of each component."""
    finite = np.where(np.isfinite(values), values, 0.0)
    error = np.abs(given - expected)
    assert (np.isnan(given) == np.isnan(expected)).all()
    assert (np.isnan(given) | (error <= 1e-12 * np.abs(finite).max(axis=0))).all(), (given, expected)


def logs(values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def exact_moments(column: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, computed in fractions up to the root."""
    exact = [Fraction(value) for value in column.tolist() if math.isfinite(value)]
    if not exact:
        return math.nan, math.nan
    mean = sum(exact, Fraction(0)) / len(exact)
    return float(mean), math.sqrt(sum((value - mean) ** 2 for value in exact) / len(exact))


@given(columns(FLOATS | NON_FINITE))
def test_one_pass_gives_the_moments_of_exact_arithmetic(values: NDArray[np.float64]) -> None:
    stats = RunningStats.of(values)
    means, stds = np.transpose([exact_moments(column) for column in values.T])
    assert_close(stats.mean, means, values)
    assert_close(stats.std, stds, values)


@given(columns(FLOATS))
def test_log_moments_are_the_moments_of_the_log_scale(values: NDArray[np.float64]) -> None:
    stats, of_logs = RunningStats.of(values), RunningStats.of(logs(values))
    assert_close(stats.logmean, of_logs.mean, logs(values))
    assert_close(stats.logstd, of_logs.std, logs(values))


@given(partitions())
def test_parts_merged_in_any_order_are_one_pass(cut: tuple[NDArray[np.float64], list[NDArray[np.float64]]]) -> None:
    values, parts = cut
    whole, merged = RunningStats.of(values), reduce(RunningStats.merge, map(RunningStats.of, parts))
    assert (merged.count, merged.points_read) == (whole.count, whole.points_read)
    for name in ("min", "max", "non_finite"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)
    assert_close(merged.mean, whole.mean, values)
    assert_close(merged.std, whole.std, values)
    scaled = logs(values)
    assert_close(merged.logmean, whole.logmean, scaled)
    assert_close(merged.logstd, whole.logstd, scaled)


# Hypothesis makes float16 by discarding most float64, too many at times; here all bits are values.
@given(hnp.arrays(np.uint16, SHAPES).map(lambda bits: bits.view(np.float16)))
def test_float16_values_have_the_statistics_of_float64_values(values: NDArray[np.float16]) -> None:
    given, expected = RunningStats.of(values), RunningStats.of(values.astype(np.float64))
    for name in ("min", "max", "non_finite"):
        np.testing.assert_array_equal(getattr(given, name), getattr(expected, name), err_msg=name)
    for name in ("mean", "std"):
        assert_close(getattr(given, name), getattr(expected, name), values.astype(np.float64))
    for name in ("logmean", "logstd"):
        assert_close(getattr(given, name), getattr(expected, name), logs(values.astype(np.float64)))


@given(FLOATS, st.lists(st.integers(1, 50), min_size=1, max_size=4), st.sampled_from([np.float32, np.float64]))
def test_a_constant_has_itself_as_mean_and_no_deviation(value: float, sizes: list[int], dtype: type) -> None:
    with np.errstate(over="ignore"):
        parts: list[NDArray[Any]] = [np.nan_to_num(np.full(size, value).astype(dtype)) for size in sizes]
    constant = [float(parts[0][0])]
    stats = reduce(RunningStats.merge, map(RunningStats.of, parts))
    assert (stats.mean.tolist(), stats.min.tolist(), stats.max.tolist()) == (constant, constant, constant)
    assert (stats.std.tolist(), stats.logstd.tolist()) == ([0], [0])


@given(columns(FLOATS | NON_FINITE), st.integers(0, 1000), st.floats(1e-9, 1e9))
def test_statistics_are_restored_from_a_dictionary(
    values: NDArray[np.float64], more_points: int, margin: float
) -> None:
    read = RunningStats.of(values)
    margins = np.full(read.width, margin if more_points else 0.0)
    stats = RunningStats(
        count=read.count + more_points,
        points_read=read.count,
        mean_margin=margins,
        logmean_margin=margins,
        **{name: getattr(read, name) for name in ("mean", "std", "min", "max", "logmean", "logstd", "non_finite")},
    )
    again = statistics_from_dict(statistics_to_dict({"volume_velocity": stats}))["volume_velocity"]
    for name in RunningStats.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(stats, name), err_msg=name)
