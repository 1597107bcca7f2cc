"""Meshes whose arrays are read lazily, when they are sliced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import run_in_order
from noether.data.zarr_store.errors import SourceError, StoreError
from noether.data.zarr_store.sources.cells import Cells, UnsoundCellError, joined_cells
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.ghosts import own_cells, own_points
from noether.data.zarr_store.sources.lazy_arrays import ReadArray, joined, read_threads
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.mesh_part import Mask, MeshPart
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError, NotStreamedError

__all__ = ["PieceCells", "Rows", "StreamedPart", "StreamedPiece"]

# Returns the rows from `start` to `stop`.
Read = Callable[[int, int], NDArray[Any]]

# Amount that a thread decodes at once.
_STEP_BYTES = 2 << 20
_STEP_CELLS = 1 << 15
# Steps per request to another machine: latency dominates, so a larger request takes about as long.
_FAR_STEPS = 4


@contextmanager
def _damage_reported(where: str, way_out: str) -> Iterator[None]:
    """Raise errors about a damaged file as `SourceError` with the sample and the file."""
    try:
        yield
    except StoreError:
        raise
    except (DamagedArrayError, UnsoundCellError, NotStreamedError, OSError) as error:
        raise SourceError(f"{where} cannot be read ({error}); {way_out}") from error


class PieceCells(Protocol):
    """The cells of a piece. Safe to use from many threads."""

    def check(self) -> None:
        """Raise `DamagedArrayError` if the file does not have the number of cells that its header states."""

    def types(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return VTK's types of the cells `start` to `stop`."""

    def read(self, start: int, stop: int, *, faces_suffice: bool = False) -> Cells:
        """Read the cells `start` to `stop`. With `faces_suffice`, polyhedra may lack the list of points of the cell."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an array, which are read lazily.

    Attributes
    ----------
    width : int
        Number of values per row.
    dtype : numpy.dtype
        Dtype of the values.
    read : callable
        Function that returns the rows from `start` to `stop`; shape ``(n,)`` or ``(n, width)``. Many threads call it.
    """

    width: int
    dtype: np.dtype[Any]
    read: Read


class StreamedPiece:
    """A mesh, or one piece of a mesh, whose arrays are read lazily.

    Parameters
    ----------
    n_points, n_cells : int
        Numbers of points and cells.
    cells : PieceCells
        Cells of the piece.
    is_far : bool
        Whether each read is a request to another machine.

    Raises
    ------
    DamagedArrayError, NotStreamedError
        Raised by the methods: an array is damaged, or has an unknown form.
    """

    def __init__(self, n_points: int, n_cells: int, cells: PieceCells, *, is_far: bool) -> None:
        self.n_points, self.n_cells, self.cells, self.is_far = n_points, n_cells, cells, is_far
        self._whole_points: NDArray[Any] | None = None
        self._loading = Lock()

    @property
    def points_dtype(self) -> np.dtype[Any]:
        """Dtype of `points`: the dtype of the file, or float64 if the file has integers."""
        raise NotImplementedError

    def points(self, start: int, stop: int) -> NDArray[Any]:
        """Read the points `start` to `stop`; shape ``(stop - start, 3)``."""
        raise NotImplementedError

    def open(self, association: Association, name: str) -> Rows:
        """Open an array of cell or point data."""
        raise NotImplementedError

    def flags(self, association: Association) -> NDArray[Any] | None:
        """Read the ghost flags of the cells or points; None if the file has no flags."""
        raise NotImplementedError

    def _read_all_points(self) -> NDArray[Any]:
        raise NotImplementedError

    def all_points(self) -> NDArray[Any]:
        """Return all points, in memory or in a memory-mapped temporary file."""
        with self._loading:  # the first thread reads, and the others wait
            if self._whole_points is None:
                self._whole_points = self._read_all_points()
            return self._whole_points

    def centers(self, start: int, stop: int) -> NDArray[Any]:
        """Compute the centres of the cells `start` to `stop`."""
        try:
            return cell_centers(self.all_points(), self.cells.read(start, stop, faces_suffice=True))
        except UnsoundCellError as error:
            raise error.after(start) from error

    def blocks(self) -> Iterator[Cells]:
        """Yield all cells in blocks; check that each block names only existing points."""
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


class StreamedPart(MeshPart):
    """A part of a mesh, in one piece or several.

    Parameters
    ----------
    name : str
        Name of the part.
    pieces : sequence of StreamedPiece
        Pieces in order.
    wanted : mapping of {"cell", "point"} to sequence of str
        Arrays to open, by association; every piece must have them.
    where : str
        Sample and file; errors begin with it.
    way_out : str
        Remedy for a file that cannot be read; errors end with it.

    Raises
    ------
    DamagedArrayError, NotStreamedError
        Raised by `StreamedPiece.open` for one of the `wanted` arrays.
    SourceError
        Raised by the methods: an array that they read is damaged.
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
            rows = piece.open(association, name)
            parts.append(self._rows(n_rows, rows.width, rows.dtype, rows.read))
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


def _joined_masks(masks: Sequence[Mask | None], sizes: Sequence[int]) -> Mask | None:
    if all(mask is None for mask in masks):
        return None
    return np.concatenate(
        [np.ones(size, np.bool_) if mask is None else mask for mask, size in zip(masks, sizes, strict=True)]
    )
