"""Distance of positions to a surface, not negative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import default_threads
from noether.data.zarr_store.errors import MissingDependencyError

__all__ = ["distance_to_positions", "distance_to_triangles"]

Floats = NDArray[np.floating[Any]]

# Positions at a time.
_BLOCK_POSITIONS = 1 << 16
_MEASURED_POSITIONS = 1 << 12
# Triangles that are measured for each position.
_CANDIDATES = 16
# How far the seeds of a triangle lie from its corners, on the way to its centroid.
_INSET = 0.1


def distance_to_positions(positions: Floats, targets: Floats) -> Floats:
    """Return the distance of each position to the nearest of the targets, found in a KD-tree.

    It exceeds the distance to a surface that the targets lie on: at a height `d` above a plane, and `h` beside the
    nearest target, it is ``sqrt(d**2 + h**2)``.

    Parameters
    ----------
    positions : ndarray, shape (n_points, 3)
        Finite.
    targets : ndarray, shape (n_targets, 3)
        Finite.

    Raises
    ------
    MissingDependencyError
        SciPy is not installed.
    """
    distances = _empty_for(positions)
    for rows, nearest, _ in _nearest(positions, targets, 1):
        distances[rows] = nearest[:, 0]
    return distances


def distance_to_triangles(positions: Floats, corners: Floats) -> Floats:
    """Return the distance of each position to the nearest point of any triangle.

    A KD-tree of four seeds in each triangle, its centroid and one near each corner, finds the 16 nearest; the
    distance to their triangles is exact. So it is exact unless the nearest triangle is none of those, which takes
    triangles of very different sizes side by side.

    Parameters
    ----------
    positions : ndarray, shape (n_points, 3)
        Finite.
    corners : ndarray, shape (n_triangles, 3, 3)
        Finite.

    Raises
    ------
    MissingDependencyError
        SciPy is not installed.
    """
    # Far from the origin, seeds in float32 would lie beside their triangles.
    centroids = corners.mean(axis=1, keepdims=True, dtype=np.float64)
    seeds = np.concatenate([centroids, corners + _INSET * (centroids - corners)], axis=1)
    n_seeds = seeds.shape[1]
    distances = _empty_for(positions)
    for rows, _, found in _nearest(positions, seeds.reshape(-1, 3), min(_CANDIDATES, n_seeds * len(corners))):
        for start in range(0, len(found), _MEASURED_POSITIONS):
            some = found[start : start + _MEASURED_POSITIONS] // n_seeds
            here = slice(rows.start + start, rows.start + start + len(some))
            distances[here] = _to_triangles(positions[here].astype(np.float64), corners[some]).min(axis=1)
    return distances


def _empty_for(positions: Floats) -> Floats:
    # A distance has no more digits than the positions that it is measured from.
    return np.empty(len(positions), np.result_type(positions.dtype, np.float32))


def _nearest(
    positions: Floats, targets: Floats, count: int
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.int64]]]:
    """Yield distances and numbers of the nearest targets, shape ``(n, count)``, for a block of positions at a time."""
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise MissingDependencyError("scipy", "computing distances", "mesh") from error
    # Ten times as fast as the tree that SciPy builds otherwise, for positions far from a surface.
    tree = KDTree(targets, balanced_tree=False, compact_nodes=False)
    for start in range(0, len(positions), _BLOCK_POSITIONS):
        rows = slice(start, min(start + _BLOCK_POSITIONS, len(positions)))
        yield rows, *tree.query(positions[rows], k=range(1, count + 1), workers=default_threads())


def _to_triangles(positions: Floats, corners: Floats) -> Floats:
    """Return the distance of each position to each of its triangles.

    Where a position's projection onto the plane lies in the triangle, it is the distance to the plane; elsewhere that
    to the nearest edge.

    Parameters
    ----------
    positions : ndarray, shape (n, 3)
    corners : ndarray, shape (n, n_triangles, 3, 3)
    """
    a, b, c = np.moveaxis(corners - positions[:, None, None], 2, 0)
    normal = np.cross(b - a, c - a)
    square = _dot(normal, normal)
    # Barycentric coordinates of the projection, times `square`.
    first, second, third = _dot(np.cross(b, c), normal), _dot(np.cross(c, a), normal), _dot(np.cross(a, b), normal)
    inside = (first >= 0) & (second >= 0) & (third >= 0) & (square > 0)
    to_plane = _dot(a, normal) ** 2 / np.where(square > 0, square, 1)
    to_edges = np.minimum(np.minimum(_to_edge(a, b), _to_edge(b, c)), _to_edge(c, a))
    return np.sqrt(np.where(inside, to_plane, to_edges))


def _to_edge(start: Floats, end: Floats) -> Floats:
    """Return the squared distance of the origin to edges."""
    edge = end - start
    square = _dot(edge, edge)
    along = np.clip(-_dot(start, edge) / np.where(square > 0, square, 1), 0, 1)
    nearest = start + along[..., None] * edge
    return _dot(nearest, nearest)


def _dot(one: Floats, other: Floats) -> Floats:
    product: Floats = np.einsum("...i,...i->...", one, other)
    return product
