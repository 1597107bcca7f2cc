"""Casts on the way to the caller, and on the way into a store. Pure."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native

__all__ = ["cast_into", "gather"]

# The float32 of every float16, by its bits: looking values up takes half the time of NumPy's cast.
with np.errstate(invalid="ignore"):  # some processors warn of a signalling NaN
    _FLOAT32_OF_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)

# PyTorch is ten times faster than that. For 32,768 values and more, it would start OpenMP threads, which hang in a
# process that was forked after its parent had started such threads.
_TORCH_VALUES = 1 << 15

# Widest row that the compiled module casts (`gather.h`).
_MAX_NATIVE_WIDTH = 2048


def gather(values: NDArray[Any], order: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in another order, cast.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        Any integer or floating dtype.
    order : ndarray of int64, shape (n,)
        Row ``i`` of the result is row ``order[i]``.
    dtype : numpy.dtype
        Floating dtype of the result.

    Returns
    -------
    ndarray, shape (n, width)
        In C order. A value beyond the range of `dtype` becomes infinite.

    Warns
    -----
    RuntimeWarning
        The compiled module is missing (once per process).
    """
    rows = _gather_in_one_step(values, order, dtype)
    if rows is not None:
        return rows
    with np.errstate(over="ignore", invalid="ignore"):  # some processors warn of a signalling NaN
        return values.take(order, axis=0).astype(dtype, order="C", copy=False)


def _gather_in_one_step(values: NDArray[Any], order: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Gather and cast in one pass; prefetching makes it 2 to 3 times as fast. Return None if that is not possible."""
    narrow = values.dtype == np.float32 and dtype == np.float16 and values.shape[1] <= _MAX_NATIVE_WIDTH
    if not (narrow or values.dtype == dtype) or not (values.flags.c_contiguous and order.flags.c_contiguous):
        return None
    if native.gather is None:
        native.warn_of_slow_path()
        return None
    rows = np.empty((len(order), values.shape[1]), dtype)
    row_bytes = values.itemsize * values.shape[1]
    return rows if native.gather(values, order, rows, row_bytes=row_bytes, narrow=narrow) else None


def cast_into(out: NDArray[Any], rows: NDArray[Any]) -> None:
    """Copy `rows` to `out`, which has the same shape and any floating dtype. Both are contiguous."""
    if rows.dtype != np.float16 or out.dtype != np.float32:
        with np.errstate(invalid="ignore"):
            out[...] = rows
        return
    torch: Any = sys.modules.get("torch")  # used if the caller has loaded it; a cast is not worth loading it
    if not hasattr(torch, "from_numpy"):
        np.take(_FLOAT32_OF_FLOAT16, rows.view(np.uint16), out=out, mode="clip")
    elif rows.size <= _TORCH_VALUES:
        torch.from_numpy(out).copy_(torch.from_numpy(rows))
    else:
        half = len(rows) // 2
        cast_into(out[:half], rows[:half])
        cast_into(out[half:], rows[half:])
