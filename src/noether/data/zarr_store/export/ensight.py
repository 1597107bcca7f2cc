"""A writer of EnSight Gold: a case with its geometry and variables, as C binary files.

The format is described in the EnSight User Manual, chapter "EnSight Gold Casefile Format". VTK has a writer, too, but
it renames the variables and loses the names of the EnSight parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import MeshError
from noether.data.zarr_store.export.meshes import ASSOCIATIONS, Association, Part, as_unstructured, ragged

__all__ = ["write_case"]

# EnSight's element name of each VTK cell type; both formats list the points of a cell in the same order.
_ELEMENTS = {
    1: "point",
    3: "bar2",
    5: "tria3",
    7: "nsided",
    9: "quad4",
    10: "tetra4",
    12: "hexa8",
    13: "penta6",
    14: "pyramid5",
    42: "nfaced",
}
_POLYGON, _POLYHEDRON = 7, 42
_KINDS = {1: "scalar", 3: "vector"}
_PER = {"cell": "element", "point": "node"}
_MAX_TEXT = 79  # a line has 80 bytes, and readers expect a terminating zero byte


@dataclass(frozen=True, slots=True)
class _Elements:
    """The cells of one type in an EnSight part, which the format stores together."""

    kind: int
    cells: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """An EnSight part, with its number in the files and its cells by type."""

    number: int
    part: Part
    elements: list[_Elements]


@dataclass(frozen=True, slots=True)
class _Variable:
    """An array over the cells or points of some EnSight parts."""

    name: str
    association: Association
    width: int
    values: list[tuple[_Piece, NDArray[np.float32]]]


def write_case(
    parts: Sequence[Part], exported: Collection[str], association: Association, directory: Path, reference: str
) -> tuple[str, list[str]]:
    """Write the geometry and variables of a case, and return the text of the case file.

    Values and coordinates are rounded to single precision, the only precision of EnSight. The cells of a part are
    sorted by type; the types keep the order of their first appearance.

    Parameters
    ----------
    parts : sequence of Part
        The mesh, with all its arrays.
    exported : collection of str
        Names of the arrays that must be written; other arrays are left out if EnSight cannot hold them.
    association : {"cell", "point"}
        Whether `exported` are arrays over cells or points.
    directory : path
        Directory to create and fill.
    reference : str
        Path of the directory in the case file.

    Returns
    -------
    text : str
        Text of the case file.
    left_out : list of str
        Arrays of the mesh that EnSight cannot hold, each with the reason.

    Raises
    ------
    MeshError
        EnSight cannot hold a cell type of the mesh, or an array in `exported`.
    """
    pieces = [_Piece(number, part, _elements(part)) for number, part in enumerate(parts, start=1)]
    variables, left_out = _variables(pieces, exported, association)
    directory.mkdir()
    with (directory / "geometry").open("wb") as file:
        _write_geometry(file, pieces)
    lines = ["FORMAT", "type: ensight gold", "", "GEOMETRY", f"model: {reference}/geometry", "", "VARIABLE"]
    for number, variable in enumerate(variables, start=1):
        with (directory / f"variable_{number}").open("wb") as file:
            _write_variable(file, variable)
        kind = f"{_KINDS[variable.width]} per {_PER[variable.association]}"
        lines.append(f"{kind}: {variable.name} {reference}/variable_{number}")
    return "\n".join([*lines, ""]), left_out


def _elements(part: Part) -> list[_Elements]:
    kinds = as_unstructured(part.grid).celltypes
    present, first = np.unique(kinds, return_index=True)
    unknown = [int(kind) for kind in present if kind not in _ELEMENTS]
    if unknown:
        raise MeshError(f"part {part.name!r}: EnSight cannot hold the VTK cell types {unknown}; write a .vtu")
    return [_Elements(int(kind), np.flatnonzero(kinds == kind)) for kind in present[np.argsort(first)]]


def _variables(
    pieces: Sequence[_Piece], exported: Collection[str], association: Association
) -> tuple[list[_Variable], list[str]]:
    """Return the arrays that EnSight can hold, exported arrays first, and the reason for each other array."""
    found = dict.fromkeys((association, name) for name in exported)
    for one in ASSOCIATIONS:
        found |= dict.fromkeys((one, name) for piece in pieces for name in piece.part.data(one))
    variables: dict[str, _Variable] = {}
    left_out = []
    for one, name in found:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:_MAX_TEXT]
        if plain in variables:  # meshes often have an array of the same name over cells and over points
            plain = f"{plain[: _MAX_TEXT - len(one) - 1]}_{one}"
        arrays = [(piece, np.asarray(piece.part.data(one)[name])) for piece in pieces if name in piece.part.data(one)]
        required = one == association and name in exported
        if required and plain != name:
            why = "names in EnSight have only ASCII letters, digits and _"
        elif plain in variables:
            why = "another array has its name"
        else:
            why = _why_not([array for _, array in arrays])
        if why and required:
            raise MeshError(f"array {name}: an EnSight case cannot hold it ({why}); write a .vtu")
        if why:
            left_out.append(f"{one} data {name}: {why}")
            continue
        values = [(piece, array.reshape(len(array), -1).astype(np.float32, copy=False)) for piece, array in arrays]
        variables[plain] = _Variable(plain, one, values[0][1].shape[1], values)
    return list(variables.values()), left_out


def _why_not(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the reason why EnSight cannot hold an array, whose pieces are passed; empty if it can."""
    widths = {array.reshape(len(array), -1).shape[1] for array in arrays}
    if len(widths) > 1 or not widths <= _KINDS.keys():
        return f"it has {' and '.join(map(str, sorted(widths)))} components, and EnSight has only 1 or 3"
    for array in arrays:
        if array.dtype.kind not in "fiu":
            return f"it has the dtype {array.dtype}, and EnSight has only numbers"
        with np.errstate(over="ignore"):
            overflows = np.isinf(array.astype(np.float32)) & np.isfinite(array)
        if overflows.any():
            return "it has values beyond the range of float32"
    return ""


def _write_geometry(file: BinaryIO, pieces: Iterable[_Piece]) -> None:
    for line in ("C Binary", "written by noether-zarr", "", "node id off", "element id off"):
        _write_text(file, line)
    for piece in pieces:
        _write_text(file, "part")
        _write_ints(file, [piece.number])
        _write_text(file, piece.part.name)
        points = np.asarray(piece.part.grid.points)
        _write_text(file, "coordinates")
        _write_ints(file, [len(points)])
        _write_columns(file, points)
        for elements in piece.elements:
            _write_elements(file, piece.part, elements)


def _write_elements(file: BinaryIO, part: Part, elements: _Elements) -> None:
    grid = as_unstructured(part.grid)
    _write_text(file, _ELEMENTS[elements.kind])
    _write_ints(file, [len(elements.cells)])
    if elements.kind == _POLYHEDRON:
        n_faces, faces = ragged(grid.GetPolyhedronFaceLocations()).take(elements.cells)
        n_points, points = ragged(grid.GetPolyhedronFaces()).take(faces)
        _write_ints(file, n_faces)
        _write_ints(file, n_points)
    else:
        n_points, points = ragged(grid.GetCells()).take(elements.cells)
        if elements.kind == _POLYGON:
            _write_ints(file, n_points)
    _write_ints(file, points + 1)


def _write_variable(file: BinaryIO, variable: _Variable) -> None:
    _write_text(file, variable.name)
    for piece, values in variable.values:
        _write_text(file, "part")
        _write_ints(file, [piece.number])
        if variable.association == "point":
            _write_text(file, "coordinates")
            _write_columns(file, values)
            continue
        for elements in piece.elements:
            _write_text(file, _ELEMENTS[elements.kind])
            _write_columns(file, values[elements.cells])


def _write_text(file: BinaryIO, text: str) -> None:
    file.write(text.encode("ascii", "replace")[:_MAX_TEXT].ljust(80, b"\0"))


def _write_ints(file: BinaryIO, values: Any) -> None:
    file.write(np.asarray(values, dtype="<i4").tobytes())


def _write_columns(file: BinaryIO, values: NDArray[Any]) -> None:
    file.write(np.asarray(values, dtype="<f4").T.tobytes())
