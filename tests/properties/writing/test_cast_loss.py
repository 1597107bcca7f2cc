"""The loss of a cast, against a simple computation in float64."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from noether.data.zarr_store.writing import cast_loss
from noether.data.zarr_store.writing.cast_loss import CastCheck, CastMeter, NonFinite, measure_cast

# The largest magnitudes that fit; larger values overflow.
LIMITS = {"float16": 65504.0, "float32": 3e38, "float64": 1e308}
CASTS = [(source, target) for source in ("float16", "float32", "float64") for target in LIMITS]


def check(dtype: str, non_finite: NonFinite = "raise") -> CastCheck:
    return CastCheck("run_1", "volume_velocity", dtype, non_finite)


def values_of(source: str, target: str) -> st.SearchStrategy[NDArray[Any]]:
    """Arrays of a floating dtype that fit another, with many near zero, where values are flushed."""
    width = np.finfo(source).bits
    limit = float(np.dtype(source).type(min(LIMITS[source], LIMITS[target])))
    small = float(np.dtype(source).type(6e-8 if source == "float16" else 1e-7))
    near_zero = st.floats(-small, small, width=width)  # type: ignore[arg-type]  # finfo's bits are 16, 32 or 64
    anywhere = st.floats(-limit, limit, width=width)  # type: ignore[arg-type]  # as above
    shapes = st.tuples(st.integers(1, 20), st.sampled_from([1, 3]))
    return npst.arrays(source, shapes, elements=near_zero | anywhere)


def measured_one_by_one(values: NDArray[Any], dtype: str) -> FieldFidelity:
    """Compute the loss by its definition, value by value, with Python floats."""
    largest, relative, flushed = 0.0, 0.0, 0
    for value in values.ravel():
        given_value, stored = float(value), float(value.astype(dtype))
        largest = max(largest, abs(stored - given_value))
        if stored == 0 and given_value != 0:
            flushed += 1
        elif given_value != 0:
            relative = max(relative, abs(stored - given_value) / abs(given_value))
    return FieldFidelity(values.dtype.name, largest, relative, flushed, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize(("source", "target"), CASTS, ids=lambda name: name)
@given(st.data())
def test_cast_loss_is_the_largest_loss_of_a_value(source: str, target: str, data: st.DataObject) -> None:
    values = data.draw(values_of(source, target))
    assert measure_cast(values, check(target)) == measured_one_by_one(values, target)


@pytest.mark.parametrize("target", ["float32", "float64"])
@given(
    npst.arrays(
        npst.integer_dtypes() | npst.unsigned_integer_dtypes(), st.tuples(st.integers(1, 20), st.sampled_from([1, 3]))
    )
)
def test_the_loss_of_integers_is_that_of_the_nearest_float64(target: str, values: NDArray[Any]) -> None:
    lost = max(abs(float(value.astype(target)) - float(value)) for value in values.ravel())
    assert measure_cast(values, check(target)).max_abs_error == lost


@pytest.mark.parametrize("source", ["float32", "float64"])
@given(st.data(), st.integers(1, 50))
def test_loss_is_independent_of_blocks_and_order(source: str, data: st.DataObject, block_bytes: int) -> None:
    """The values come in any blocks, in any order."""
    values = data.draw(values_of(source, "float16"))
    whole = measure_cast(values, check("float16"))
    with patch.object(cast_loss, "_BLOCK_BYTES", block_bytes):
        assert measure_cast(values, check("float16")) == whole
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(values)))), len(values)})
    meter = CastMeter(check("float16"), values.dtype)
    for start, stop in data.draw(st.permutations(list(pairwise(cuts)))):
        meter.add(values[start:stop], start)
    assert meter.result() == whole


@given(
    values_of("float64", "float16"), st.data(), st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from([*LIMITS])
)
def test_allowed_non_finite_values_do_not_change_the_loss(
    values: NDArray[Any], data: st.DataObject, hole: float, target: str
) -> None:
    holes = data.draw(npst.arrays(bool, values.shape))
    without = measured_one_by_one(values[~holes], target)
    expected = replace(without, non_finite=int(np.count_nonzero(holes)))
    assert measure_cast(np.where(holes, hole, values), check(target, "allow")) == expected
