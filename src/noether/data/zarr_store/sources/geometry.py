"""Centres, areas and normals of faces and cells, as finite-volume solvers define them. Pure.

A face is split into triangles around the mean of its points; a cell into pyramids around the mean of its face centres.
This is OpenFOAM's definition (``primitiveMeshFaceCentresAndAreas.C`` and ``primitiveMeshCellCentresAndVols.C``,
v1912). VTK's own filters give other values where faces are not flat: they were seen to miss the solver's cell centres
by up to 48 mm.

The compiled module computes the same, to rounding, in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.core import run_all
from noether.data.zarr_store.sources.cells import Cells, UnsoundCellError, faces, require_sound

__all__ = ["cell_centers", "face_vectors", "outward_sign", "point_vectors"]

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.integer[Any]]

# Cells at a time: what is in flight stays in the processor's cache.
_BLOCK_CELLS = 1 << 14
# A smaller part of the sum of the magnitudes that a volume is the sum of is what rounding has left; so in `fan.h`.
_LEAST_VOLUME = 1e-13


def _fan(points: Floats, corners: Indices) -> tuple[Floats, Floats]:
    """Return centres and area vectors of faces with the same number of corners; both of shape (3, n)."""
    local = points[corners].transpose(2, 0, 1).astype(np.float64, order="C")
    mean = local.sum(axis=1) / len(corners)
    # Relative to the face itself, so that no digits are lost far from the origin.
    local -= mean[:, None]
    following = np.roll(local, -1, axis=1)
    vectors = np.empty_like(local)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        vectors[i] = 0.5 * (local[j] * following[k] - local[k] * following[j])
    areas = np.sqrt((vectors * vectors).sum(axis=0))
    area = areas.sum(axis=0)
    moment = ((local + following) * areas).sum(axis=1) / 3
    return mean + moment / np.where(area > 0, area, 1), vectors.sum(axis=1)


def cell_centers(points: Floats, cells: Cells, threads: int = 1) -> Floats:
    """Return the centroid of each cell.

    With face centres ``f`` and area vectors ``S``, and the mean ``e`` of a cell's face centres, the cell's pyramids
    have the volumes ``V = S . (f - e) / 3`` and the centroids ``3/4 f + 1/4 e``; the centre is their mean, weighted by
    `V`. A face has the mean of its triangles' centroids, weighted by their areas. A cell without volume has ``e``; a
    line, a vertex and a quadratic cell the mean of its points.

    Parameters
    ----------
    points : ndarray of float32 or float64, shape (n_points, 3)
        Points of the mesh.
    cells : Cells
        Cells of the mesh.
    threads : int
        Threads that compute.

    Returns
    -------
    ndarray, shape (n_cells, 3)
        In the dtype of `points`; computed in float64.

    Raises
    ------
    UnsoundCellError
        A cell does not have the points of its type, or a number leads outside its array.
    """
    centers = np.empty((len(cells), 3), points.dtype)
    compute_natively = native.cell_centers
    if compute_natively is None or not _is_native(points):

        def compute(start: int, stop: int) -> None:
            require_sound(cells, len(points), start, stop)
            centers[start:stop] = _block_centers(points, cells, start, stop).T

    else:
        lists, size = _native_lists(cells), points.itemsize

        def compute(start: int, stop: int) -> None:
            out = centers[start:stop]
            unsound = compute_natively(points, *lists, out, start=start, stop=stop, itemsize=size)
            _require_none_unsound(unsound, points, cells)

    _compute_in_blocks(compute, len(cells), threads)
    return centers


def _is_native(points: Floats) -> bool:
    return points.dtype in (np.float32, np.float64) and points.flags.c_contiguous and points.flags.aligned


def _native_lists(cells: Cells) -> tuple[Indices, Indices, Indices, tuple[Indices, Indices, Indices, Indices] | None]:
    """Return types, lists of points, and polyhedra as the compiled module takes them."""

    def as_int64(numbers: Indices) -> Indices:
        return np.require(numbers, np.int64, ("C", "A"))

    types: Indices = np.ascontiguousarray(cells.types, np.uint8)
    lists, polyhedra = cells.polyhedra, None
    if lists is not None:
        of_cells = as_int64(lists.cell_offsets), as_int64(lists.face_ids)
        polyhedra = *of_cells, as_int64(lists.face_offsets), as_int64(lists.connectivity)
    return types, as_int64(cells.offsets), as_int64(cells.connectivity), polyhedra


def _require_none_unsound(unsound: int | None, points: Floats, cells: Cells) -> None:
    if unsound is not None:
        require_sound(cells, len(points), unsound, unsound + 1)
        raise UnsoundCellError(unsound, "is not sound")


def _compute_in_blocks(compute: Callable[[int, int], None], n_cells: int, threads: int) -> None:
    if native.implementation == "python":
        native.warn_of_slow_path()
    starts = range(0, n_cells, _BLOCK_CELLS)
    tasks = (partial(compute, start, min(start + _BLOCK_CELLS, n_cells)) for start in starts)
    if threads == 1:  # to start a thread takes as long as a block
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="noether-geometry") as pool:
        run_all(pool, tasks, ahead=2 * threads)


def _block_centers(points: Floats, cells: Cells, start: int, stop: int) -> Floats:
    count = stop - start
    found = [(owners - start, *_fan(points, corners)) for owners, corners in faces(cells, start, stop)]
    owners = np.concatenate([np.empty(0, np.int64), *(owners for owners, _, _ in found)])
    face_centers = np.concatenate([np.empty((3, 0)), *(centers for _, centers, _ in found)], axis=1)
    vectors = np.concatenate([np.empty((3, 0)), *(vectors for _, _, vectors in found)], axis=1)

    n_faces = np.bincount(owners, minlength=count)
    estimate = _sums(owners, face_centers, count) / np.maximum(n_faces, 1)
    without = n_faces == 0
    estimate[:, without] = _point_means(points, cells, start + np.flatnonzero(without))
    arms = face_centers - estimate[:, owners]
    products = vectors * arms
    volumes = products.sum(axis=0)
    volume, scale = (np.bincount(owners, values, count) for values in (volumes, np.abs(products).sum(axis=0)))
    has_volume = np.abs(volume) > _LEAST_VOLUME * scale
    moment = 0.75 * _sums(owners, volumes * arms, count)
    return estimate + np.where(has_volume, moment / np.where(has_volume, volume, 1), 0)


def _point_means(points: Floats, cells: Cells, chosen: Indices) -> Floats:
    """Return the mean of the points of each chosen cell; shape (3, n_chosen)."""
    some = cells.only(chosen)
    sizes = np.diff(some.offsets)
    members = np.repeat(np.arange(len(some)), sizes)
    return _sums(members, points[some.connectivity].T, len(some)) / np.maximum(sizes, 1)


def _sums(owners: Indices, values: Floats, count: int) -> Floats:
    return np.stack([np.bincount(owners, row, count) for row in values])


def face_vectors(points: Floats, cells: Cells, threads: int = 1) -> tuple[Floats, Floats]:
    """Return the centre and the area vector of each cell of a surface.

    Parameters
    ----------
    points : ndarray of float32 or float64, shape (n_points, 3)
        Points of the mesh.
    cells : Cells
        Faces only.
    threads : int
        Threads that compute.

    Returns
    -------
    centers, vectors : ndarray of float64, shape (n_cells, 3)
        The length of an area vector is the face's area; it points to where the corners are seen counterclockwise.

    Raises
    ------
    UnsoundCellError
        A face does not have the points of its type, or a number leads outside its array.
    """
    centers, vectors = np.zeros((2, len(cells), 3))
    compute_natively = native.face_vectors
    if compute_natively is None or not _is_native(points):

        def compute(start: int, stop: int) -> None:
            require_sound(cells, len(points), start, stop)
            for owners, corners in faces(cells, start, stop):
                center, vector = _fan(points, corners)
                centers[owners], vectors[owners] = center.T, vector.T

    else:
        lists, size = _native_lists(cells)[:3], points.itemsize

        def compute(start: int, stop: int) -> None:
            out = centers[start:stop], vectors[start:stop]
            unsound = compute_natively(points, *lists, *out, start=start, stop=stop, itemsize=size)
            _require_none_unsound(unsound, points, cells)

    _compute_in_blocks(compute, len(cells), threads)
    return centers, vectors


def point_vectors(n_points: int, cells: Cells, vectors: Floats) -> tuple[Floats, Floats]:
    """Share area vectors and areas of faces out to their points.

    Parameters
    ----------
    n_points : int
        Points of the mesh.
    cells : Cells
        Faces only.
    vectors : ndarray, shape (n_cells, 3)
        Area vectors.

    Returns
    -------
    vectors : ndarray of float64, shape (n_points, 3)
        Sum over the faces around a point; its direction is the mean normal, weighted by area.
    areas : ndarray of float64, shape (n_points,)
        Each face gives an equal part of its area to each of its corners.
    """
    areas = np.linalg.norm(vectors, axis=1)
    total, shared = np.zeros((n_points, 3)), np.zeros(n_points)
    for owners, corners in faces(cells):
        for corner in corners:
            total += _sums(corner, vectors[owners].T, n_points).T
            shared += np.bincount(corner, areas[owners] / len(corners), n_points)
    return total, shared


def outward_sign(centers: Floats, vectors: Floats) -> float:
    """Say which way the faces of a surface look, seen from its middle.

    Parameters
    ----------
    centers, vectors : ndarray, shape (n_cells, 3)
        Of its faces, which all wind the same way.

    Returns
    -------
    float
        The mean of ``r . S / (|r| |S|)``, where `r` goes from the middle to the face's centre: 1 where all faces of a
        sphere look outward, -1 where they look inward, 0 for a plane. Where the surface is closed, its sign is that of
        the volume enclosed (the divergence theorem), whatever the shape.
    """
    areas = np.linalg.norm(vectors, axis=1)
    if not areas.any():
        return 0.0
    arms = centers - np.average(centers, axis=0, weights=areas)
    reach = (np.linalg.norm(arms, axis=1) * areas).sum()
    return float((arms * vectors).sum() / reach) if reach else 0.0
