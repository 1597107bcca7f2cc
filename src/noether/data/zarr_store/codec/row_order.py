"""The order of rows by their keyed hashes, and buckets of rows whose hashes begin with the same bits. Pure.

The hash of row ``i`` is ``mix(mix(i + first) ^ second)``, modulo 2**64, for the key ``(first, second)``. ``mix`` is the
64-bit finalizer of MurmurHash3 (https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp). It is a
bijection, so no two rows have the same hash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native

__all__ = ["HashKey", "hash_buckets", "hash_order", "hash_order_of"]

HashKey = tuple[int, int]
"""The key of the hash: two numbers from 0 to 2**64 - 1."""

# `hash_order.h` repeats these two numbers.
_MAX_NATIVE_ROWS = (1 << 32) - 1
_MAX_THREADS = 64
# Number of rows whose hashes are computed in one step.
_BLOCK_ROWS = 1 << 16
_HASH_BITS = 64


def hash_order(n_rows: int, key: HashKey, threads: int = 1) -> NDArray[np.int64]:
    """Return row numbers in ascending order of their hashes.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    key : tuple of two ints
        The key of the hash.
    threads : int
        Number of threads that sort.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        A permutation of the numbers 0 to `n_rows` - 1. Without the compiled module, the peak memory is that of two such
        arrays.

    Warns
    -----
    RuntimeWarning
        The compiled module is missing (once per process).
    """
    if native.hash_order is None:
        native.warn_of_slow_path()
    elif n_rows <= _MAX_NATIVE_ROWS:
        order, threads = np.empty(n_rows, np.int64), min(threads, _MAX_THREADS)
        native.hash_order(order, rows=None, first_key=key[0], second_key=key[1], same_bits=0, threads=threads)
        return order
    hashes = np.arange(n_rows, dtype=np.uint64)
    _hash(hashes, key)
    return hashes.argsort().astype(np.int64, copy=False)


def hash_order_of(rows: NDArray[np.unsignedinteger], key: HashKey, same_bits: int) -> NDArray[np.int64]:
    """Return the indices that sort some rows by their hashes.

    Parameters
    ----------
    rows : ndarray of an unsigned dtype, shape (n,)
        Row numbers, all different.
    key : tuple of two ints
        The key of the hash.
    same_bits : int
        Number of leading bits, at most 16, that the hashes of all these rows share.

    Returns
    -------
    ndarray of int64, shape (n,)
        Indices into `rows`: a permutation of the numbers 0 to n - 1.
    """
    if native.hash_order is not None and rows.dtype == np.uint32:
        order, rows = np.empty(len(rows), np.int64), np.ascontiguousarray(rows)
        native.hash_order(order, rows=rows, first_key=key[0], second_key=key[1], same_bits=same_bits, threads=1)
        return order
    hashes = rows.astype(np.uint64)
    _hash(hashes, key)
    return hashes.argsort().astype(np.int64, copy=False)


def hash_buckets(first_row: int, n_rows: int, key: HashKey, bits: int) -> NDArray[np.uint16]:
    """Return the leading bits of the hash of each of `n_rows` neighbouring rows.

    Parameters
    ----------
    first_row : int
        Row number of the first row.
    n_rows : int
        Number of rows.
    key : tuple of two ints
        The key of the hash.
    bits : int
        Number of bits, 0 to 16.

    Returns
    -------
    ndarray of uint16, shape (n_rows,)
        The bucket of each row, which is the number that the bits make: 0 to ``2**bits - 1``.
    """
    if native.hash_buckets is not None:
        buckets = np.empty(n_rows, np.uint16)
        native.hash_buckets(buckets, first_row=first_row, first_key=key[0], second_key=key[1], bits=bits)
        return buckets
    hashes = np.arange(first_row, first_row + n_rows, dtype=np.uint64)
    _hash(hashes, key)
    # Two shifts, because one shift by 64 bits would leave a number unchanged.
    return (hashes >> np.uint64(_HASH_BITS - 16) >> np.uint64(16 - bits)).astype(np.uint16)


def _hash(rows: NDArray[np.uint64], key: HashKey) -> None:
    """Replace row numbers with their hashes, in place and in blocks."""
    for first in range(0, len(rows), _BLOCK_ROWS):
        hashes = rows[first : first + _BLOCK_ROWS]
        hashes += np.uint64(key[0])
        _mix(hashes)
        hashes ^= np.uint64(key[1])
        _mix(hashes)


def _mix(hashes: NDArray[np.uint64]) -> None:
    """Apply the finalizer of MurmurHash3, in place."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
