"""Offsets of the node lists of polygons and polyhedra, whose numbers of nodes vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import POLYHEDRON, Cells, Polyhedra
from noether.data.zarr_store.sources.ensight_gold.records import VALUE_BYTES, GoldFile, Order, Records

__all__ = ["POLYGON", "FaceLists", "NodeLists", "offsets_of", "polyhedra_of", "read_face_lists", "read_node_lists"]

POLYGON = 7
"""VTK's type of a polygon with any number of nodes."""

# Number of lists between two marks. A mark is the number of nodes before a list; `read` counts on from the last mark.
_MARK_EVERY = 1 << 15
# Elements of a solver stay far below this limit; forged elements could fill the memory.
_MAX_NODES = 1 << 26

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NodeLists:
    """Contiguous lists of the nodes of polygons or of faces.

    Attributes
    ----------
    sizes : int
        Offset of the numbers of nodes of the lists.
    nodes : int
        Offset of the nodes.
    marks : ndarray of int64
        Number of nodes before every `_MARK_EVERY`-th list.
    """

    sizes: int
    nodes: int
    marks: Integers

    def read(self, file: GoldFile, order: Order, start: int, stop: int) -> tuple[Integers, Integers, int]:
        """Read the lists `start` to `stop`; return their sizes, their nodes counted from 1, and the nodes' offset."""
        sizes, before = _counted_from_mark(file, order, self.sizes, self.marks, start, stop)
        at, n_nodes = self.nodes + before * VALUE_BYTES, int(sizes.sum())
        if n_nodes > _MAX_NODES:
            problem = f"{len(sizes):,} elements or faces have {n_nodes:,} nodes; expected at most {_MAX_NODES:,}"
            raise file.damaged(at, problem)
        return sizes, file.values(at, n_nodes, f"{order}i4").astype(np.int64), at


@dataclass(frozen=True, slots=True)
class FaceLists:
    """Contiguous lists of the faces of polyhedra.

    Attributes
    ----------
    counts : int
        Offset of the numbers of faces of the elements.
    marks : ndarray of int64
        Number of faces before every `_MARK_EVERY`-th element.
    faces : NodeLists
        Nodes of the faces.
    """

    counts: int
    marks: Integers
    faces: NodeLists

    def read(self, file: GoldFile, order: Order, start: int, stop: int) -> tuple[Integers, Integers, Integers, int]:
        """Read the elements `start` to `stop`.

        Return the number of faces of each element, the number of nodes of each face, the nodes counted from 1, and
        the nodes' offset.
        """
        counts, first = _counted_from_mark(file, order, self.counts, self.marks, start, stop)
        n_faces = int(counts.sum())
        if n_faces > _MAX_NODES:
            problem = f"{len(counts):,} elements have {n_faces:,} faces; expected at most {_MAX_NODES:,}"
            raise file.damaged(self.counts + start * VALUE_BYTES, problem)
        return counts, *self.faces.read(file, order, first, first + n_faces)


def read_node_lists(records: Records, n_lists: int, of: str) -> NodeLists:
    """Skip lists of nodes; read only their sizes."""
    sizes = records.skip(n_lists, f"the numbers of nodes of {of}")
    n_nodes, marks = _sum(records, sizes, n_lists, f"nodes of {of}")
    return NodeLists(sizes, records.skip(n_nodes, f"the nodes of {of}"), marks)


def read_face_lists(records: Records, n_elements: int, of: str) -> FaceLists:
    """Skip lists of faces; read only the numbers of faces and nodes."""
    counts = records.skip(n_elements, f"the numbers of faces of {of}")
    n_faces, marks = _sum(records, counts, n_elements, f"faces of {of}")
    return FaceLists(counts, marks, read_node_lists(records, n_faces, f"the faces of {of}"))


def polyhedra_of(counts: Integers, sizes: Integers, nodes: Integers, *, faces_suffice: bool) -> Cells:
    """Return polyhedra as cells.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_cells,)
        Number of faces of each polyhedron.
    sizes : ndarray of int64
        Number of points of each face.
    nodes : ndarray of int64
        Points of the faces, counted from 0.
    faces_suffice : bool
        Whether to leave out the list of points that VTK keeps for each cell in addition to its faces.
    """
    cell_offsets, face_offsets = offsets_of(counts), offsets_of(sizes)
    polyhedra = Polyhedra(cell_offsets, np.arange(len(sizes)), face_offsets, nodes)
    types = np.full(len(counts), POLYHEDRON, np.uint8)
    if faces_suffice and np.all(counts > 0):
        return Cells(types, np.zeros(len(counts) + 1, np.int64), np.empty(0, np.int64), polyhedra)
    owners = np.repeat(np.arange(len(counts)), np.diff(face_offsets[cell_offsets]))
    # As in VTK, list each point once, in the order in which the faces name the points.
    order = np.lexsort((nodes, owners))
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (np.diff(owners[order]) != 0) | (np.diff(nodes[order]) != 0)
    chosen = np.sort(order[is_first])
    return Cells(types, offsets_of(np.bincount(owners[chosen], minlength=len(counts))), nodes[chosen], polyhedra)


def offsets_of(sizes: NDArray[Any]) -> Integers:
    """Return the start of each list from the sizes of the lists, and the end of the last one."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _sum(records: Records, start: int, count: int, of: str) -> tuple[int, Integers]:
    """Return the sum of `count` numbers, and the sum before every `_MARK_EVERY`-th number."""
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
    """Return the numbers `start` to `stop`, and the sum of all numbers before them."""
    if start == stop:
        return np.empty(0, np.int64), 0
    mark = start // _MARK_EVERY
    first = mark * _MARK_EVERY
    numbers = file.values(at + first * VALUE_BYTES, stop - first, f"{order}i4").astype(np.int64)
    return numbers[start - first :], int(marks[mark] + numbers[: start - first].sum())
