"""Casts of values that are read and of values that are written. Pure."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native

__all__ = ["CastLoss", "cast_into", "gather", "is_cast_natively", "measure_loss"]

# Maximum number of values of a row that the compiled module casts; `gather.h` repeats the number.
_MAX_NARROWED_WIDTH = 2048
# Casts that the compiled module supports.
_NARROWED = [(np.dtype(np.float32), np.dtype(np.float16)), (np.dtype(np.float64), np.dtype(np.float32))]

# The float32 of every float16, by its bits. A lookup in this table takes half the time of NumPy's cast.
with np.errstate(invalid="ignore"):  # some processors report a signalling NaN
    _FLOAT32_OF_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)

# PyTorch is ten times as fast as that table. With more values than this, it starts OpenMP threads. These hang in a
# process that was forked after its parent started OpenMP threads.
_TORCH_VALUES = 1 << 15


def gather(values: NDArray[Any], order: NDArray[np.int64] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in another order and dtype.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        Any integer or floating dtype.
    order : ndarray of int64, shape (n,), or None
        Row ``i`` of the result is row ``order[i]`` of `values`; None keeps the order.
    dtype : numpy.dtype
        Floating dtype of the result.

    Returns
    -------
    ndarray, shape (n, width)
        In C order. A value beyond the range of `dtype` becomes infinite.
    """
    rows = values if order is None else values.take(order, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # some processors report a signalling NaN
        return rows.astype(dtype, order="C", copy=False)


def is_cast_natively(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the compiled module can cast these values to `dtype`, or need not cast them."""
    is_narrowed = _is_narrowed(values.dtype, dtype) and values.shape[1] <= _MAX_NARROWED_WIDTH
    return (is_narrowed or values.dtype == dtype) and values.flags.c_contiguous


class CastLoss(NamedTuple):
    """The loss of a cast.

    Attributes
    ----------
    peak : float
        The largest magnitude of the values.
    max_abs, max_rel : float
        The largest absolute and relative error. Values that are stored as zero have no relative error.
    n_flushed : int
        Number of values that are not zero but are stored as zero.
    """

    peak: float
    max_abs: float
    max_rel: float
    n_flushed: int


def measure_loss(values: NDArray[Any], dtype: np.dtype[Any]) -> CastLoss | None:
    """Measure the loss of a cast to `dtype` with the compiled module.

    Returns
    -------
    CastLoss or None
        None if a value is not finite before or after the cast, or the compiled module is missing or does not support
        this cast.
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
    """Copy `rows` to `out`, which has the same shape and any floating dtype. Both must be contiguous."""
    if rows.dtype != np.float16 or out.dtype != np.float32:
        with np.errstate(invalid="ignore"):
            out[...] = rows
        return
    torch: Any = sys.modules.get("torch")  # only if the caller has imported it: the import takes long
    if not hasattr(torch, "from_numpy"):
        np.take(_FLOAT32_OF_FLOAT16, rows.view(np.uint16), out=out, mode="clip")
    elif rows.size <= _TORCH_VALUES:
        torch.from_numpy(out).copy_(torch.from_numpy(rows))
    else:
        half = len(rows) // 2
        cast_into(out[:half], rows[:half])
        cast_into(out[half:], rows[half:])
