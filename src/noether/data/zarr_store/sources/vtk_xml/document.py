"""The content of a VTK XML file: its pieces, their arrays, and the offsets of the arrays' values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noether.data.zarr_store.sources.byte_source import ByteSource
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.vtk_xml.compression import Compression
from noether.data.zarr_store.sources.vtk_xml.tags import Tag, read_tags

__all__ = ["ArrayHead", "Document", "Piece", "read_document"]

_COMPRESSORS: dict[str, Compression] = {
    "vtkZLibDataCompressor": "zlib",
    "vtkLZ4DataCompressor": "lz4",
    "vtkLZMADataCompressor": "lzma",
}
_ORDERS = {"LittleEndian": "<", "BigEndian": ">"}
_DTYPES = {
    f"{kind}Int{bits}": f"{code}{bits // 8}" for kind, code in (("", "i"), ("U", "u")) for bits in (8, 16, 32, 64)
}
_DTYPES |= {"Float32": "f4", "Float64": "f8"}
_DATA_SECTIONS = ("PointData", "CellData")
_SECTIONS = (*_DATA_SECTIONS, "Points", "Cells", "Polys")
# Cells of PolyData that are not faces. VTK orders their data in its own way.
_OTHER_CELLS = ("NumberOfVerts", "NumberOfLines", "NumberOfStrips")
_MAX_COUNT = 1 << 48


@dataclass(frozen=True, slots=True)
class ArrayHead:
    """Description of an array: the kind of its values, and their offsets.

    Attributes
    ----------
    name : str
        Name of the array.
    dtype : numpy.dtype
        Dtype in the file, with the byte order of the file.
    width : int
        Number of values per row.
    is_text : bool
        Whether the values are decimal numbers.
    is_base64 : bool
        Whether the bytes of the values are encoded in base64.
    start : int
        Offset of the values in the file.
    stop : int
        Upper limit of the end of the values in the file.
    """

    name: str
    dtype: np.dtype[Any]
    width: int
    is_text: bool
    is_base64: bool
    start: int
    stop: int


@dataclass(slots=True)
class Piece:
    """One piece of a mesh. Its points are numbered from 0.

    Attributes
    ----------
    n_points, n_cells : int
        Numbers of points and cells.
    arrays : dict of str to dict of str to ArrayHead
        Arrays by section (``"PointData"``, ``"CellData"``, ``"Points"``, ``"Cells"`` or ``"Polys"``) and name.
    unread : dict of str to set of str
        Names of the arrays of bits, text and the like, by section. Only VTK reads them.
    """

    n_points: int
    n_cells: int
    arrays: dict[str, dict[str, ArrayHead]] = field(default_factory=lambda: {section: {} for section in _SECTIONS})
    unread: dict[str, set[str]] = field(default_factory=lambda: {section: set() for section in _SECTIONS})


@dataclass(frozen=True, slots=True)
class Document:
    """A VTK XML file.

    Attributes
    ----------
    source : ByteSource
        Bytes of the file.
    is_surface : bool
        True for PolyData that has only polygons, False for an unstructured grid.
    header : numpy.dtype
        Dtype of the numbers in the headers of arrays.
    compression : {"zlib", "lz4", "lzma"} or None
        Compression of the values.
    pieces : list of Piece
        Pieces in the order of the file.
    """

    source: ByteSource
    is_surface: bool
    header: np.dtype[Any]
    compression: Compression | None
    pieces: list[Piece]


def read_document(source: ByteSource) -> Document:
    """Read the tags of a file; return its pieces, with the offsets of their arrays.

    Parameters
    ----------
    source : ByteSource
        Bytes of the file.

    Raises
    ------
    NotStreamedError
        The file is neither an unstructured grid nor a surface of polygons, has several time steps, or has arrays in
        an unknown form. Or the file is on another machine and has values between its tags: the search for tags
        would read all of them.
    ValueError
        The file is damaged.
    """
    tags = read_tags(source)
    root = next((tag for tag in tags if tag.name == "VTKFile"), None)
    if root is None or root.attributes.get("type") not in ("UnstructuredGrid", "PolyData"):
        raise NotStreamedError("it is neither an unstructured grid nor PolyData")
    order = _ORDERS.get(root.attributes.get("byte_order", "LittleEndian"))
    compressor, header = root.attributes.get("compressor"), root.attributes.get("header_type", "UInt32")
    if order is None or header not in ("UInt32", "UInt64") or (compressor and compressor not in _COMPRESSORS):
        raise NotStreamedError(f"its encoding is unknown: {root.attributes}")
    scan = _Scan(source, order)
    scan.run(tags)
    return Document(
        source,
        root.attributes["type"] == "PolyData",
        np.dtype(order + _DTYPES[header]),
        _COMPRESSORS[compressor] if compressor else None,
        scan.pieces,
    )


class _Scan:
    """Collects the pieces of a file from its tags."""

    def __init__(self, source: ByteSource, order: str) -> None:
        self.pieces: list[Piece] = []
        self._source = source
        self._order = order
        self._section = ""
        # An inline array whose values end at the next tag.
        self._open: tuple[Piece, str, ArrayHead] | None = None
        # Arrays at an offset in the appended data, which follows all other tags.
        self._appended: list[tuple[Piece, str, ArrayHead]] = []

    def run(self, tags: Iterator[Tag]) -> None:
        """Process all tags up to the appended data, or to the end of the file."""
        has_ended = False
        for tag in tags:
            self._end_inline(tag)
            if tag.name == "Piece" and tag.opens:
                self.pieces.append(_piece_of(tag))
            elif tag.name in _SECTIONS and self.pieces:
                self._section = tag.name if tag.opens and not tag.closes else ""
            elif tag.name == "DataArray" and tag.opens and self._section:
                self._take_array(tag)
            elif tag.name == "AppendedData" and tag.opens:
                self._place_appended(tag)
                has_ended = True
                break
            has_ended = tag.name == "VTKFile" and tag.closes
        if not has_ended or self._appended:
            raise ValueError("it ends early")
        if not self.pieces:
            raise ValueError("it has no piece")

    def _take_array(self, tag: Tag) -> None:
        said = tag.attributes
        form, kind = said.get("format", "ascii"), said.get("type", "")
        name = said.get("Name", "") or self._section
        if kind not in _DTYPES and self._section in _DATA_SECTIONS and "TimeStep" not in said:
            self.pieces[-1].unread[self._section].add(name)
            return
        if "TimeStep" in said or kind not in _DTYPES or form not in ("ascii", "binary", "appended"):
            raise NotStreamedError(f"it has an array of an unknown form: {said}")
        head = ArrayHead(
            name,
            np.dtype(self._order + _DTYPES[kind]),
            max(_count(said, "NumberOfComponents"), 1),
            is_text=form == "ascii",
            is_base64=form == "binary",
            start=tag.stop,
            stop=tag.stop,
        )
        piece = self.pieces[-1]
        if name in piece.arrays[self._section]:
            raise NotStreamedError(f"it has two arrays {name!r}")
        piece.arrays[self._section][name] = head
        if form == "appended":
            at = _count(said, "offset")
            self._appended.append((piece, self._section, _moved(head, at, at)))
        elif self._source.is_far:
            raise NotStreamedError("its values are stored between its tags")
        elif not tag.closes:
            self._open = (piece, self._section, head)

    def _end_inline(self, tag: Tag) -> None:
        if self._open is not None:
            piece, section, head = self._open
            piece.arrays[section][head.name] = _moved(head, head.start, tag.start)
            self._open = None

    def _place_appended(self, tag: Tag) -> None:
        encoding = tag.attributes.get("encoding", "base64")
        if encoding not in ("raw", "base64"):
            raise NotStreamedError(f"its encoding {encoding!r} is unknown")
        head = bytes(self._source.read(tag.stop, min(tag.stop + 4096, self._source.size)))
        mark = len(head) - len(head.lstrip())
        if head[mark : mark + 1] != b"_":
            raise ValueError(f"its appended data at byte {tag.stop:,} do not begin with an underscore")
        first = tag.stop + mark + 1
        for piece, section, array in self._appended:
            placed = _moved(array, first + array.start, self._source.size, is_base64=encoding == "base64")
            piece.arrays[section][array.name] = placed
        self._appended = []


def _moved(head: ArrayHead, start: int, stop: int, *, is_base64: bool | None = None) -> ArrayHead:
    encoded = head.is_base64 if is_base64 is None else is_base64
    return ArrayHead(head.name, head.dtype, head.width, head.is_text, encoded, start, stop)


def _piece_of(tag: Tag) -> Piece:
    if any(_count(tag.attributes, key) for key in _OTHER_CELLS):
        raise NotStreamedError("it has vertices, lines or strips beside polygons")
    n_cells = _count(tag.attributes, "NumberOfCells") + _count(tag.attributes, "NumberOfPolys")
    return Piece(_count(tag.attributes, "NumberOfPoints"), n_cells)


def _count(attributes: dict[str, str], key: str) -> int:
    text = attributes.get(key) or "0"
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not 0 <= count < _MAX_COUNT:
        raise ValueError(f"its {key} is {text[:40]!r}")
    return count
