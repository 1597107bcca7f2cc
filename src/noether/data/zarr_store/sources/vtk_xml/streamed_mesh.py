"""An open VTK XML file, whose arrays are read lazily."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.byte_source import ByteSource
from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.steps import Steps
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError, NotStreamedError
from noether.data.zarr_store.sources.streamed_part import StreamedPart
from noether.data.zarr_store.sources.vtk_xml.document import ArrayHead, Piece, read_document
from noether.data.zarr_store.sources.vtk_xml.tags import read_tags
from noether.data.zarr_store.sources.vtk_xml.xml_piece import DATA_SECTIONS, XmlPiece

__all__ = ["StreamedMesh"]


class StreamedMesh:
    """An unstructured grid or a surface of polygons, in one file or in several files of pieces.

    Parameters
    ----------
    files : sequence of ByteSource
        The file, or the files of its pieces in order.
    name : str
        Name of the file without its suffix.
    where : str
        Sample and file; errors begin with it.
    way_out : str
        Remedy for a file that cannot be read; errors end with it.
    summary : ByteSource, optional
        The file that names the pieces. Only the arrays that it lists are read.

    Attributes
    ----------
    names : dict of {"cell", "point"} to list of str
        Names of arrays by association.
    is_surface : bool
        Whether the file is PolyData.
    steps : Steps
        No steps: a file with time steps raises `NotStreamedError`.
    step : None
        The file has no steps.

    Raises
    ------
    NotStreamedError
        Only VTK's reader supports the file.
    """

    def __init__(
        self,
        files: Sequence[ByteSource],
        name: str,
        where: str,
        way_out: str,
        summary: ByteSource | None = None,
    ) -> None:
        self._name, self._where, self._way_out = name, where, way_out
        self.steps = Steps()
        self.step: int | None = None
        try:
            documents = [read_document(file) for file in files]
            listed = None if summary is None else _listed_arrays(summary)
        except ValueError as error:  # VTK either reports the same damage, or can read the file
            raise NotStreamedError(str(error)) from error
        self._pieces = [(one, piece) for one in documents for piece in one.pieces if piece.n_points or piece.n_cells]
        if not self._pieces:
            raise NotStreamedError("it has no cells and no points")
        self.is_surface = documents[0].is_surface
        if any(one.is_surface != self.is_surface for one in documents):
            raise NotStreamedError("its pieces mix grids and surfaces")
        first = self._pieces[0][1]
        _require_same_arrays(first, [piece for _, piece in self._pieces])
        self.names: dict[Association, list[str]] = {
            of: [
                array
                for array in (*first.arrays[section], *sorted(first.unread[section]))
                if listed is None or array in listed[section]
            ]
            for of, section in DATA_SECTIONS.items()
        }
        if any(GHOST_ARRAYS[1] in arrays for arrays in self.names.values()):
            raise NotStreamedError("its ghosts have the format of VTK 6 and older")
        _require_read(first, dict.fromkeys(DATA_SECTIONS, GHOST_ARRAYS))

    def read(self, wanted: Mapping[Association, Collection[str]]) -> list[StreamedPart]:
        """Open the `wanted` arrays, given by association.

        Raises
        ------
        NotStreamedError
            Only VTK's reader supports one of the arrays.
        SourceError
            An array is damaged.
        """
        chosen = {of: [name for name in names if name in wanted[of]] for of, names in self.names.items()}
        _require_read(self._pieces[0][1], chosen)
        try:
            pieces = [XmlPiece(document, piece) for document, piece in self._pieces]
            return [StreamedPart(self._name, pieces, chosen, self._where, self._way_out)]
        except DamagedArrayError as error:
            raise SourceError(f"{self._where} cannot be read ({error}); {self._way_out}") from error


def _require_read(piece: Piece, wanted: Mapping[Association, Collection[str]]) -> None:
    for of, names in wanted.items():
        for name in piece.unread[DATA_SECTIONS[of]].intersection(names):
            raise NotStreamedError(f"array {name!r} does not hold numbers of whole bytes")


def _require_same_arrays(first: Piece, pieces: Sequence[Piece]) -> None:
    def kinds(arrays: Mapping[str, ArrayHead]) -> dict[str, Any]:
        return {name: (head.dtype, head.width) for name, head in arrays.items()}

    for piece in pieces:
        for section in (*DATA_SECTIONS.values(), "Points"):
            are_same = kinds(piece.arrays[section]) == kinds(first.arrays[section])
            if not are_same or piece.unread[section] != first.unread[section]:
                raise NotStreamedError(f"its pieces differ in their {section}")


def _listed_arrays(summary: ByteSource) -> dict[str, set[str]]:
    """Return the names of the arrays that a file lists for all its pieces, by section."""
    listed: dict[str, set[str]] = {section: set() for section in DATA_SECTIONS.values()}
    section = ""
    for tag in read_tags(summary):
        if tag.name.removeprefix("P") in listed:
            section = tag.name.removeprefix("P") if tag.opens and not tag.closes else ""
        elif section and tag.opens and tag.name in ("PDataArray", "DataArray"):
            listed[section].add(tag.attributes.get("Name", ""))
    return listed
