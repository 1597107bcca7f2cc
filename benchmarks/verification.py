"""Checks that the contenders read the correct values, once each, before timing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import FIELDS, Arrays
from benchmarks.formats import Prepared

__all__ = ["require_draw", "require_equal"]


def require_equal(name: str, found: Arrays, expected: Arrays) -> None:
    """Check that all fields have the expected dtype, shape and values."""
    if found.keys() != expected.keys():
        raise AssertionError(f"{name}: expected the fields {sorted(expected)}, got {sorted(found)}")
    for field, values in expected.items():
        if found[field].dtype != values.dtype or not np.array_equal(found[field], values):
            raise AssertionError(f"{name}: {field} differs from the stored values")


def require_draw(name: str, found: Arrays, prepared: Prepared, num_points: int) -> None:
    """Check that the result has `num_points` different rows of the sample, the same ones in every field."""
    rows = _find_rows(found["volume_position"], prepared)
    if len(rows) != num_points or len(np.unique(rows)) != num_points:
        raise AssertionError(f"{name}: expected {num_points} different points, got {len(np.unique(rows))}")
    require_equal(name, {field: found[field] for field in FIELDS}, prepared.expected(rows))


def _find_rows(positions: NDArray[np.float32], prepared: Prepared) -> NDArray[np.int64]:
    """Return the stored row of each position, found by a hash. Comparing the fields reveals a hash collision."""
    wanted = _hash(positions)
    by_hash = np.argsort(wanted)
    stored = _hash(np.asarray(prepared.shuffled["volume_position"]))
    places = np.searchsorted(wanted, stored, sorter=by_hash).clip(max=len(wanted) - 1)
    hits = np.flatnonzero(wanted[by_hash[places]] == stored)
    rows = np.full(len(wanted), -1, np.int64)
    rows[by_hash[places[hits]]] = hits
    return rows


def _hash(positions: NDArray[np.float32]) -> NDArray[np.uint64]:
    bits = np.ascontiguousarray(positions).view(np.uint32).astype(np.uint64)
    mixed: NDArray[np.uint64] = (bits[:, 0] << np.uint64(32) | bits[:, 1]) ^ bits[:, 2] * np.uint64(0x9E3779B97F4A7C15)
    return mixed
