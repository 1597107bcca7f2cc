"""Elements with lists of their own, polygons and polyhedra: where the lists of each lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import POLYHEDRON, Cells, Polyhedra
from noether.data.zarr_store.sources.ensight_gold.records import VALUE_BYTES, GoldFile, Order, Records

__all__ = ["POLYGON", "FaceLists", "NodeLists", "offsets_of", "polyhedra_of", "read_face_lists", "read_node_lists"]

POLYGON = 7
"""VTK's type of an element with any number of nodes around it."""

# The place of the lists is kept for one of so many elements, and counted from there.
_MARK_EVERY = 1 << 15
# No elements of a solver come near; forged ones would take all memory.
_MAX_NODES = 1 << 26

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NodeLists:
    """Lists of nodes, which lie one after the other: those of polygons, or of faces.

    Attributes
    ----------
    sizes : int
        Where the number of nodes of each list lies.
    nodes : int
        Where the nodes lie.
    marks : ndarray of int64
        Nodes before every so many-th list.
    """

    sizes: int
    nodes: int
    marks: Integers

    def read(self, file: GoldFile, order: Order, start: int, stop: int) -> tuple[Integers, Integers, int]:
        """Read some lists: their sizes, their nodes, counted from 1, and where these lie."""
        sizes, before = _counted_from_mark(file, order, self.sizes, self.marks, start, stop)
        at, n_nodes = self.nodes + before * VALUE_BYTES, int(sizes.sum())
        if n_nodes > _MAX_NODES:
            raise file.damaged(at, f"{len(sizes):,} elements or faces have {n_nodes:,} nodes")
        return sizes, file.values(at, n_nodes, f"{order}i4").astype(np.int64), at


@dataclass(frozen=True, slots=True)
class FaceLists:
    """Lists of faces.

    Attributes
    ----------
    counts : int
        Where the number of faces of each element lies.
    marks : ndarray of int64
        Faces before every so many-th element.
    faces : NodeLists
        The faces.
    """

    counts: int
    marks: Integers
    faces: NodeLists

    def read(self, file: GoldFile, order: Order, start: int, stop: int) -> tuple[Integers, Integers, Integers, int]:
        """Read some elements: their numbers of faces, the sizes of these, the nodes, and where these lie."""
        counts, first = _counted_from_mark(file, order, self.counts, self.marks, start, stop)
        n_faces = int(counts.sum())
        if n_faces > _MAX_NODES:
            raise file.damaged(self.counts + start * VALUE_BYTES, f"{len(counts):,} elements have {n_faces:,} faces")
        return counts, *self.faces.read(file, order, first, first + n_faces)


def read_node_lists(records: Records, n_lists: int, of: str) -> NodeLists:
    """Pass over lists of nodes, whose numbers alone are read."""
    sizes = records.skip(n_lists, f"the numbers of nodes of {of}")
    n_nodes, marks = _sum(records, sizes, n_lists, f"nodes of {of}")
    return NodeLists(sizes, records.skip(n_nodes, f"the nodes of {of}"), marks)


def read_face_lists(records: Records, n_elements: int, of: str) -> FaceLists:
    """Pass over lists of faces, whose numbers of faces and nodes alone are read."""
    counts = records.skip(n_elements, f"the numbers of faces of {of}")
    n_faces, marks = _sum(records, counts, n_elements, f"faces of {of}")
    return FaceLists(counts, marks, read_node_lists(records, n_faces, f"the faces of {of}"))


def polyhedra_of(counts: Integers, sizes: Integers, nodes: Integers, *, faces_suffice: bool) -> Cells:
    """Return polyhedra as cells; where `faces_suffice`, without the points that VTK lists beside the faces.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_cells,)
        Numbers of faces.
    sizes : ndarray of int64
        Numbers of points of the faces.
    nodes : ndarray of int64
        Points of the faces, counted from 0.
    """
    cell_offsets, face_offsets = offsets_of(counts), offsets_of(sizes)
    polyhedra = Polyhedra(cell_offsets, np.arange(len(sizes)), face_offsets, nodes)
    types = np.full(len(counts), POLYHEDRON, np.uint8)
    if faces_suffice and np.all(counts > 0):
        return Cells(types, np.zeros(len(counts) + 1, np.int64), np.empty(0, np.int64), polyhedra)
    owners = np.repeat(np.arange(len(counts)), np.diff(face_offsets[cell_offsets]))
    # Each point once, in the order in which the faces name them, as VTK lists them.
    order = np.lexsort((nodes, owners))
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (np.diff(owners[order]) != 0) | (np.diff(nodes[order]) != 0)
    chosen = np.sort(order[is_first])
    return Cells(types, offsets_of(np.bincount(owners[chosen], minlength=len(counts))), nodes[chosen], polyhedra)


def offsets_of(sizes: NDArray[Any]) -> Integers:
    """Return where lists of some sizes begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _sum(records: Records, start: int, count: int, of: str) -> tuple[int, Integers]:
    """Return the sum of numbers, and the sums of those before every so many-th one."""
    total, done = 0, 0
    marks = [np.empty(0, np.int64)]
    for numbers in records.integers(start, count):
        if numbers.min() < 0:
            at = int(np.argmax(numbers < 0))
            raise records.file.damaged(start + (done + at) * VALUE_BYTES, f"it claims {numbers[at]:,} {of}")
        ends = total + offsets_of(numbers)
        marks.append(ends[-done % _MARK_EVERY : -1 : _MARK_EVERY])
        total, done = int(ends[-1]), done + len(numbers)
    return total, np.concatenate(marks)


def _counted_from_mark(
    file: GoldFile, order: Order, at: int, marks: Integers, start: int, stop: int
) -> tuple[Integers, int]:
    """Return the numbers `start` to `stop`, and the sum of those before."""
    if start == stop:
        return np.empty(0, np.int64), 0
    mark = start // _MARK_EVERY
    first = mark * _MARK_EVERY
    numbers = file.values(at + first * VALUE_BYTES, stop - first, f"{order}i4").astype(np.int64)
    return numbers[start - first :], int(marks[mark] + numbers[: start - first].sum())
