"""EnSight Gold: a case with its geometry and variables, as C binary files.

The format is that of the EnSight User Manual, chapter "EnSight Gold Casefile Format". VTK has a writer of its own, but
that renames the variables and loses the names of the parts.
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

# EnSight's names of VTK's cell types; both list the points of such a cell in the same order.
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
_MAX_TEXT = 79  # lines have 80 bytes, and readers take them for strings that end with a zero


@dataclass(frozen=True, slots=True)
class _Elements:
    """The cells of one type of a part, which EnSight keeps together."""

    kind: int
    cells: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part as the files have it."""

    number: int
    part: Part
    elements: list[_Elements]


@dataclass(frozen=True, slots=True)
class _Variable:
    """An array over the cells or points of some pieces."""

    name: str
    association: Association
    width: int
    values: list[tuple[_Piece, NDArray[np.float32]]]


def write_case(
    parts: Sequence[Part], exported: Collection[str], association: Association, directory: Path, reference: str
) -> tuple[str, list[str]]:
    """Write the geometry and variables of a case, and give the text of the case file.

    Values and coordinates are rounded to single precision, which is all that EnSight has. The cells of a part come
    ordered by type, the types in the order in which the part has them.

    Parameters
    ----------
    parts : sequence of Part
        The mesh, with all its arrays.
    exported : collection of str
        Arrays that have to be written; other arrays are written where EnSight can hold them.
    association : {"cell", "point"}
        Whether `exported` are arrays over cells or points.
    directory : path
        To be made, and filled.
    reference : str
        How the case file refers to it.

    Returns
    -------
    text : str
        Of the case file.
    left_out : list of str
        Arrays of the mesh that EnSight cannot hold, each with the reason.

    Raises
    ------
    MeshError
        The mesh has cells, or `exported` an array, that EnSight cannot hold.
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
        raise MeshError(
            f"part {part.name!r}: cells of VTK's types {unknown} cannot be written as EnSight; write a .vtu"
        )
    return [_Elements(int(kind), np.flatnonzero(kinds == kind)) for kind in present[np.argsort(first)]]


def _variables(
    pieces: Sequence[_Piece], exported: Collection[str], association: Association
) -> tuple[list[_Variable], list[str]]:
    """Return what can be written of the arrays of a mesh, and what cannot; what is exported comes first."""
    found = dict.fromkeys((association, name) for name in exported)
    for one in ASSOCIATIONS:
        found |= dict.fromkeys((one, name) for piece in pieces for name in piece.part.data(one))
    variables: dict[str, _Variable] = {}
    left_out = []
    for one, name in found:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:_MAX_TEXT]
        if plain in variables:  # meshes often have the same array over cells and over points
            plain = f"{plain}_{one}"
        arrays = [(piece, np.asarray(piece.part.data(one)[name])) for piece in pieces if name in piece.part.data(one)]
        required = one == association and name in exported
        if required and plain != name:
            why = "its names have only letters, digits and _"
        elif plain in variables:
            why = "there is another of its name"
        else:
            why = _why_not([array for _, array in arrays])
        if why and required:
            raise MeshError(f"{name}: an EnSight case cannot hold it, {why}; write a .vtu instead")
        if why:
            left_out.append(f"{one} data {name}: {why}")
            continue
        values = [(piece, array.reshape(len(array), -1).astype(np.float32, copy=False)) for piece, array in arrays]
        variables[plain] = _Variable(plain, one, values[0][1].shape[1], values)
    return list(variables.values()), left_out


def _why_not(arrays: Iterable[NDArray[Any]]) -> str:
    """Say why EnSight cannot hold an array, given in pieces; empty if it can."""
    widths = {array.reshape(len(array), -1).shape[1] for array in arrays}
    if len(widths) > 1 or not widths <= _KINDS.keys():
        return f"it has {' and '.join(map(str, sorted(widths)))} components, where 1 or 3 are known"
    for array in arrays:
        if array.dtype.kind not in "fiu":
            return f"it is of dtype {array.dtype}, where numbers are known"
        with np.errstate(over="ignore"):
            overflows = np.isinf(array.astype(np.float32)) & np.isfinite(array)
        if overflows.any():
            return "it has values beyond float32"
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
