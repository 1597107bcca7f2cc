"""Casts on the way to the caller, and on the way into a store. Pure."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native

__all__ = ["CastLoss", "cast_into", "gather", "is_cast_natively", "measure_loss"]

# Widest row that the compiled module casts; `gather.h` has the number too.
_MAX_NARROWED_WIDTH = 2048
# The casts that it does.
_NARROWED = [(np.dtype(np.float32), np.dtype(np.float16)), (np.dtype(np.float64), np.dtype(np.float32))]

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


def is_cast_natively(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the compiled module casts these values, or leaves them as they are."""
    is_narrowed = _is_narrowed(values.dtype, dtype) and values.shape[1] <= _MAX_NARROWED_WIDTH
    return (is_narrowed or values.dtype == dtype) and values.flags.c_contiguous


class CastLoss(NamedTuple):
    """What a cast loses.

    Attributes
    ----------
    peak : float
        The largest magnitude of the values.
    max_abs, max_rel : float
        The largest absolute and relative error; a value that is stored as zero has no relative one.
    n_flushed : int
        Values that are stored as zero and were not.
    """

    peak: float
    max_abs: float
    max_rel: float
    n_flushed: int


def measure_loss(values: NDArray[Any], dtype: np.dtype[Any]) -> CastLoss | None:
    """Measure what storing values as `dtype` loses.

    Returns
    -------
    CastLoss or None
        None where a value is not finite, before or after the cast, and where the compiled module does not do this cast,
        or is missing.
    """
    if native.measure_loss is None or values.dtype.kind != "f" or values.itemsize < np.dtype(np.float32).itemsize:
        return None
    if not (values.flags.c_contiguous and (values.dtype == dtype or _is_narrowed(values.dtype, dtype))):
        return None
    measured = native.measure_loss(values, itemsize=values.itemsize, stored_itemsize=dtype.itemsize)
    return None if measured is None else CastLoss(*measured)


def _is_narrowed(given: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    return (given, dtype) in _NARROWED


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
