"""Rows grouped by bucket and cast: the compiled module matches a stable sort with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MAX_BUCKETS, native, scatter

DTYPES = ["float16", "float32", "float64", "int32", ">f4", "uint8"]


def values_of(dtype: str, n_rows: int, width: int, rng: np.random.Generator) -> NDArray[Any]:
    values: NDArray[Any] = rng.normal(size=(n_rows, width)) * 100
    if np.dtype(dtype).kind == "f":
        values[rng.random(values.shape) < 0.01] = rng.choice([np.nan, np.inf, -0.0, 1e38])
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


@pytest.mark.usefixtures("compiled_or_not")
@given(
    st.sampled_from(DTYPES),
    st.sampled_from(["float16", "float32", "float64"]),
    st.integers(0, 3_000),
    st.sampled_from([1, 2, 3, 5, 2048, 2049]),
    st.sampled_from([1, 2, 100, MAX_BUCKETS]),
    st.integers(0, 2**32),
)
def test_scatter_is_a_stable_sort(source: str, stored: str, n_rows: int, width: int, n_buckets: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_rows = n_rows if width < 100 else n_rows // 1_000
    values = values_of(source, n_rows, width, rng)
    buckets = rng.integers(n_buckets, size=n_rows).astype(np.uint16)
    rows, counts = scatter(values, buckets, n_buckets, np.dtype(stored))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values[np.argsort(buckets, kind="stable")].astype(stored)
    assert rows.dtype == expected.dtype
    assert rows.tobytes() == expected.tobytes()
    assert counts.tolist() == np.bincount(buckets, minlength=n_buckets).tolist()


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize(
    "lies", [np.asfortranarray, lambda rows: np.repeat(rows, 2, axis=0)[::2]], ids=["columns", "gaps"]
)
def test_rows_can_have_any_memory_layout(lies: Any) -> None:
    values = np.arange(300, dtype="f4").reshape(100, 3)
    buckets = np.arange(100, dtype=np.uint16) % 7
    rows, _ = scatter(lies(values), buckets, 7, np.dtype("f2"))
    np.testing.assert_array_equal(rows, values[np.argsort(buckets, kind="stable")])


@pytest.mark.usefixtures("compiled")
def test_compiled_module_refuses_wrong_sizes() -> None:
    assert native.scatter is not None
    values, out = np.zeros((4, 3), "f4"), np.zeros((4, 3), "f4")
    buckets, counts = np.array([0, 1, 1, 0], np.uint16), np.empty(2, np.int64)
    for arguments, itemsize, narrow in (
        ((values, np.zeros(5, np.uint16), out, counts), 4, False),
        ((values, buckets, out[:3], counts), 4, False),
        ((values, buckets, out, counts), 2, True),  # `out` is that of values that are not cast
        ((values, buckets, out, counts), 5, False),
        ((values, buckets, out, counts), 0, False),
        ((values, buckets, out, np.empty(MAX_BUCKETS + 1, np.int64)), 4, False),
        ((values, buckets, out, np.empty(17, np.uint8)[1:]), 4, False),
        ((np.zeros((1, 2049), "f4"), buckets[:1], np.zeros((1, 2049), "f2"), counts), 2, True),
        ((np.zeros((4, 0), "f4"), buckets, np.zeros((4, 0), "f2"), counts), 2, True),
        ((np.zeros(7, np.uint8), buckets, out, counts), 4, False),
    ):
        with pytest.raises(ValueError, match="expected whole rows"):
            native.scatter(*arguments, itemsize=itemsize, narrow=narrow)
    with pytest.raises(IndexError, match="expected numbers of buckets"):
        native.scatter(values, np.array([0, 1, 2, 0], np.uint16), out, counts, itemsize=4, narrow=False)
