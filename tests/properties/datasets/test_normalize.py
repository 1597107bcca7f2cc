"""The inverse of a normalization restores the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from noether.data.zarr_store.datasets.transforms import Normalize
from noether.data.zarr_store.statistics import RunningStats

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 3))
# From where float32 keeps its 24 bits, to where sums of two do not overflow.
MAGNITUDES = st.floats(2.0**-60, 2.0**60, width=32)
FLOATS = st.just(0.0) | MAGNITUDES | MAGNITUDES.map(lambda x: -x)
VALUES = hnp.arrays(np.float32, SHAPES, elements=FLOATS)
# Rounding of a subtraction, a division, a product and a sum, and of the constants.
ROUNDINGS = 6


def there_and_back(normalize: Normalize, field: str, values: NDArray[Any]) -> NDArray[Any]:
    again = normalize.inverse(normalize({field: torch.from_numpy(values)}))[field]
    assert again.dtype == torch.from_numpy(values).dtype
    return np.asarray(again.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(values=VALUES)
def test_values_are_restored_up_to_rounding(dtype: type, values: NDArray[np.float32]) -> None:
    values = values.astype(dtype)
    stats = RunningStats.of(values)
    again = there_and_back(Normalize({"volume_velocity": stats}), "volume_velocity", values)
    allowed = ROUNDINGS * np.finfo(dtype).eps * (np.abs(values) + np.abs(stats.mean))
    assert (np.abs(again - values) <= allowed).all()


@given(VALUES)
def test_log_scale_values_are_restored_up_to_rounding(values: NDArray[np.float32]) -> None:
    stats = RunningStats.of(values)
    normalize = Normalize({"volume_vorticity": stats}, log_scale=["volume_vorticity"])
    again = there_and_back(normalize, "volume_vorticity", values)
    logs = np.log1p(np.abs(values.astype(np.float64)))
    allowed = ROUNDINGS * np.finfo(np.float32).eps * (logs + np.abs(stats.logmean)) * (1 + np.abs(values))
    assert (np.abs(again - values) <= 2 * allowed).all()


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=FLOATS),
    st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 1000.0)]),
)
def test_positions_fill_their_range_and_come_back(values: NDArray[np.float32], to: tuple[float, float]) -> None:
    stats = RunningStats.of(values)
    normalize = Normalize({"volume_position": stats}, position_range=to)
    normal = normalize({"volume_position": torch.from_numpy(values)})["volume_position"].numpy()
    slack = ROUNDINGS * np.finfo(np.float32).eps * (to[1] - to[0])
    largest = np.abs(values).max(axis=0)
    # An axis of one value has the scale 1.
    largest[np.ptp(values, axis=0) == 0] += 1
    assert (normal >= to[0] - slack).all()
    assert (normal <= to[1] + slack).all()
    again = there_and_back(normalize, "volume_position", values)
    # A value that becomes -1 is the difference of two numbers of that size.
    assert (np.abs(again - values) <= 4 * ROUNDINGS * np.finfo(np.float32).eps * largest).all()
