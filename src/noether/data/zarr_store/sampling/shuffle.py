"""The shuffle of a domain: seed derivation and permutation. Pure.

The algorithms belong to the format: the same seed, sample id and domain always produce the same order.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import HashKey, hash_order

__all__ = ["SHUFFLE_ALGORITHM", "SHUFFLE_ALGORITHMS", "hash_key", "permutation"]

SHUFFLE_ALGORITHM = "hash-v1"
"""The shuffle algorithm of new stores."""

_TWISTER = "mt19937-v1"
SHUFFLE_ALGORITHMS = (SHUFFLE_ALGORITHM, _TWISTER)
"""The shuffle algorithms that this release knows."""


def permutation(
    n_points: int, *, algorithm: str, shuffle_seed: int, sample_id: str, domain: str, threads: int = 1
) -> NDArray[np.int64]:
    """Return the shuffle of one domain of one sample.

    Parameters
    ----------
    n_points : int
        Number of points of the domain.
    algorithm : str
        One of `SHUFFLE_ALGORITHMS`.
    shuffle_seed : int
        Seed of the store.
    sample_id, domain : str
        Id of the sample, and name of the domain.
    threads : int
        Number of threads that sort; the order does not depend on it.

    Returns
    -------
    ndarray of int64, shape (n_points,)
        Stored row ``i`` is source row ``permutation[i]``.

    Notes
    -----
    The key is the SHA-256 of ``"{shuffle_seed}:{sample_id}:{domain}"``. ``hash-v1`` sorts the rows by their hashes; the
    first 16 bytes of the key, as two little-endian uint64, are the keys of the hash. ``mt19937-v1`` seeds
    `numpy.random.RandomState` with the key as eight little-endian uint32. NumPy guarantees that the stream of this
    generator never changes (NEP 19), unlike the streams of its newer generators.
    """
    key = _digest(shuffle_seed, sample_id, domain)
    if algorithm == _TWISTER:
        twister = np.random.RandomState(np.frombuffer(key, "<u4"))
        return twister.permutation(n_points).astype(np.int64, copy=False)
    if algorithm != SHUFFLE_ALGORITHM:
        raise ValueError(f"algorithm: expected one of {', '.join(SHUFFLE_ALGORITHMS)}, got {algorithm!r}")
    return hash_order(n_points, hash_key(shuffle_seed, sample_id, domain), threads)


def hash_key(shuffle_seed: int, sample_id: str, domain: str) -> HashKey:
    """Return the key of the hash by which ``hash-v1`` sorts; see `permutation`."""
    first, second = struct.unpack_from("<QQ", _digest(shuffle_seed, sample_id, domain))
    return first, second


def _digest(shuffle_seed: int, sample_id: str, domain: str) -> bytes:
    return hashlib.sha256(f"{shuffle_seed}:{sample_id}:{domain}".encode()).digest()
