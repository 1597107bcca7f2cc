"""The loss of casts, and casts that are refused."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store.errors import NonFiniteError, ValueOverflowError
from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from noether.data.zarr_store.writing.cast_loss import CastCheck, CastMeter, NonFinite, measure_cast
from support.ahmed import Arrays

# Several blocks of the size in which values are measured.
MANY_ROWS = 1_000_000


def check(dtype: str, non_finite: NonFinite = "raise") -> CastCheck:
    return CastCheck("run_1", "surface_pressure", dtype, non_finite)


def column(*values: float, dtype: str = "float32") -> NDArray[Any]:
    return np.array(values, dtype)[:, np.newaxis]


@pytest.mark.parametrize(
    ("source", "target"),
    [("float16", "float16"), ("float32", "float32"), ("float32", "float64"), ("int16", "float32"), (">f4", "float32")],
)
def test_a_cast_that_keeps_every_value_loses_nothing(source: str, target: str) -> None:
    assert measure_cast(column(1, -7, 0, dtype=source), check(target)) == FieldFidelity(
        np.dtype(source).name, non_finite=0
    )


def test_loss_has_the_largest_absolute_and_relative_error() -> None:
    # float16 has 11 bits: 2049 is stored as 2048, and 1 + 2**-11 as 1.
    measured = measure_cast(column(2049, 1 + 2**-11, 0.5, 0), check("float16"))
    assert measured == FieldFidelity("float32", 1.0, 2**-11 / (1 + 2**-11), 0, 0)


def test_values_flushed_to_zero_are_counted() -> None:
    # The smallest float16 is 2**-24; half of it and less rounds to zero.
    measured = measure_cast(column(2**-25, -(2**-26), 0, -0.0, 2**-24), check("float16"))
    assert measured == FieldFidelity("float32", 2**-25, 0.0, 2, 0)


def test_float64_to_float32_is_measured() -> None:
    assert measure_cast(column(1 + 2**-30, dtype="float64"), check("float32")).max_abs_error == 2**-30


@pytest.mark.parametrize(
    ("value", "dtype", "target", "lost"),
    [
        pytest.param(2**24 + 1, "int32", "float32", 1, id="int32-to-float32"),
        pytest.param(2049, "uint16", "float16", 1, id="uint16-to-float16"),
        pytest.param(-(2**53) + 1, "int64", "float32", 1, id="int64-to-float32"),
        pytest.param(2**53 + 2, "uint64", "float32", 2, id="uint64-to-float32"),
    ],
)
def test_integers_that_the_dtype_rounds_are_measured(value: int, dtype: str, target: str, lost: int) -> None:
    measured = measure_cast(column(value, dtype=dtype), check(target))
    assert (measured.source_dtype, measured.max_abs_error) == (dtype, lost)


@pytest.mark.parametrize(
    ("value", "dtype"), [(2**53 + 1, "int64"), (-(2**63) + 1, "int64"), (2**64 - 1, "uint64")], ids=str
)
@pytest.mark.parametrize("target", ["float32", "float64"])
def test_large_integer_counts_as_the_nearest_float64(value: int, dtype: str, target: str) -> None:
    """float64 cannot hold the integer."""
    nearest = float(value)
    measured = measure_cast(column(value, dtype=dtype), check(target))
    assert measured.max_abs_error == abs(float(np.dtype(target).type(nearest)) - nearest)


def test_real_fields_lose_at_most_half_a_unit(run_1: Arrays) -> None:
    """Half a unit in the last place."""
    velocity = run_1["volume_velocity"]
    measured = measure_cast(velocity, check("float16"))
    normal = np.abs(velocity) >= np.finfo("float16").smallest_normal
    relative = np.abs(velocity.astype("float16")[normal].astype(float) - velocity[normal]) / np.abs(velocity[normal])
    assert 0 < relative.max() <= measured.max_rel_error
    assert relative.max() <= 2**-11


def test_the_largest_value_that_rounds_into_the_dtype_is_stored() -> None:
    assert measure_cast(column(65519.0, -65519.0), check("float16")).max_abs_error == 15.0


@pytest.mark.parametrize("value", [65520.0, -65520.0])
def test_the_first_value_that_rounds_to_infinity_is_refused(value: float) -> None:
    with pytest.raises(ValueOverflowError):
        measure_cast(column(1, value), check("float16"))


@pytest.mark.parametrize(
    ("values", "target", "peak", "limit", "wider"),
    [
        pytest.param(column(1e6, -2e6), "float16", "2e+06", "65504", "float32", id="float32-to-float16"),
        pytest.param(column(1e6, 1e39, dtype="float64"), "float16", "1e+39", "65504", "float64", id="needs-float64"),
        pytest.param(column(1e39, dtype="float64"), "float32", "1e+39", "3.40282e+38", "float64", id="to-float32"),
        pytest.param(column(70_000, dtype="int32"), "float16", "70000", "65504", "float32", id="integers"),
        pytest.param(column(-128, -(2**63), dtype="int64"), "float16", "9.22337e+18", "65504", "float32", id="int64"),
    ],
)
def test_overflow_is_refused_with_the_magnitude_the_limit_and_a_dtype_that_fits(
    values: NDArray[Any], target: str, peak: str, limit: str, wider: str
) -> None:
    """The error has the largest magnitude of the field, the limit, and a dtype that fits."""
    message = (
        f"sample 'run_1', field surface_pressure: the largest magnitude {peak} does not fit {target}, "
        f"whose limit is {limit}; store the field in a wider dtype: field_dtypes={{'surface_pressure': '{wider}'}}"
    )
    with pytest.raises(ValueOverflowError, match="^" + re.escape(message)):
        measure_cast(values, check(target))


@pytest.mark.parametrize("non_finite", ["raise", "allow"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_overflow_takes_precedence_over_non_finite_values(hole: float, non_finite: NonFinite) -> None:
    with pytest.raises(ValueOverflowError, match="magnitude 100000 does not fit"):
        measure_cast(column(hole, 1e5, hole), check("float16", non_finite))


@pytest.mark.parametrize("row", [0, MANY_ROWS // 2, MANY_ROWS - 1])
def test_overflow_is_refused_in_any_row(row: int) -> None:
    values = np.zeros((MANY_ROWS, 1), "float32")
    values[row] = 7e4
    with pytest.raises(ValueOverflowError, match="magnitude 70000 does not fit"):
        measure_cast(values, check("float16"))


@pytest.mark.parametrize("target", ["float16", "float32", "float64"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused_with_count_and_first_row(hole: float, target: str) -> None:
    values = np.zeros((MANY_ROWS, 3), "float32")
    values[700_001, 2] = values[700_001, 0] = values[-1, 1] = hole
    message = (
        r"^sample 'run_1', field surface_pressure: expected finite values, got 3 of 3,000,000 that are NaN or "
        r'infinite, the first in row 700,001; .*non_finite="allow"'
    )
    with pytest.raises(NonFiniteError, match=message):
        measure_cast(values, check(target))


@pytest.mark.parametrize("holes", ["before", "after"])
def test_overflow_in_any_block_takes_precedence(holes: str) -> None:
    """An overflow in one block is reported before NaN in another. The error has the peak of all blocks."""
    blocks = [(0, column(np.nan, 1)), (2, column(1e5, 7)), (4, column(-2e5, np.inf))]
    meter = CastMeter(check("float16"), np.dtype("float32"))
    for first_row, block in blocks if holes == "before" else reversed(blocks):
        meter.add(block, first_row)
    with pytest.raises(ValueOverflowError, match=r"magnitude 200000 does not fit float16"):
        meter.result()


def test_first_non_finite_row_is_named_for_any_block_order() -> None:
    meter = CastMeter(check("float16"), np.dtype("float32"))
    for first_row in (100, 10, 50):
        meter.add(column(0, 0, np.nan), first_row)
    with pytest.raises(NonFiniteError, match=r"got 3 of 9 that are NaN or infinite, the first in row 12;"):
        meter.result()


def test_meter_is_thread_safe(run_1: Arrays) -> None:
    velocity = np.tile(run_1["volume_velocity"], (40, 1))
    with ThreadPoolExecutor(8) as pool:
        assert measure_cast(velocity, check("float16"), pool.map) == measure_cast(velocity, check("float16"))


def test_allowed_non_finite_values_are_counted() -> None:
    """They do not count as loss."""
    values = column(np.nan, np.inf, -np.inf, 2049)
    assert measure_cast(values, check("float16", "allow")) == FieldFidelity("float32", 1.0, 1 / 2049, 0, 3)


def test_field_of_allowed_nan_has_no_loss() -> None:
    """The field has no finite value, and ``non_finite="allow"``."""
    assert measure_cast(column(np.nan, np.inf), check("float16", "allow")) == FieldFidelity("float32", non_finite=2)
