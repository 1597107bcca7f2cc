"""Faces of polyhedra in older VTK files: one stream of numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import Polyhedra
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError

__all__ = ["split_face_stream"]

Integers = NDArray[np.int64]


def split_face_stream(numbers: Integers, bounds: Integers, has_faces: NDArray[np.bool_], name: str) -> Polyhedra:
    """Split a stream into faces.

    For each polyhedron the stream holds the number of its faces. For each face it holds the number of its points,
    followed by the points.

    Parameters
    ----------
    numbers : ndarray of int64
        The stream.
    bounds : ndarray of int64, shape (n_polyhedra + 1,)
        Offset in the stream of each polyhedron, and the end of the last one; ascending.
    has_faces : ndarray of bool, shape (n_cells,)
        True for the cells that are polyhedra.
    name : str
        Name of the array for errors.

    Raises
    ------
    DamagedArrayError
        The faces of a polyhedron do not end at its bound.
    """
    starts, stops = bounds[:-1], bounds[1:]
    if np.any(starts == stops):
        raise DamagedArrayError(f"array {name!r}: a polyhedron has no numbers")
    n_faces = numbers[starts]
    # Each pass takes one face of every polyhedron. `heads` marks the numbers of points.
    at = starts + 1
    heads = np.zeros(len(numbers), np.bool_)
    left = n_faces.copy()
    while True:
        going = left > 0
        if not going.any():
            break
        here = at[going]
        if np.any(here >= stops[going]):
            break
        sizes = numbers[here]
        if np.any((sizes < 1) | (sizes > stops[going] - here - 1)):
            break
        heads[here] = True
        at[going] = here + 1 + sizes
        left[going] -= 1
    if np.any(at != stops) or np.any(left != 0):
        wrong = int(np.argmax((at != stops) | (left != 0)))
        raise DamagedArrayError(
            f"array {name!r}: the faces of polyhedron {wrong} of a block do not end where the next polyhedron begins"
        )
    sizes = numbers[heads]
    is_corner = ~heads
    is_corner[starts] = False
    counts = np.zeros(len(has_faces), np.int64)
    counts[has_faces] = n_faces
    return Polyhedra(
        np.concatenate([[0], np.cumsum(counts)]),
        np.arange(len(sizes)),
        np.concatenate([[0], np.cumsum(sizes)]),
        numbers[is_corner],
    )
