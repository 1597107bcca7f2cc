"""Points that fall together in a cast: their number is exact for few points, and estimated for many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.writing import position_loss
from noether.data.zarr_store.writing.position_loss import PositionLoss, PositionMeter, measure_positions

seeds = st.integers(0, 2**32 - 1)


def measured(points: NDArray[np.generic], dtype: str = "float32") -> PositionLoss | None:
    meter = PositionMeter(len(points), 3, dtype, None)
    measure_positions(points, meter)
    return meter.loss("run_1", "volume_position")


def points_together(points: NDArray[np.float64], dtype: str) -> int:
    """Compare every point with every other point."""
    stored = points.astype(dtype)
    same_place = (stored[:, None] == stored[None]).all(axis=-1)
    was_elsewhere = (points[:, None] != points[None]).any(axis=-1)
    return int((same_place & was_elsewhere).any(axis=1).sum())


@given(seed=seeds, shift=st.sampled_from([0.0, -3e4, 5.5e6]), dtype=st.sampled_from(["float32", "float16"]))
def test_points_that_fall_together_are_counted_pair_by_pair(seed: int, shift: float, dtype: str) -> None:
    shift = min(shift, 6e4) if dtype == "float16" else shift
    rng = np.random.default_rng(seed)
    points = rng.choice(rng.random((60, 3)) * 3, 90) + shift  # some come twice
    loss = measured(points, dtype)
    assert (0 if loss is None else loss.n_together) == points_together(points, dtype)
    if loss is not None:
        assert (loss.n_points, loss.n_compared) == (90, 90)
        for axis, (given_, stored) in zip(loss.axes, zip(points.T, points.astype(dtype).T, strict=True), strict=True):
            assert (axis.low, axis.high) == (given_.min(), given_.max())
            assert (axis.source_values, axis.stored_values) == (len(np.unique(given_)), len(np.unique(stored)))
            assert axis.step == np.spacing(np.abs(given_).max().astype(dtype))


@pytest.mark.slow
@given(seed=seeds, share=st.sampled_from([0.02, 0.5, 1.0]))
def test_share_of_many_points_is_estimated(seed: int, share: float) -> None:
    """Twins are far apart in the order of the source, so that a subset of rows would miss nearly all of them."""
    rng = np.random.default_rng(seed)
    n = 400_000
    points = (rng.random((n, 3)) + 1).astype(np.float32).astype(np.float64)
    twins = int(n * share / 2)
    points[n - twins :] = points[:twins] + 1e-9
    loss = measured(points)
    assert loss is not None
    assert loss.n_compared < n / 4
    assert loss.share_together == pytest.approx(share, rel=0.15)


def test_share_is_estimated_from_whole_places() -> None:
    rng = np.random.default_rng(0)
    points = (rng.random((200_000, 3)) + 1).astype(np.float32).astype(np.float64)
    points[100_000:] = points[:100_000] + 1e-9
    loss = measured(points)
    assert loss is not None
    assert loss.n_compared < 100_000
    assert loss.share_together == pytest.approx(1, abs=0.01)


def test_the_order_of_blocks_changes_nothing() -> None:
    points = np.random.default_rng(1).random((60_000, 3)) + np.array([0, 5e6, 0])
    blocks = np.split(points, 30)
    found = []
    for order in (blocks, blocks[::-1], blocks[10:] + blocks[:10]):
        meter = PositionMeter(len(points), 3, "float32", None)
        for block in order:
            meter.add(block)
        found.append(meter.loss("run_1", "volume_position"))
    assert found[0] is not None
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.random.default_rng(2).random((5000, 3)) * (80, 44, 20) - (20, 22, 0), id="a wind tunnel"),
        pytest.param(
            np.array(list(itertools.product(range(20), repeat=3))) + np.array([0, 3e6, 0]), id="whole numbers"
        ),
        pytest.param(
            np.c_[np.random.default_rng(3).random((5000, 2)), np.full(5000, 5e6 + 0.1)], id="a plane far away"
        ),
        pytest.param(np.repeat(np.random.default_rng(4).random((2500, 3)), 2, axis=0), id="duplicates of the source"),
        pytest.param(
            np.concatenate([points := np.random.default_rng(5).random((900, 3)), points * (1 + 2**-52)]),
            id="duplicates but for the rounding of float64",
        ),
        pytest.param(np.full((10, 3), 5e6), id="one point"),
        pytest.param(np.full((10, 3), np.nan), id="no point that is finite"),
        pytest.param(np.array([[5e6, 5e6, 5e6]]), id="a single point"),
    ],
)
def test_fine_positions_have_no_loss(points: NDArray[np.float64]) -> None:
    assert measured(points) is None


def test_half_precision_near_the_origin_has_no_loss() -> None:
    """The steps of float16 are coarse everywhere, and an origin does not help. Only points that fall together count."""
    points = np.random.default_rng(9).random((200, 3))
    assert points_together(points, "float16") == 0
    assert measured(points, "float16") is None
    assert measured(points + 100, "float16") is not None


def test_non_finite_points_are_ignored() -> None:
    points = np.random.default_rng(6).random((600, 3)) + np.array([0, 5e6, 0])
    with_nan = np.concatenate([points, np.full((20, 3), np.nan), [[np.inf, 0, 0]]])
    loss, expected = measured(with_nan), measured(points)
    assert loss is not None
    assert expected is not None
    assert loss.axes[1].stored_values == expected.axes[1].stored_values == 3
    assert loss.n_compared == 600


def test_a_stack_of_thin_layers_falls_together_near_the_origin() -> None:
    """The coordinates are near 0, but the layers are closer than the steps of float32."""
    plane = np.random.default_rng(7).random((500, 3)) + np.array([1, 1, 16])
    points = np.concatenate([plane, np.add(plane, (0, 0, 1e-7))])
    loss = measured(points)
    assert loss is not None
    assert loss.n_together == points_together(points, "float32") > 800
    assert not any(axis.is_coarse for axis in loss.axes)


@pytest.mark.parametrize("seed", range(6))
def test_many_points_at_few_places_are_counted(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The hash then chooses no position, or a position of more points than are kept."""
    monkeypatch.setattr(position_loss, "_COMPARED_POINTS", 1 << 10)
    monkeypatch.setattr(position_loss, "_MAX_COMPARED_POINTS", 1 << 12)
    points = np.random.default_rng(seed).random((200_000, 3)) * 0.7 + 6e6 + seed
    loss = measured(points)
    assert loss is not None
    assert loss.share_together == 1
    assert 1000 < loss.n_compared < 30_000
    assert any(axis.is_coarse for axis in loss.axes)
