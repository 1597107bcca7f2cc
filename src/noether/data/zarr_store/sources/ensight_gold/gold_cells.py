"""The elements of an EnSight part as cells, read in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import Cells, joined_cells
from noether.data.zarr_store.sources.ensight_gold.list_table import FaceLists, NodeLists, offsets_of, polyhedra_of
from noether.data.zarr_store.sources.ensight_gold.part_table import SIZES, TYPES, ElementBlock, Geometry, PartHead
from noether.data.zarr_store.sources.ensight_gold.records import VALUE_BYTES

__all__ = ["GoldCells"]

Integers = NDArray[np.int64]


class GoldCells:
    """The elements of an EnSight part without ghosts, in the order of the file. Safe to use from many threads.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the case.
    part : PartHead
        EnSight part of the geometry.

    Raises
    ------
    DamagedArrayError
        Raised by `read`: an element names a node that does not exist, or the file has become shorter.
    """

    def __init__(self, geometry: Geometry, part: PartHead) -> None:
        self._file, self._order, self._part = geometry.file, geometry.order, part
        self._firsts = offsets_of(np.array([block.count for block in part.blocks], np.int64)).tolist()

    def check(self) -> None:
        """No-op; `read_geometry` has already checked the number of elements."""

    def types(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return VTK's types of the cells `start` to `stop`."""
        types = [np.full(last - first, TYPES[block.kind], np.uint8) for block, first, last in self._within(start, stop)]
        return np.concatenate([np.empty(0, np.uint8), *types])

    def read(self, start: int, stop: int, *, faces_suffice: bool = False) -> Cells:
        """Read the cells `start` to `stop`.

        With `faces_suffice`, polyhedra have only faces and no list of points of the cell.
        """
        parts = [
            (0, self._read(block, first, last, faces_suffice=faces_suffice))
            for block, first, last in self._within(start, stop)
        ]
        return parts[0][1] if len(parts) == 1 else joined_cells(parts)

    def _within(self, start: int, stop: int) -> list[tuple[ElementBlock, int, int]]:
        """Return each block that holds some of the cells, with the range of these cells within the block."""
        bounds = zip(self._part.blocks, self._firsts, strict=False)
        within = [(block, max(start - first, 0), min(stop - first, block.count)) for block, first in bounds]
        return [one for one in within if one[1] < one[2]]

    def _read(self, block: ElementBlock, start: int, stop: int, *, faces_suffice: bool) -> Cells:
        types = np.full(stop - start, TYPES[block.kind], np.uint8)
        if isinstance(block.nodes, FaceLists):
            counts, sizes, nodes, at = block.nodes.read(self._file, self._order, start, stop)
            return polyhedra_of(counts, sizes, self._from_zero(block, nodes, at), faces_suffice=faces_suffice)
        if isinstance(block.nodes, NodeLists):
            sizes, nodes, at = block.nodes.read(self._file, self._order, start, stop)
            return Cells(types, offsets_of(sizes), self._from_zero(block, nodes, at))
        size = SIZES[block.kind]
        at = block.nodes + start * size * VALUE_BYTES
        numbers = self._file.values(at, (stop - start) * size, f"{self._order}i4").astype(np.int64)
        return Cells(types, np.arange(stop - start + 1) * size, self._from_zero(block, numbers, at))

    def _from_zero(self, block: ElementBlock, nodes: Integers, at: int) -> Integers:
        """Check that all nodes exist, and renumber them from 0, in place."""
        n_points = self._part.n_points
        if len(nodes) and (nodes.min() < 1 or nodes.max() > n_points):
            wrong = int(np.argmax((nodes < 1) | (nodes > n_points)))
            of = f"{block.kind} of {self._part.called()}"
            problem = f"{of} names node {nodes[wrong]:,}; the part has {n_points:,}"
            raise self._file.damaged(at + wrong * VALUE_BYTES, problem)
        nodes -= 1
        return nodes
