"""The cells of a piece of a VTK file, read in blocks."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import POLYHEDRON, Cells, Polyhedra, join_ranges
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError, NotStreamedError
from noether.data.zarr_store.sources.vtk_xml.array_values import ArrayValues, open_array
from noether.data.zarr_store.sources.vtk_xml.document import Document, Piece
from noether.data.zarr_store.sources.vtk_xml.face_streams import split_face_stream

__all__ = ["XmlCells"]

# Arrays of the faces of polyhedra: in version 2.3 of the file format and later, and in earlier versions.
_FACE_ARRAYS = ("polyhedron_offsets", "polyhedron_to_faces", "face_offsets", "face_connectivity")
_FACE_STREAM = ("faceoffsets", "faces")
_BY_CELL = ("types", "offsets", _FACE_ARRAYS[0], _FACE_STREAM[0])
_TRIANGLE, _QUAD, _POLYGON = 5, 9, 7
# Limit for the numbers in a block of cells. Cells of a solver stay far below; forged cells could fill the memory.
_MAX_NUMBERS = 1 << 26
# The faces of neighbouring cells usually lie close together, and are read as one range. If the range is larger than
# this many times the number of faces, each face is looked up.
_MOST_SPREAD = 4
_BLOCK_CELLS = 1 << 16

Integers = NDArray[np.int64]


class XmlCells:
    """The cells of a piece. Safe to use from many threads.

    Parameters
    ----------
    document : Document
        The file.
    piece : Piece
        Piece of the file.

    Raises
    ------
    NotStreamedError
        The piece lacks an array of the cells. Raised by the methods if a block of an array is too large.
    DamagedArrayError
        Raised by all methods: offsets do not ascend, an offset exceeds its array, or an array is damaged.
    """

    def __init__(self, document: Document, piece: Piece) -> None:
        self._document = document
        self._heads = piece.arrays["Polys" if document.is_surface else "Cells"]
        self._n_cells = piece.n_cells
        self._arrays: dict[str, ArrayValues] = {}
        self._read: dict[str, NDArray[Any]] = {}
        self._opening = Lock()
        for name in self._needed_names():
            head = self._heads.get(name)
            if head is None or head.dtype.kind not in "iu" or head.width != 1:
                raise NotStreamedError(f"its cells have no array {name!r} of integers")

    def check(self) -> None:
        """Check that the file has the number of cells that its header states."""
        self._array("offsets" if self._document.is_surface else "types")

    def types(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Read VTK's types of the cells `start` to `stop`."""
        if self._document.is_surface:
            sizes = np.diff(_bounds(self._array("offsets"), start, stop))
            return np.where(sizes == 3, _TRIANGLE, np.where(sizes == 4, _QUAD, _POLYGON)).astype(np.uint8)
        return self._array("types").read(start, stop).astype(np.uint8)

    def read(self, start: int, stop: int, *, faces_suffice: bool = False) -> Cells:
        """Read the cells `start` to `stop`; their faces are numbered within this block.

        With `faces_suffice`, a block in which every cell has faces leaves out the list of points of each cell.
        """
        types = self.types(start, stop)
        polyhedra = self._polyhedra(types, start, stop)
        if faces_suffice and polyhedra is not None and np.all(np.diff(polyhedra.cell_offsets) > 0):
            return Cells(types, np.zeros(stop - start + 1, np.int64), np.empty(0, np.int64), polyhedra)
        return Cells(types, *_lists(self._array("offsets"), self._array("connectivity"), start, stop), polyhedra)

    def _array(self, name: str) -> ArrayValues:
        """Return an array of the cells; open it on first use."""
        with self._opening:
            if name not in self._arrays:
                n_rows = self._n_cells if name in _BY_CELL else None
                self._arrays[name] = open_array(self._document, self._heads[name], n_rows)
            return self._arrays[name]

    def _whole(self, name: str) -> NDArray[Any]:
        """Return all values of an array; read them on first use."""
        array = self._array(name)
        with self._opening:
            if name not in self._read:
                self._read[name] = array.whole()
            return self._read[name]

    def _needed_names(self) -> list[str]:
        names = ["offsets", "connectivity"] + ([] if self._document.is_surface else ["types"])
        for arrays in (_FACE_ARRAYS, _FACE_STREAM):
            names += arrays if arrays[0] in self._heads else ()
        return names

    def _polyhedra(self, types: NDArray[np.uint8], start: int, stop: int) -> Polyhedra | None:
        if not np.any(types == POLYHEDRON):
            return None
        if _FACE_ARRAYS[0] in self._heads:
            return self._numbered_faces(start, stop)
        if _FACE_STREAM[0] in self._heads:
            return self._streamed_faces(start, stop)
        return None

    def _numbered_faces(self, start: int, stop: int) -> Polyhedra:
        cell_ends, face_ids, face_ends, corners = map(self._array, _FACE_ARRAYS)
        cell_offsets, ids = _lists(cell_ends, face_ids, start, stop)
        if len(ids) == 0:
            return Polyhedra(cell_offsets, ids, np.zeros(1, np.int64), ids)
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= len(face_ends):
            wrong = low if low < 0 else high
            raise DamagedArrayError(f"array {face_ids.name!r}: it names face {wrong}; there are {len(face_ends):,}")
        if high - low < _MOST_SPREAD * len(ids):
            return Polyhedra(cell_offsets, ids - low, *_lists(face_ends, corners, low, high + 1))
        chosen, places = np.unique(ids, return_inverse=True)
        all_ends, all_corners = map(self._whole, _FACE_ARRAYS[2:])
        stops = all_ends[chosen].astype(np.int64)
        starts = np.where(chosen > 0, all_ends[chosen - 1], 0).astype(np.int64)
        _require_ascending(face_ends.name, starts, stops, len(all_corners))
        offsets = np.concatenate([[0], np.cumsum(stops - starts)])
        _require_few(corners.name, int(offsets[-1]))
        listed = all_corners[join_ranges(starts, stops - starts)]
        return Polyhedra(cell_offsets, places, offsets, listed.astype(np.int64))

    def _streamed_faces(self, start: int, stop: int) -> Polyhedra:
        cell_ends, faces = map(self._array, _FACE_STREAM)
        ends = cell_ends.read(start, stop).astype(np.int64)
        has_faces = ends >= 0
        starts = np.concatenate([[self._end_before(start)], ends[has_faces]])
        _require_ascending(cell_ends.name, starts[:-1], starts[1:], len(faces))
        _require_few(faces.name, int(starts[-1] - starts[0]))
        numbers = faces.read(int(starts[0]), int(starts[-1])).astype(np.int64)
        return split_face_stream(numbers, starts - starts[0], has_faces, faces.name)

    def _end_before(self, cell: int) -> int:
        """Return the offset at which the faces of the last polyhedron before a cell end."""
        cell_ends = self._array(_FACE_STREAM[0])
        for stop in range(cell, 0, -_BLOCK_CELLS):
            ends = cell_ends.read(max(stop - _BLOCK_CELLS, 0), stop)
            last = np.flatnonzero(ends.astype(np.int64) >= 0)
            if len(last):
                return int(ends[last[-1]])
        return 0


def _lists(ends: ArrayValues, numbers: ArrayValues, start: int, stop: int) -> tuple[Integers, Integers]:
    """Return the offsets, starting at 0, and the numbers of the lists `start` to `stop`.

    Parameters
    ----------
    ends : ArrayValues
        End of each list in `numbers`.
    numbers : ArrayValues
        Numbers of all lists.
    start, stop : int
        Range of lists.
    """
    bounds = _bounds(ends, start, stop)
    _require_ascending(ends.name, bounds[:-1], bounds[1:], len(numbers))
    begin, end = int(bounds[0]), int(bounds[-1])
    _require_few(numbers.name, end - begin)
    return bounds - begin, numbers.read(begin, end).astype(np.int64, copy=False)


def _bounds(ends: ArrayValues, start: int, stop: int) -> Integers:
    """Return the start of each of the lists `start` to `stop`, and the end of the last one."""
    before = ends.read(start - 1, start) if start else np.zeros(1, ends.dtype)
    return np.concatenate([before, ends.read(start, stop)]).astype(np.int64)


def _require_ascending(name: str, starts: Integers, stops: Integers, limit: int) -> None:
    wrong = (starts < 0) | (stops < starts) | (stops > limit)
    if np.any(wrong):
        at = int(np.argmax(wrong))
        raise DamagedArrayError(
            f"array {name!r}: a list goes from {starts[at]:,} to {stops[at]:,}; there are {limit:,} numbers"
        )


def _require_few(name: str, count: int) -> None:
    if count > _MAX_NUMBERS:
        raise DamagedArrayError(
            f"array {name!r}: a block of cells has {count:,} numbers; expected at most {_MAX_NUMBERS:,}"
        )
