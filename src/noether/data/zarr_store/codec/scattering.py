"""Rows grouped by bucket. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.casting import gather, is_cast_natively

__all__ = ["MAX_BUCKETS", "scatter"]

MAX_BUCKETS = 1 << 12
"""Maximum number of buckets of `scatter`; `scatter.h` repeats the number."""


def scatter(
    values: NDArray[Any], buckets: NDArray[np.uint16], n_buckets: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Cast rows, and group them by bucket.

    Parameters
    ----------
    values : ndarray, shape (n, width)
        Any integer or floating dtype.
    buckets : ndarray of uint16, shape (n,)
        The bucket of each row.
    n_buckets : int
        Number of buckets, at most `MAX_BUCKETS`.
    dtype : numpy.dtype
        Dtype of the result. A value beyond its range becomes infinite.

    Returns
    -------
    ndarray, shape (n, width)
        The rows of bucket 0, then the rows of bucket 1, and so on. The rows of a bucket keep their order.
    ndarray of int64, shape (n_buckets,)
        Number of rows of each bucket.
    """
    if native.scatter is None:
        # NumPy sorts 16-bit numbers ten times as fast as larger ones, because it counts them.
        order = np.argsort(buckets, kind="stable")
        return gather(values, order, dtype), np.bincount(buckets, minlength=n_buckets)
    out, counts = np.empty(values.shape, dtype), np.empty(n_buckets, np.int64)
    if is_cast_natively(values, dtype):
        is_narrowed = values.dtype != dtype
        if native.scatter(values, buckets, out, counts, itemsize=dtype.itemsize, narrow=is_narrowed):
            return out, counts
    # NumPy does all other casts, and all casts of NaN.
    native.scatter(gather(values, None, dtype), buckets, out, counts, itemsize=dtype.itemsize, narrow=False)
    return out, counts
