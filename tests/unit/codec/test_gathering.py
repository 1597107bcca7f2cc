"""Rows in another order and dtype: the same bits from the compiled module as from NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.casting import gather

EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def around_every_float16() -> NDArray[np.float32]:
    """Each finite float16, what lies halfway to the next, and the float32 on both sides of these."""
    ordered = np.sort(EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)].astype(np.float32))
    halfway = (ordered[1:] + ordered[:-1]) / 2
    extremes = np.array([65_520, -65_520, 1e-30, -1e-30, 3e38, np.inf, -np.inf], np.float32)
    exact = np.concatenate([ordered, halfway, extremes])
    return np.concatenate([exact, np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))])


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("width", [1, 3, 7, 2048, 2049])
def test_float32_are_rounded_to_float16_as_by_numpy(width: int) -> None:
    source = around_every_float16()
    values = np.resize(source, (-(-len(source) // width), width))
    order = np.random.default_rng(0).permutation(len(values))
    with np.errstate(over="ignore"):
        expected = values[order].astype(np.float16)
    found = gather(values, order, np.dtype(np.float16))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FA00000, 0xFFFFFFFF], ids=hex)
def test_nans_are_those_of_numpy(bits: int) -> None:
    values = np.array([0x3F800000, bits, 0x40000000], np.uint32).view(np.float32).reshape(-1, 1)
    with np.errstate(invalid="ignore"):
        expected = values.astype(np.float16)
    assert gather(values, np.arange(3), np.dtype(np.float16)).tobytes() == expected.tobytes()


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as it is": lambda values: values,
    "columns": np.asfortranarray,
    "every second row": lambda values: np.repeat(values, 2, axis=0)[::2],
    "backwards": lambda values: values[::-1].copy()[::-1],
    "big endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
}


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
@pytest.mark.parametrize("source", ["float16", "float32", "float64", "int64"])
def test_values_may_lie_in_any_way(source: str, stored: str, layout: str) -> None:
    values = (np.random.default_rng(1).normal(size=(500, 3)) * 100).astype(source)
    order = np.random.default_rng(2).integers(0, 500, 321)
    found = gather(LAYOUTS[layout](values), order, np.dtype(stored))
    assert found.dtype == stored
    assert found.flags.c_contiguous
    assert found.tobytes() == values[order].astype(stored).tobytes()


@pytest.mark.usefixtures("compiled")
@given(st.data())
def test_the_compiled_module_takes_what_fits_and_refuses_all_else(data: st.DataObject) -> None:
    draw: Any = data.draw
    values = draw(arrays(np.uint8, st.integers(0, 60)))
    order = draw(arrays(np.int64, st.integers(0, 8), elements=st.integers(-2, 20)))
    out = np.empty(draw(st.integers(0, 60)), np.uint8)
    row_bytes, narrow = draw(st.integers(-1, 13) | st.sampled_from([2**40, 2**62])), draw(st.booleans())
    fits = (
        row_bytes > 0
        and (row_bytes % 4 == 0 or not narrow)
        and len(values) % row_bytes == 0
        and len(out) * (2 if narrow else 1) == len(order) * row_bytes
        and (row_bytes <= 2048 * 4 or not narrow)
    )
    assert native.gather is not None
    if not fits:
        with pytest.raises(ValueError, match=r"^out: expected room"):
            native.gather(values, order, out, row_bytes=row_bytes, narrow=narrow)
    elif len(order) and not (order.min() >= 0 and order.max() < len(values) // row_bytes):
        with pytest.raises(IndexError):
            native.gather(values, order, out, row_bytes=row_bytes, narrow=narrow)
    elif native.gather(values, order, out, row_bytes=row_bytes, narrow=narrow) and not narrow:
        assert out.tobytes() == values.reshape(-1, row_bytes)[order].tobytes()


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_values_and_order_may_lie_at_any_address(stored: str) -> None:
    memory = np.zeros(1 + 300 * 12 + 1 + 99 * 8, np.uint8)
    values = memory[1 : 1 + 300 * 12].view("f4").reshape(300, 3)
    order = memory[-99 * 8 :].view("i8")
    assert not values.flags.aligned
    assert not order.flags.aligned
    values[:] = np.random.default_rng(1).normal(size=(300, 3))
    order[:] = np.random.default_rng(2).integers(0, 300, 99)
    found = gather(values, order, np.dtype(stored))
    assert found.tobytes() == values[order].astype(stored).tobytes()
