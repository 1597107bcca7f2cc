"""Compute centres, areas and normals of faces and cells as finite-volume solvers define them. Pure.

A face is split into triangles around the mean of its points, and a cell into pyramids around the mean of its face
centres. This is OpenFOAM's definition (``primitiveMeshFaceCentresAndAreas.C`` and
``primitiveMeshCellCentresAndVols.C``, v1912). VTK's filters differ for faces that are not flat: their cell centres
were up to 48 mm away from the solver's.

The compiled module computes the same values, up to rounding, in a fraction of the time.
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

# Cells per block; a block's arrays fit in the processor's cache.
_BLOCK_CELLS = 1 << 14
# A volume is a sum of signed terms. If its ratio to the sum of their magnitudes is smaller than this, it is only a
# rounding error. `fan.h` must have the same value.
_LEAST_VOLUME = 1e-13


def _fan(points: Floats, corners: Indices) -> tuple[Floats, Floats]:
    """Return centres and area vectors of faces with the same number of corners; both of shape (3, n)."""
    local = points[corners].transpose(2, 0, 1).astype(np.float64, order="C")
    mean = local.sum(axis=1) / len(corners)
    # Coordinates relative to the face lose no digits far from the origin.
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

    Let ``f`` be the face centres, ``S`` the area vectors, and ``e`` the mean of a cell's face centres. The pyramids of
    the cell have the volumes ``V = S . (f - e) / 3`` and the centroids ``3/4 f + 1/4 e``. The centre of the cell is
    the mean of these centroids, weighted by ``V``. The centre of a face is the mean of its triangles' centroids,
    weighted by their areas. A cell without volume has the centre ``e``. The centre of a line, a vertex or a quadratic
    cell is the mean of its points.

    Parameters
    ----------
    points : ndarray of float32 or float64, shape (n_points, 3)
        Points of the mesh.
    cells : Cells
        Cells of the mesh.
    threads : int
        Number of threads.

    Returns
    -------
    ndarray, shape (n_cells, 3)
        Centroids in the dtype of `points`; computed in float64.

    Raises
    ------
    UnsoundCellError
        A cell does not have the points of its type, or a number exceeds its array.
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
    """Return types, lists of points and polyhedra in the form that the compiled module requires."""

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
    if threads == 1:  # starting a thread takes as long as computing a block
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
        Cells, all of which are faces.
    threads : int
        Number of threads.

    Returns
    -------
    centers, vectors : ndarray of float64, shape (n_cells, 3)
        The length of an area vector is the area of the face. The vector points to the side from which the corners
        appear counterclockwise.

    Raises
    ------
    UnsoundCellError
        A face does not have the points of its type, or a number exceeds its array.
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
    """Distribute the area vectors and areas of faces to their points.

    Parameters
    ----------
    n_points : int
        Number of points of the mesh.
    cells : Cells
        Cells, all of which are faces.
    vectors : ndarray, shape (n_cells, 3)
        Area vectors.

    Returns
    -------
    vectors : ndarray of float64, shape (n_points, 3)
        Sum of the area vectors of the faces around each point. Its direction is the mean normal, weighted by area.
    areas : ndarray of float64, shape (n_points,)
        Sum of equal shares: each face distributes its area equally to its corners.
    """
    areas = np.linalg.norm(vectors, axis=1)
    total, shared = np.zeros((n_points, 3)), np.zeros(n_points)
    for owners, corners in faces(cells):
        for corner in corners:
            total += _sums(corner, vectors[owners].T, n_points).T
            shared += np.bincount(corner, areas[owners] / len(corners), n_points)
    return total, shared


def outward_sign(centers: Floats, vectors: Floats) -> float:
    """Return a number whose sign shows whether the faces of a surface point outward or inward.

    Parameters
    ----------
    centers, vectors : ndarray, shape (n_cells, 3)
        Centres and area vectors of the faces. All faces must have the same winding.

    Returns
    -------
    float
        The mean of ``r . S / (|r| |S|)``, weighted by ``|r| |S|``. The vector ``r`` goes from the middle of the surface
        to the centre of a face, and ``S`` is the face's area vector. The mean is 1 for a sphere whose faces point
        outward, -1 for a sphere whose faces point inward, and 0 for a plane. For a closed surface of any shape, the
        sign equals the sign of the enclosed volume (divergence theorem).
    """
    areas = np.linalg.norm(vectors, axis=1)
    if not areas.any():
        return 0.0
    arms = centers - np.average(centers, axis=0, weights=areas)
    reach = (np.linalg.norm(arms, axis=1) * areas).sum()
    return float((arms * vectors).sum() / reach) if reach else 0.0
