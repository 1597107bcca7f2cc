"""The mesh of VTK files in XML, whose arrays are read when they are sliced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import run_in_order
from noether.data.zarr_store.errors import SourceError, StoreError
from noether.data.zarr_store.sources.cells import Cells, UnsoundCellError, joined_cells
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS, own_cells, own_points
from noether.data.zarr_store.sources.lazy_arrays import ReadArray, joined, read_threads
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.mesh_part import Mask, MeshPart
from noether.data.zarr_store.sources.vtk_xml.array_bytes import DamagedArrayError
from noether.data.zarr_store.sources.vtk_xml.array_values import ArrayValues, open_array
from noether.data.zarr_store.sources.vtk_xml.document import Document, NotStreamedError, Piece
from noether.data.zarr_store.sources.vtk_xml.piece_cells import PieceCells

__all__ = ["DATA_SECTIONS", "StreamedPart", "StreamedPiece"]

# Gives rows from a first one to one before another.
Read = Callable[[int, int], NDArray[Any]]

# What a thread decodes at once.
_STEP_BYTES = 2 << 20
_STEP_CELLS = 1 << 15
# A request takes as long for more.
_FAR_STEPS = 4
DATA_SECTIONS: dict[Association, str] = {"cell": "CellData", "point": "PointData"}
"""Where a piece has its arrays of cells, and of points."""


@contextmanager
def _damage_reported(where: str, way_out: str) -> Iterator[None]:
    """Raise `SourceError`, which names sample and file, where a file is damaged."""
    try:
        yield
    except StoreError:
        raise
    except (DamagedArrayError, UnsoundCellError, NotStreamedError, OSError) as error:
        raise SourceError(f"{where} cannot be read ({error}); {way_out}") from error


class StreamedPiece:
    """One piece of a file.

    Parameters
    ----------
    document : Document
        The file.
    piece : Piece
        Which of its pieces.

    Raises
    ------
    NotStreamedError
        It lacks an array, or has one in a form that is not known; so do the methods.
    DamagedArrayError
        An array is damaged; so do the methods.
    """

    def __init__(self, document: Document, piece: Piece) -> None:
        heads = list(piece.arrays["Points"].values())
        if len(heads) != 1 or heads[0].width != 3:
            raise NotStreamedError("expected one array of points, with three coordinates")
        self.n_points, self.n_cells = piece.n_points, piece.n_cells
        self.is_far = document.source.is_far
        self.cells = PieceCells(document, piece)
        self._document = document
        self._arrays = piece.arrays
        self._points = open_array(document, heads[0], piece.n_points)
        self._whole_points: NDArray[Any] | None = None
        self._loading = Lock()

    @property
    def points_dtype(self) -> np.dtype[Any]:
        """Dtype of `points`: that of the file, or float64 where that has whole numbers."""
        return self._points.dtype if self._points.dtype.kind == "f" else np.dtype(np.float64)

    def points(self, start: int, stop: int) -> NDArray[Any]:
        """Read some points; shape ``(stop - start, 3)``."""
        return self._points.read(3 * start, 3 * stop).astype(self.points_dtype, copy=False).reshape(-1, 3)

    def all_points(self) -> NDArray[Any]:
        """Return all points, in memory or in a temporary file that is mapped."""
        with self._loading:  # threads that need them wait for the first
            if self._whole_points is None:
                self._whole_points = self._points.whole().astype(self.points_dtype, copy=False).reshape(-1, 3)
            return self._whole_points

    def centers(self, start: int, stop: int) -> NDArray[Any]:
        """Compute the centres of some cells."""
        try:
            return cell_centers(self.all_points(), self.cells.read(start, stop, faces_suffice=True))
        except UnsoundCellError as error:
            raise error.after(start) from error

    def blocks(self) -> Iterator[Cells]:
        """Yield all cells, a block at a time; the points that they name are there."""
        threads, starts = read_threads(), range(0, self.n_cells, _STEP_CELLS)
        with ThreadPoolExecutor(threads, thread_name_prefix="noether-read") as pool:
            yield from run_in_order(pool, (partial(self._block, start) for start in starts), ahead=threads + 1)

    def _block(self, start: int) -> Cells:
        block = self.cells.read(start, min(start + _STEP_CELLS, self.n_cells))
        try:
            block.require_points_below(self.n_points)
        except UnsoundCellError as error:
            raise error.after(start) from error
        return block

    def open(self, association: Association, name: str) -> ArrayValues:
        """Open an array of its cells or points."""
        head = self._arrays[DATA_SECTIONS[association]][name]
        return open_array(self._document, head, self.n_cells if association == "cell" else self.n_points)

    def flags(self, association: Association) -> NDArray[Any] | None:
        """Read which cells or points are ghosts; None where the file does not say."""
        if GHOST_ARRAYS[0] not in self._arrays[DATA_SECTIONS[association]]:
            return None
        values = self.open(association, GHOST_ARRAYS[0])
        return values.read(0, len(values)) if values.width == 1 else None


class StreamedPart(MeshPart):
    """The mesh of a file, or of the files that a file names, as one part.

    Parameters
    ----------
    name : str
        Of the file, without its suffix.
    pieces : sequence of StreamedPiece
        One after the other.
    wanted : mapping of {"cell", "point"} to sequence of str
        Arrays by association; all pieces have them.
    where : str
        Names sample and file, to begin an error with.
    way_out : str
        What to do where it cannot be read, to end an error with.

    Raises
    ------
    DamagedArrayError, NotStreamedError
        From `open_array`, of an array that is wanted.
    SourceError
        From the methods: what they need is damaged.
    """

    def __init__(
        self,
        name: str,
        pieces: Sequence[StreamedPiece],
        wanted: Mapping[Association, Sequence[str]],
        where: str,
        way_out: str,
    ) -> None:
        self.name = name
        self._pieces = pieces
        self._is_far = any(piece.is_far for piece in pieces)
        self._reported = partial(_damage_reported, where, way_out)
        self.data = {of: {array: self._array(of, array) for array in arrays} for of, arrays in wanted.items()}

    def size(self, association: Association) -> int:
        return sum(self._sizes(association))

    @cached_property
    def points(self) -> NDArray[Any]:
        with self._reported():
            points = [piece.all_points() for piece in self._pieces]
        return points[0] if len(points) == 1 else np.concatenate(points)

    @cached_property
    def cells(self) -> Cells:
        with self._reported():
            firsts = np.cumsum([0, *(piece.n_points for piece in self._pieces)])
            return joined_cells(
                [(first, block) for first, piece in zip(firsts, self._pieces, strict=False) for block in piece.blocks()]
            )

    def own_mask(self, association: Association) -> Mask | None:
        return self._own_cells if association == "cell" else self._own_points

    def point_positions(self) -> Any:
        parts = [self._rows(n, 3, piece.points_dtype, piece.points) for piece, n in self._sized("point")]
        return self.without_ghosts("point", joined(parts))

    def cell_positions(self) -> Any:
        with self._reported():
            for piece in self._pieces:
                piece.cells.check()
        parts = [
            ReadArray((n, 3), piece.points_dtype, self._reporting(piece.centers), _STEP_CELLS)
            for piece, n in self._sized("cell")
        ]
        return self.without_ghosts("cell", joined(parts))

    def used_points(self) -> Mask:
        masks = []
        own, first = self.own_mask("cell"), 0
        with self._reported():
            for piece in self._pieces:
                mask = np.zeros(piece.n_points, np.bool_)
                for block in piece.blocks():
                    chosen = block if own is None else block.only(own[first : first + len(block)])
                    mask[chosen.connectivity] = True
                    first += len(block)
                masks.append(mask)
        return np.concatenate(masks)

    def own_types(self) -> NDArray[np.uint8]:
        return self._own_types

    def _sizes(self, association: Association) -> list[int]:
        return [piece.n_cells if association == "cell" else piece.n_points for piece in self._pieces]

    def _sized(self, association: Association) -> Iterator[tuple[StreamedPiece, int]]:
        return zip(self._pieces, self._sizes(association), strict=True)

    def _array(self, association: Association, name: str) -> Any:
        parts = []
        for piece, n_rows in self._sized(association):
            values = piece.open(association, name)
            width = values.width
            parts.append(self._rows(n_rows, width, values.dtype, partial(_rows_of, values)))
        return joined(parts)

    def _rows(self, n_rows: int, width: int, dtype: np.dtype[Any], read: Read) -> ReadArray:
        shape = (n_rows, width) if width > 1 else (n_rows,)
        step = _STEP_BYTES * (_FAR_STEPS if self._is_far else 1) // (width * dtype.itemsize)
        return ReadArray(shape, dtype, self._reporting(read), max(step, 1))

    def _reporting(self, read: Read) -> Read:
        def reporting(start: int, stop: int) -> NDArray[Any]:
            with self._reported():
                return read(start, stop)

        return reporting

    @cached_property
    def _own_types(self) -> NDArray[np.uint8]:
        found: set[int] = set()
        own, first = self.own_mask("cell"), 0
        with self._reported():
            for piece in self._pieces:
                for start in range(0, piece.n_cells, _STEP_CELLS):
                    types = piece.cells.types(start, min(start + _STEP_CELLS, piece.n_cells))
                    chosen = types if own is None else types[own[first : first + len(types)]]
                    found.update(np.flatnonzero(np.bincount(chosen)).tolist())
                    first += len(types)
        return np.array(sorted(found), np.uint8)

    @cached_property
    def _own_cells(self) -> Mask | None:
        with self._reported():
            masks = [own_cells(piece.flags("cell")) for piece in self._pieces]
        return _joined_masks(masks, self._sizes("cell"))

    @cached_property
    def _own_points(self) -> Mask | None:
        own, masks, first = self.own_mask("cell"), [], 0
        with self._reported():
            for piece in self._pieces:
                of_piece = None if own is None else own[first : first + piece.n_cells]
                masks.append(own_points(piece.flags("point"), piece.n_points, piece.blocks(), of_piece))
                first += piece.n_cells
        return _joined_masks(masks, self._sizes("point"))


def _rows_of(values: ArrayValues, start: int, stop: int) -> NDArray[Any]:
    rows = values.read(start * values.width, stop * values.width)
    return rows.reshape(-1, values.width) if values.width > 1 else rows


def _joined_masks(masks: Sequence[Mask | None], sizes: Sequence[int]) -> Mask | None:
    if all(mask is None for mask in masks):
        return None
    return np.concatenate(
        [np.ones(size, np.bool_) if mask is None else mask for mask, size in zip(masks, sizes, strict=True)]
    )
