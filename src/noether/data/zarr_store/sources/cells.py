"""Cells of a mesh as lists of the numbers of their points, and the faces of the cells. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "POLYHEDRON",
    "Cells",
    "Polyhedra",
    "UnsoundCellError",
    "are_face_types",
    "dimension_of",
    "faces",
    "join_ranges",
    "joined_cells",
    "require_sound",
]

Indices = NDArray[np.integer[Any]]

POLYHEDRON = 42
# Triangle, polygon, quadrilateral. The order of their points follows the boundary.
_POLYGONS = (5, 7, 9)
# Points of each face by VTK's cell type, counterclockwise when seen from outside. `shape_batch.h` must have the same
# table.
_FACES: dict[int, tuple[tuple[int, ...], ...]] = {
    8: ((0, 1, 3, 2),),  # pixel
    10: ((0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 2, 1)),  # tetrahedron
    11: ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)),  # voxel
    12: ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),  # hexahedron
    13: ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),  # wedge
    14: ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),  # pyramid
}
_FACE_TYPES = (*_POLYGONS, 8)
# Types of cells by dimension, from vtkCellType.h. All other types are volumes.
_VERTICES = (0, 1, 2)
_CURVES = (3, 4, 21, 35, 51, 60, 68, 75)
_SURFACES = (5, 6, 7, 8, 9, 22, 23, 28, 30, 34, 36, 52, 53, 54, 61, 62, 63, 69, 70, 76, 77)
_N_POINTS = {kind: 1 + max(map(max, faces)) for kind, faces in _FACES.items()}


class UnsoundCellError(ValueError):
    """A cell does not have the points of its type, or a number exceeds its array.

    Attributes
    ----------
    cell : int
        Number of the cell.
    problem : str
        Rest of the message, after ``cell {cell}``.
    """

    def __init__(self, cell: int, problem: str) -> None:
        super().__init__(f"cell {cell} {problem}")
        self.cell = cell
        self.problem = problem

    def after(self, n_cells: int) -> UnsoundCellError:
        """Return the same error for a cell with `n_cells` more cells before it."""
        return UnsoundCellError(self.cell + n_cells, self.problem)


@dataclass(frozen=True, slots=True)
class Polyhedra:
    """Faces of the polyhedra of a mesh.

    Attributes
    ----------
    cell_offsets : ndarray of int, shape (n_cells + 1,)
        The faces of cell ``i`` are ``face_ids[cell_offsets[i]:cell_offsets[i + 1]]``; empty for other cells.
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
        Faces of the polyhedra; None if there are no polyhedra.
    """

    types: Indices
    offsets: Indices
    connectivity: Indices
    polyhedra: Polyhedra | None = None

    def __len__(self) -> int:
        return len(self.types)

    def only(self, chosen: NDArray[np.bool_] | Indices) -> Cells:
        """Return the cells that a mask or their numbers choose. The points keep their numbers."""
        offsets, connectivity = _lists_of(self.offsets, self.connectivity, chosen)
        polyhedra = self.polyhedra
        if polyhedra is not None:
            cell_offsets, face_ids = _lists_of(polyhedra.cell_offsets, polyhedra.face_ids, chosen)
            polyhedra = Polyhedra(cell_offsets, face_ids, polyhedra.face_offsets, polyhedra.connectivity)
        return Cells(self.types[chosen], offsets, connectivity, polyhedra)

    def require_points_below(self, n_points: int) -> None:
        """Raise `UnsoundCellError` if a cell names a point that does not exist."""
        numbers = self.connectivity
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= n_points):
            owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
            _require_below(numbers, n_points, owners, "point")


def dimension_of(types: Indices) -> int:
    """Return the highest dimension of cell types: 3 for volumes, 2 for surfaces, 1 for curves, 0 for vertices."""
    dimensions = {**dict.fromkeys(_VERTICES, 0), **dict.fromkeys(_CURVES, 1), **dict.fromkeys(_SURFACES, 2)}
    return max((dimensions.get(int(kind), 3) for kind in types), default=0)


def are_face_types(types: Indices) -> bool:
    """Return whether all types of cells are faces: triangles, quadrilaterals, pixels or polygons."""
    return bool(np.isin(types, _FACE_TYPES).all())


def joined_cells(blocks: Sequence[tuple[int, Cells]]) -> Cells:
    """Return the concatenation of blocks of cells.

    Parameters
    ----------
    blocks : sequence of (int, Cells)
        For each block the number to add to the numbers of its points, and its cells.
    """
    return Cells(
        np.concatenate([np.empty(0, np.uint8), *(cells.types for _, cells in blocks)]),
        _joined_offsets([cells.offsets for _, cells in blocks]),
        np.concatenate([np.empty(0, np.int64), *(first + cells.connectivity for first, cells in blocks)]),
        _joined_polyhedra(blocks) if any(cells.polyhedra for _, cells in blocks) else None,
    )


def _joined_polyhedra(blocks: Sequence[tuple[int, Cells]]) -> Polyhedra:
    none = np.empty(0, np.int64)
    there = [
        cells.polyhedra or Polyhedra(np.zeros(len(cells) + 1, np.int64), none, np.zeros(1, np.int64), none)
        for _, cells in blocks
    ]
    firsts = np.cumsum([0, *(len(one.face_offsets) - 1 for one in there)])
    return Polyhedra(
        _joined_offsets([one.cell_offsets for one in there]),
        np.concatenate([none, *(first + one.face_ids for first, one in zip(firsts, there, strict=False))]),
        _joined_offsets([one.face_offsets for one in there]),
        np.concatenate([none, *(first + one.connectivity for (first, _), one in zip(blocks, there, strict=True))]),
    )


def _joined_offsets(offsets: Sequence[Indices]) -> Indices:
    """Return the offsets of the concatenation of lists."""
    return np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *map(np.diff, offsets)]))])


def faces(cells: Cells, start: int = 0, stop: int | None = None) -> Iterator[tuple[Indices, Indices]]:
    """Yield the faces of the cells `start` to `stop`. Faces that are yielded together have equally many corners.

    Cells without known faces, such as lines and quadratic cells, are skipped.

    Yields
    ------
    owners : ndarray of int, shape (n,)
        Number of the cell of each face.
    corners : ndarray of int, shape (n_corners, n)
        Numbers of the points of each face.
    """
    types = cells.types[start:stop]
    for kind in np.unique(types):
        owners = start + np.flatnonzero(types == kind)
        if kind == POLYHEDRON and cells.polyhedra is not None:
            yield from _polyhedron_faces(cells.polyhedra, owners)
        elif kind in _POLYGONS:
            yield from _by_size(owners, cells.offsets[owners], cells.offsets[owners + 1], cells.connectivity)
        else:
            first = cells.offsets[owners]
            for face in _FACES.get(int(kind), ()):
                yield owners, cells.connectivity[first + np.array(face)[:, None]]


def require_sound(cells: Cells, n_points: int, start: int = 0, stop: int | None = None) -> None:
    """Check that the cells `start` to `stop` have the points of their types, and that all numbers are valid.

    The list of points that a polyhedron has in addition to its faces is not checked.

    Raises
    ------
    UnsoundCellError
        A cell is not sound. The error names one such cell.
    """
    stop = len(cells) if stop is None else stop
    types, numbers = cells.types[start:stop], np.arange(start, stop)
    has_faces = np.zeros(len(types), np.bool_)
    if cells.polyhedra is not None:
        faces_of = cells.polyhedra.cell_offsets[start : stop + 1]
        _require_lists(faces_of, len(cells.polyhedra.face_ids), numbers, "faces")
        has_faces = (types == POLYHEDRON) & (np.diff(faces_of) > 0)
    offsets = cells.offsets[start : stop + 1]
    _require_lists(offsets, len(cells.connectivity), numbers, "points")
    sizes = np.diff(offsets)
    for kind in np.unique(types):
        expected = _N_POINTS.get(int(kind))
        is_wrong = sizes < 1 if kind in _POLYGONS else sizes != (sizes if expected is None else expected)
        wrong = np.flatnonzero((types == kind) & is_wrong)
        if len(wrong):
            problem = f"of VTK's type {kind} has {sizes[wrong[0]]} points; expected {expected or 'at least 1'}"
            raise UnsoundCellError(start + int(wrong[0]), problem)
    listed = cells.connectivity[join_ranges(offsets[:-1][~has_faces], sizes[~has_faces])]
    _require_below(listed, n_points, np.repeat(numbers[~has_faces], sizes[~has_faces]), "point")
    if cells.polyhedra is not None:
        _require_sound_faces(cells.polyhedra, numbers[has_faces], n_points)


def _require_sound_faces(polyhedra: Polyhedra, cells: Indices, n_points: int) -> None:
    ids, owners = _faces_of(polyhedra, cells)
    _require_below(ids, len(polyhedra.face_offsets) - 1, owners, "face")
    first, stop = polyhedra.face_offsets[ids], polyhedra.face_offsets[ids + 1]
    wrong = np.flatnonzero((first < 0) | (stop <= first) | (stop > len(polyhedra.connectivity)))
    if len(wrong):
        at = wrong[0]
        problem = f"has face {ids[at]}, whose points go from {first[at]} to {stop[at]} of {len(polyhedra.connectivity)}"
        raise UnsoundCellError(int(owners[at]), problem)
    corners = polyhedra.connectivity[join_ranges(first, stop - first)]
    _require_below(corners, n_points, np.repeat(owners, stop - first), "point")


def _require_lists(offsets: Indices, n_numbers: int, owners: Indices, what: str) -> None:
    first, stop = offsets[:-1], offsets[1:]
    wrong = np.flatnonzero((first < 0) | (stop < first) | (stop > n_numbers))
    if len(wrong):
        at = wrong[0]
        raise UnsoundCellError(int(owners[at]), f"has {what} that go from {first[at]} to {stop[at]} of {n_numbers}")


def _require_below(numbers: Indices, limit: int, owners: Indices, what: str) -> None:
    wrong = np.flatnonzero((numbers < 0) | (numbers >= limit))
    if len(wrong):
        at = wrong[0]
        raise UnsoundCellError(int(owners[at]), f"names {what} {numbers[at]}; there are {limit}")


def _faces_of(polyhedra: Polyhedra, cells: Indices) -> tuple[Indices, Indices]:
    """Return the numbers of the faces of some cells, and the number of the cell of each face."""
    first = polyhedra.cell_offsets[cells]
    counts = polyhedra.cell_offsets[cells + 1] - first
    return polyhedra.face_ids[join_ranges(first, counts)], np.repeat(cells, counts)


def _polyhedron_faces(polyhedra: Polyhedra, cells: Indices) -> Iterator[tuple[Indices, Indices]]:
    ids, owners = _faces_of(polyhedra, cells)
    yield from _by_size(owners, polyhedra.face_offsets[ids], polyhedra.face_offsets[ids + 1], polyhedra.connectivity)


def _lists_of(offsets: Indices, values: Indices, chosen: NDArray[np.bool_] | Indices) -> tuple[Indices, Indices]:
    """Return the offsets and values of the chosen lists."""
    counts = np.diff(offsets)
    return np.concatenate([[0], np.cumsum(counts[chosen])]), values[join_ranges(offsets[:-1][chosen], counts[chosen])]


def join_ranges(first: Indices, counts: Indices) -> Indices:
    """Return the concatenation of the ranges that start at `first` and have `counts` numbers."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


def _by_size(
    owners: Indices, first: Indices, stop: Indices, connectivity: Indices
) -> Iterator[tuple[Indices, Indices]]:
    sizes = stop - first
    for size in np.unique(sizes):
        chosen = sizes == size
        yield owners[chosen], connectivity[first[chosen] + np.arange(size)[:, None]]
