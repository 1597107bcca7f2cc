"""The shuffle of a domain: seed derivation, permutation and its inverse. Pure.

The algorithm is part of the format: the same seed, sample id and domain give the same order for good.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHUFFLE_ALGORITHM", "invert", "permutation"]

SHUFFLE_ALGORITHM = "mt19937-v1"


def permutation(n_points: int, *, shuffle_seed: int, sample_id: str, domain: str) -> NDArray[np.int64]:
    """Return the shuffle of one domain of one sample.

    Parameters
    ----------
    n_points : int
        Points of the domain.
    shuffle_seed : int
        Seed of the store.
    sample_id, domain : str
        What is shuffled.

    Returns
    -------
    ndarray of int64, shape (n_points,)
        Stored row ``i`` is source row ``permutation[i]``.

    Notes
    -----
    The key is the SHA-256 of ``"{shuffle_seed}:{sample_id}:{domain}"`` as eight little-endian uint32. NumPy
    has frozen the stream of `numpy.random.RandomState` for good (NEP 19), unlike that of its newer generators.
    """
    digest = hashlib.sha256(f"{shuffle_seed}:{sample_id}:{domain}".encode()).digest()
    key = np.frombuffer(digest, dtype="<u4")
    return np.random.RandomState(key).permutation(n_points).astype(np.int64, copy=False)


def invert(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the inverse of a permutation: ``invert(p)[p] == arange(len(p))``."""
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order), dtype=order.dtype)
    return inverse
