"""A piece of a VTK XML file."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_part import Rows, StreamedPiece
from noether.data.zarr_store.sources.vtk_xml.array_values import ArrayValues, open_array
from noether.data.zarr_store.sources.vtk_xml.document import Document, Piece
from noether.data.zarr_store.sources.vtk_xml.xml_cells import XmlCells

__all__ = ["DATA_SECTIONS", "XmlPiece"]

DATA_SECTIONS: dict[Association, str] = {"cell": "CellData", "point": "PointData"}
"""Name of the section with the arrays of each association."""


class XmlPiece(StreamedPiece):
    """One piece of a file.

    Parameters
    ----------
    document : Document
        The file.
    piece : Piece
        Piece of the file.

    Raises
    ------
    NotStreamedError
        The piece lacks an array, or has an array in an unknown form. The methods raise it too.
    DamagedArrayError
        An array is damaged. The methods raise it too.
    """

    def __init__(self, document: Document, piece: Piece) -> None:
        heads = list(piece.arrays["Points"].values())
        if len(heads) != 1 or heads[0].width != 3:
            raise NotStreamedError("it does not have exactly one array of points with three coordinates")
        super().__init__(piece.n_points, piece.n_cells, XmlCells(document, piece), is_far=document.source.is_far)
        self._document = document
        self._arrays = piece.arrays
        self._points = open_array(document, heads[0], piece.n_points)

    @property
    def points_dtype(self) -> np.dtype[Any]:
        return self._points.dtype if self._points.dtype.kind == "f" else np.dtype(np.float64)

    def points(self, start: int, stop: int) -> NDArray[Any]:
        return self._points.read(3 * start, 3 * stop).astype(self.points_dtype, copy=False).reshape(-1, 3)

    def _read_all_points(self) -> NDArray[Any]:
        return self._points.whole().astype(self.points_dtype, copy=False).reshape(-1, 3)

    def open(self, association: Association, name: str) -> Rows:
        values = self._open(association, name)
        return Rows(values.width, values.dtype, partial(_rows_of, values))

    def flags(self, association: Association) -> NDArray[Any] | None:
        if GHOST_ARRAYS[0] not in self._arrays[DATA_SECTIONS[association]]:
            return None
        values = self._open(association, GHOST_ARRAYS[0])
        return values.read(0, len(values)) if values.width == 1 else None

    def _open(self, association: Association, name: str) -> ArrayValues:
        head = self._arrays[DATA_SECTIONS[association]][name]
        return open_array(self._document, head, self.n_cells if association == "cell" else self.n_points)


def _rows_of(values: ArrayValues, start: int, stop: int) -> NDArray[Any]:
    rows = values.read(start * values.width, stop * values.width)
    return rows.reshape(-1, values.width) if values.width > 1 else rows
