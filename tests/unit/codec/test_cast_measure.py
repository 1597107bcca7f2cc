"""The loss of a cast, measured by the compiled module, against the definition in float64 with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store.codec import measure_loss, native

pytestmark = pytest.mark.usefixtures("compiled")

CASTS = [("float32", "float16"), ("float64", "float32"), ("float32", "float32"), ("float64", "float64")]


def values_of(source: str, stored: str, n_values: int) -> NDArray[Any]:
    """Values of all magnitudes that fit, zeros of both signs, and values that are flushed to zero."""
    rng = np.random.default_rng(n_values)
    most = np.log10(float(np.finfo(stored).max)) - 0.1
    least = np.log10(float(np.finfo(stored).smallest_subnormal)) - 3
    values: NDArray[Any] = 10.0 ** rng.uniform(max(least, -300), most, n_values) * rng.choice([-1, 1], n_values)
    values[rng.random(n_values) < 0.1] = rng.choice([0.0, -0.0])
    return values.astype(source)


@pytest.mark.parametrize(("source", "stored"), CASTS)
@pytest.mark.parametrize("n_values", [0, 1, 7, 1_023, 1_024, 1_025, 5_000])
def test_loss_matches_its_definition(source: str, stored: str, n_values: int) -> None:
    values = values_of(source, stored, n_values)
    given, kept = values.astype(np.float64), values.astype(stored).astype(np.float64)
    error, is_kept = np.abs(kept - given), kept != 0
    found = measure_loss(values, np.dtype(stored))
    assert found is not None
    assert found.peak == np.abs(given).max(initial=0)
    assert found.max_abs == error.max(initial=0)
    assert found.max_rel == (error[is_kept] / np.abs(given[is_kept])).max(initial=0)
    assert found.n_flushed == np.count_nonzero(~is_kept & (given != 0))


@pytest.mark.parametrize(("source", "stored"), CASTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1_023, 1_024, 2_999])
def test_non_finite_value_is_left_to_numpy(source: str, stored: str, bad: float, place: int) -> None:
    values = np.ones(3_000, source)
    values[place] = bad
    assert measure_loss(values, np.dtype(stored)) is None


@pytest.mark.parametrize(
    ("value", "source", "stored"),
    [(65_520.0, "float32", "float16"), (-65_520.0, "float32", "float16"), (3.5e38, "float64", "float32")],
)
def test_overflowing_value_is_left_to_numpy(value: float, source: str, stored: str) -> None:
    values = np.ones(3_000, source)
    values[2_000] = value
    assert measure_loss(values, np.dtype(stored)) is None
    values[2_000] = np.nextafter(values[2_000], values.dtype.type(0))
    if stored == "float16":  # a float64 beside 3.5e38 is infinite as well
        assert measure_loss(values, np.dtype(stored)) is not None


@pytest.mark.parametrize(
    ("source", "stored"), [("float64", "float16"), ("float16", "float16"), ("int32", "float32"), (">f4", "float16")]
)
def test_other_casts_are_left_to_numpy(source: str, stored: str) -> None:
    assert measure_loss(np.ones(10, source), np.dtype(stored)) is None


def test_values_can_be_unaligned() -> None:
    memory = np.zeros(1 + 4_000, np.uint8)
    values = memory[1:].view("f4")
    values[:] = values_of("float32", "float16", 1_000)
    assert not values.flags.aligned
    assert measure_loss(values, np.dtype("f2")) == measure_loss(values.copy(), np.dtype("f2"))


def test_the_compiled_module_refuses_other_sizes() -> None:
    assert native.measure_loss is not None
    for n_bytes, itemsize, stored in ((8, 2, 2), (8, 4, 1), (8, 8, 2), (6, 4, 2), (8, 4, 8)):
        with pytest.raises(ValueError, match="expected float32 or float64"):
            native.measure_loss(np.zeros(n_bytes, np.uint8), itemsize=itemsize, stored_itemsize=stored)
