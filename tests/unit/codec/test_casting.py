"""Casts of values that are read match NumPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.zarr_store.codec.casting import cast_into

FLOATS = ("float16", "float32", "float64")
BITS = {"float16": "uint16", "float32": "uint32", "float64": "uint64"}
EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
# Processors turn a signalling NaN into a quiet NaN, but NumPy's float16 code does not. Only that bit can differ.
QUIET_FLOAT32 = np.uint32(1 << 22)


@pytest.fixture(params=["with torch", "without torch"])
def with_or_without_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "with torch":
        monkeypatch.setitem(sys.modules, "torch", torch)
    else:
        monkeypatch.delitem(sys.modules, "torch")


@pytest.mark.usefixtures("with_or_without_torch")
@pytest.mark.parametrize("width", [1, 4])
def test_every_float16_widens_as_in_numpy(width: int) -> None:
    rows = EVERY_FLOAT16.reshape(-1, width)
    out = np.empty(rows.shape, np.float32)
    cast_into(out, rows)
    given_bits, expected = out.view(np.uint32), rows.astype(np.float32)
    expected_bits = expected.view(np.uint32)
    quiet = np.where(np.isnan(expected), QUIET_FLOAT32, np.uint32(0))
    np.testing.assert_array_equal(given_bits | quiet, expected_bits | quiet)
    was_quiet = (expected_bits & quiet) == quiet
    np.testing.assert_array_equal(given_bits[was_quiet], expected_bits[was_quiet])


@pytest.mark.usefixtures("with_or_without_torch")
@pytest.mark.parametrize("n_rows", [0, 1, 16_383, 16_384, 16_385, 40_001], ids=str)
def test_cast_writes_only_the_passed_rows(n_rows: int) -> None:
    rows = np.resize(EVERY_FLOAT16[:31_000], (n_rows, 3))
    around = np.full((n_rows + 2, 3), -7.5, np.float32)
    cast_into(around[1 : 1 + n_rows], rows)
    np.testing.assert_array_equal(around[1:-1], rows.astype(np.float32))
    assert (around[[0, -1]] == -7.5).all()


def random_bits(dtype: str, n_values: int) -> NDArray[Any]:
    """Values of every magnitude, infinity and NaN, including signalling NaN."""
    rng = np.random.default_rng(5)
    values = np.frombuffer(rng.bytes(n_values * np.dtype(dtype).itemsize), dtype).copy()
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal]
    values[: len(special)] = special
    values[len(special)] = -values[0]
    values.view(BITS[dtype])[len(special) + 1] = np.array(np.inf, dtype).view(BITS[dtype]) + 1
    return values


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_all_float_casts_match_numpy(source: str, target: str) -> None:
    rows = random_bits(source, 30_000)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = rows.astype(target)
        rows = rows[np.isfinite(expected) | ~np.isfinite(rows)].reshape(-1, 1)
        expected = rows.astype(target)
    out = np.empty(rows.shape, target)
    cast_into(out, rows)
    if (source, target) == ("float16", "float32"):  # the test above is on its bits
        np.testing.assert_array_equal(out, expected)
    else:
        np.testing.assert_array_equal(out.view(BITS[target]), expected.view(BITS[target]))


def test_overflow_becomes_infinite_with_a_warning() -> None:
    out = np.empty((1, 1), np.float32)
    with pytest.warns(RuntimeWarning, match="overflow encountered in cast"):
        cast_into(out, np.array([[1e300]]))
    assert np.isposinf(out).all()
