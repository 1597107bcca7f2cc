"""Casts on the way to the caller, and on the way into a store. Pure."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cast_into", "gather"]

# The float32 of every float16, by its bits: looking values up takes half the time of NumPy's cast.
with np.errstate(invalid="ignore"):  # some processors warn of a signalling NaN
    _FLOAT32_OF_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)

# PyTorch is ten times faster than that. For 32,768 values and more, it would start OpenMP threads, which hang in a
# process that was forked after its parent had started such threads.
_TORCH_VALUES = 1 << 15


def gather(values: NDArray[Any], order: NDArray[np.int64] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in another order, cast.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        Any integer or floating dtype.
    order : ndarray of int64, shape (n,), or None
        Row ``i`` of the result is row ``order[i]``; None where rows keep their order.
    dtype : numpy.dtype
        Floating dtype of the result.

    Returns
    -------
    ndarray, shape (n, width)
        In C order. A value beyond the range of `dtype` becomes infinite.
    """
    rows = values if order is None else values.take(order, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # some processors warn of a signalling NaN
        return rows.astype(dtype, order="C", copy=False)


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
