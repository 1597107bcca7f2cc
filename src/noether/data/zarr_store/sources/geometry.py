"""Centres, areas and normals of faces and cells, as finite-volume solvers define them. Pure.

A face is split into triangles around the mean of its points; a cell into pyramids around the mean of its face centres.
This is OpenFOAM's definition (``primitiveMeshFaceCentresAndAreas.C`` and ``primitiveMeshCellCentresAndVols.C``,
v1912). VTK's own filters give other values where faces are not flat: they were seen to miss the solver's cell centres
by up to 48 mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cells", "Polyhedra", "cell_centers", "face_vectors", "faces", "outward_sign", "point_vectors"]

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.integer[Any]]

_POLYHEDRON = 42
# Triangle, polygon, quadrilateral: their points go around them.
_POLYGONS = (5, 7, 9)
# Points of each face, by VTK's cell type; seen from outside they go around the face counterclockwise.
_FACES: dict[int, tuple[tuple[int, ...], ...]] = {
    8: ((0, 1, 3, 2),),  # pixel
    10: ((0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 2, 1)),  # tetrahedron
    11: ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)),  # voxel
    12: ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),  # hexahedron
    13: ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),  # wedge
    14: ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),  # pyramid
}
_FACE_TYPES = (*_POLYGONS, 8)

# Cells at a time: what is in flight stays in the processor's cache.
_BLOCK_CELLS = 1 << 14


@dataclass(frozen=True, slots=True)
class Polyhedra:
    """Faces of the polyhedra of a mesh.

    Attributes
    ----------
    cell_offsets : ndarray of int, shape (n_cells + 1,)
        The faces of cell ``i`` are ``face_ids[cell_offsets[i]:cell_offsets[i + 1]]``; none for other cells.
    face_ids : ndarray of int
        Numbers of faces.
    face_offsets : ndarray of int, shape (n_faces + 1,)
        The points of face ``j`` are ``connectivity[face_offsets[j]:face_offsets[j + 1]]``.
    connectivity : ndarray of int
        Numbers of points.
    """

    cell_offsets: Indices
    face_ids: Indices
    face_offsets: Indices
    connectivity: Indices


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of a mesh.

    Attributes
    ----------
    types : ndarray of int, shape (n_cells,)
        VTK's cell types.
    offsets : ndarray of int, shape (n_cells + 1,)
        The points of cell ``i`` are ``connectivity[offsets[i]:offsets[i + 1]]``.
    connectivity : ndarray of int
        Numbers of points.
    polyhedra : Polyhedra or None
        Faces of the polyhedra, where there are any.
    """

    types: Indices
    offsets: Indices
    connectivity: Indices
    polyhedra: Polyhedra | None = None

    def __len__(self) -> int:
        return len(self.types)

    def only(self, chosen: NDArray[np.bool_]) -> Cells:
        """Return some of the cells, in their order; points keep their numbers."""
        offsets, connectivity = _lists_of(self.offsets, self.connectivity, chosen)
        polyhedra = self.polyhedra
        if polyhedra is not None:
            cell_offsets, face_ids = _lists_of(polyhedra.cell_offsets, polyhedra.face_ids, chosen)
            polyhedra = Polyhedra(cell_offsets, face_ids, polyhedra.face_offsets, polyhedra.connectivity)
        return Cells(self.types[chosen], offsets, connectivity, polyhedra)

    @property
    def are_faces(self) -> bool:
        """Whether there are cells, and all are flat: triangles, quadrilaterals, polygons."""
        return len(self) > 0 and bool(np.isin(self.types, _FACE_TYPES).all())


def faces(cells: Cells, start: int = 0, stop: int | None = None) -> Iterator[tuple[Indices, Indices]]:
    """Yield the faces of the cells `start` to `stop`, those of one number of corners at a time.

    Cells that have no faces here, such as lines and quadratic cells, are passed over.

    Yields
    ------
    owners : ndarray of int, shape (n,)
        Number of the cell that each face belongs to.
    corners : ndarray of int, shape (n_corners, n)
        Numbers of its points.
    """
    types = cells.types[start:stop]
    for kind in np.unique(types):
        owners = start + np.flatnonzero(types == kind)
        if kind == _POLYHEDRON and cells.polyhedra is not None:
            yield from _polyhedron_faces(cells.polyhedra, owners)
        elif kind in _POLYGONS:
            yield from _by_size(owners, cells.offsets[owners], cells.offsets[owners + 1], cells.connectivity)
        else:
            first = cells.offsets[owners]
            for face in _FACES.get(int(kind), ()):
                yield owners, cells.connectivity[first + np.array(face)[:, None]]


def _polyhedron_faces(polyhedra: Polyhedra, cells: Indices) -> Iterator[tuple[Indices, Indices]]:
    first = polyhedra.cell_offsets[cells]
    counts = polyhedra.cell_offsets[cells + 1] - first
    ids = polyhedra.face_ids[_ranges(first, counts)]
    owners = np.repeat(cells, counts)
    yield from _by_size(owners, polyhedra.face_offsets[ids], polyhedra.face_offsets[ids + 1], polyhedra.connectivity)


def _lists_of(offsets: Indices, values: Indices, chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the offsets and values of some of the lists."""
    counts = np.diff(offsets)
    return np.concatenate([[0], np.cumsum(counts[chosen])]), values[_ranges(offsets[:-1][chosen], counts[chosen])]


def _ranges(first: Indices, counts: Indices) -> Indices:
    """Join the ranges that start at `first` and have `counts` numbers."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


def _by_size(
    owners: Indices, first: Indices, stop: Indices, connectivity: Indices
) -> Iterator[tuple[Indices, Indices]]:
    sizes = stop - first
    for size in np.unique(sizes):
        chosen = sizes == size
        yield owners[chosen], connectivity[first[chosen] + np.arange(size)[:, None]]


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


def cell_centers(points: Floats, cells: Cells) -> Floats:
    """Return the centroid of each cell.

    With face centres ``f`` and area vectors ``S``, and the mean ``e`` of a cell's face centres, the cell's pyramids
    have the volumes ``V = S . (f - e) / 3`` and the centroids ``3/4 f + 1/4 e``; the centre is their mean, weighted by
    `V`. A face has the mean of its triangles' centroids, weighted by their areas. A cell without volume has ``e``; a
    line, a vertex and a quadratic cell the mean of its points.

    Parameters
    ----------
    points : ndarray, shape (n_points, 3)
        Points of the mesh.
    cells : Cells
        Cells of the mesh.

    Returns
    -------
    ndarray, shape (n_cells, 3)
        In the dtype of `points`; computed in float64.
    """
    centers = np.empty((len(cells), 3), points.dtype)
    for start, stop in _blocks(cells):
        centers[start:stop] = _block_centers(points, cells, start, stop).T
    return centers


def _blocks(cells: Cells) -> Iterator[tuple[int, int]]:
    for start in range(0, len(cells), _BLOCK_CELLS):
        yield start, min(start + _BLOCK_CELLS, len(cells))


def _block_centers(points: Floats, cells: Cells, start: int, stop: int) -> Floats:
    count = stop - start
    # The mean of the points stands in where there is no face; of polyhedra VTK lists the points too.
    sizes = np.diff(cells.offsets[start : stop + 1])
    members = np.repeat(np.arange(count), sizes)
    listed = points[cells.connectivity[cells.offsets[start] : cells.offsets[stop]]].T
    estimate = _sums(members, listed, count) / np.maximum(sizes, 1)

    found = [(owners - start, *_fan(points, corners)) for owners, corners in faces(cells, start, stop)]
    if not found:
        return estimate
    owners = np.concatenate([owners for owners, _, _ in found])
    face_centers = np.concatenate([centers for _, centers, _ in found], axis=1)
    vectors = np.concatenate([vectors for _, _, vectors in found], axis=1)

    n_faces = np.bincount(owners, minlength=count)
    has_faces = n_faces > 0
    estimate[:, has_faces] = (_sums(owners, face_centers, count) / np.maximum(n_faces, 1))[:, has_faces]
    arms = face_centers - estimate[:, owners]
    volumes = (vectors * arms).sum(axis=0)
    volume = np.bincount(owners, volumes, count)
    moment = 0.75 * _sums(owners, volumes * arms, count)
    return estimate + np.where(volume != 0, moment / np.where(volume != 0, volume, 1), 0)


def _sums(owners: Indices, values: Floats, count: int) -> Floats:
    return np.stack([np.bincount(owners, row, count) for row in values])


def face_vectors(points: Floats, cells: Cells) -> tuple[Floats, Floats]:
    """Return the centre and the area vector of each cell of a surface.

    Parameters
    ----------
    points : ndarray, shape (n_points, 3)
        Points of the mesh.
    cells : Cells
        Faces only.

    Returns
    -------
    centers, vectors : ndarray of float64, shape (n_cells, 3)
        The length of an area vector is the face's area; it points to where the corners are seen counterclockwise.
    """
    centers, vectors = np.zeros((2, len(cells), 3))
    for start, stop in _blocks(cells):
        for owners, corners in faces(cells, start, stop):
            center, vector = _fan(points, corners)
            centers[owners], vectors[owners] = center.T, vector.T
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
