"""The order of row numbers by their keyed hashes. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native

__all__ = ["hash_order"]

# `hash_order.h` has these numbers too.
_MAX_NATIVE_ROWS = (1 << 32) - 1
_MAX_THREADS = 64
# Rows whose hashes are computed at once.
_BLOCK_ROWS = 1 << 16


def hash_order(n_rows: int, first_key: int, second_key: int, threads: int = 1) -> NDArray[np.int64]:
    """Return row numbers in ascending order of their hashes.

    Parameters
    ----------
    n_rows : int
        How many rows.
    first_key, second_key : int
        The key of the hash, 0 to 2**64 - 1 each.
    threads : int
        Threads that sort.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        The numbers 0 to `n_rows` - 1. Without the compiled module it takes two such arrays to make it.

    Warns
    -----
    RuntimeWarning
        The compiled module is missing (once per process).

    Notes
    -----
    The hash of row ``i`` is ``mix(mix(i + first_key) ^ second_key)``, modulo 2**64. ``mix`` is the finalizer of
    MurmurHash3 for 64 bits (https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp), a bijection: no two
    rows have the same hash.
    """
    if native.hash_order is None:
        native.warn_of_slow_path()
    elif n_rows <= _MAX_NATIVE_ROWS:
        order = np.empty(n_rows, np.int64)
        native.hash_order(order, first_key=first_key, second_key=second_key, threads=min(threads, _MAX_THREADS))
        return order
    hashes = np.arange(n_rows, dtype=np.uint64)
    for first in range(0, n_rows, _BLOCK_ROWS):
        rows = hashes[first : first + _BLOCK_ROWS]
        rows += np.uint64(first_key)
        _mix(rows)
        rows ^= np.uint64(second_key)
        _mix(rows)
    return hashes.argsort().astype(np.int64, copy=False)


def _mix(hashes: NDArray[np.uint64]) -> None:
    """Apply the finalizer in place."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
