"""Read the headers of VTK XML files (``.vtu``, ``.vtp``): numbers of points and cells, and the arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from noether.data.zarr_store.sources.mapping import Association

__all__ = ["HEAD_SUFFIXES", "VtkHead", "read_vtk_head"]

HEAD_SUFFIXES = (".vtu", ".vtp")

# Solvers append the values, so that a header ends after a few kilobytes. If the values of an array follow its tag
# instead, arrays after this limit are not found.
_MAX_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 16
_MAX_TAG_BYTES = 1 << 14
_TAG = re.compile(rb"<(/?)([A-Za-z]\w*)([^<>]*)>")
_ATTRIBUTE = re.compile(rb"""(\w+)\s*=\s*["']([^"']*)["']""")
_COUNTS_OF_CELLS = ("NumberOfCells", "NumberOfPolys")
_COUNTS_OF_OTHERS = ("NumberOfVerts", "NumberOfLines", "NumberOfStrips")
_SECTIONS: dict[str, Association] = {"PointData": "point", "CellData": "cell"}
_POINTS = "Points"


@dataclass(slots=True)
class VtkHead:
    """The header of a file.

    Attributes
    ----------
    n_points, n_cells : int
        Numbers of points and cells of all pieces together.
    points_dtype : numpy.dtype
        Dtype of the coordinates.
    arrays : dict of {"cell", "point"} to dict of str to (numpy.dtype, int)
        Dtype and number of components, by association and name.
    is_whole : bool
        Whether the whole header was read, so that `arrays` is complete.
    is_appended : bool
        Whether the values of all arrays in `arrays` are stored after the header.
    has_other_cells : bool
        Whether the file has vertices, lines or strips in addition to polygons.
    """

    n_points: int = 0
    n_cells: int = 0
    points_dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    arrays: dict[Association, dict[str, tuple[np.dtype[Any], int]]] = field(
        default_factory=lambda: {"cell": {}, "point": {}}
    )
    is_whole: bool = False
    is_appended: bool = True
    has_other_cells: bool = False


def read_vtk_head(file: BinaryIO) -> VtkHead:
    """Read the header of a file. Raise `ValueError` if it is not a VTK header."""
    head, section, has_piece = VtkHead(), "", False
    for closes, name, attributes in _tags(file):
        if name == "Piece" and not closes:
            has_piece = True
            head.n_points += _count(attributes, "NumberOfPoints")
            head.n_cells += sum(_count(attributes, key) for key in (*_COUNTS_OF_CELLS, *_COUNTS_OF_OTHERS))
            head.has_other_cells |= any(_count(attributes, key) for key in _COUNTS_OF_OTHERS)
        elif name in {*_SECTIONS, _POINTS}:
            section = "" if closes else name
        elif name == "DataArray" and not closes and section:
            head.is_appended &= attributes.get("format") == "appended"
            dtype = _dtype_of(attributes["type"])
            if section == _POINTS:
                head.points_dtype = dtype
            else:
                width = int(attributes.get("NumberOfComponents") or 1)
                head.arrays[_SECTIONS[section]][attributes["Name"]] = (dtype, width)
        elif name == "AppendedData" or (name == "VTKFile" and closes):
            head.is_whole = True
            break
    if not has_piece:
        raise ValueError("it has no VTK header with points and cells")
    return head


def _dtype_of(kind: str) -> np.dtype[Any]:
    """Return the dtype of an array; uint8, as for bits in VTK, if its values are not numbers of whole bytes."""
    return np.dtype(kind.lower() if re.fullmatch(r"(U?Int|Float)\d+", kind) else np.uint8)


def _count(attributes: dict[str, str], key: str) -> int:
    count = int(attributes.get(key) or 0)
    if count < 0:
        raise ValueError(f"its {key} is {count}")
    return count


def _tags(file: BinaryIO) -> Iterator[tuple[bool, str, dict[str, str]]]:
    """Yield ``(closes, name, attributes)`` of each tag; skip the content between tags."""
    rest = b""
    for _ in range(0, _MAX_BYTES, _BLOCK_BYTES):
        block = file.read(_BLOCK_BYTES)
        text, end = rest + block, 0
        for tag in _TAG.finditer(text):
            end = tag.end()
            attributes = {key.decode(): value.decode(errors="replace") for key, value in _ATTRIBUTE.findall(tag[3])}
            yield bool(tag[1]), tag[2].decode(), attributes
        if not block:
            return
        # Keep the beginning of an incomplete tag, up to the largest size of a tag.
        begun = text.rfind(b"<", end)
        rest = text[begun:][:_MAX_TAG_BYTES] if begun >= 0 else b""
