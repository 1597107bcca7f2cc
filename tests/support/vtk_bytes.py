"""VTK XML files that are built byte by byte, so that any byte can be wrong."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parts", "blocks_of", "cube_arrays", "small_vtk_files", "vtu_bytes"]

_NAMES = {"f4": "Float32", "f8": "Float64", "i4": "Int32", "i8": "Int64", "u1": "UInt8"}
_CUBE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
_FACES = [[0, 4, 7, 3], [1, 2, 6, 5], [0, 1, 5, 4], [3, 7, 6, 2], [0, 3, 2, 1], [4, 5, 6, 7]]


@dataclass
class Parts:
    """The content of a file; see `vtu_bytes`."""

    arrays: dict[str, dict[str, NDArray[Any]]]
    n_points: int
    n_cells: int
    # Replacements for the bytes and for the offset of an array, by its name.
    blobs: dict[str, bytes] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)


def cube_arrays(n_cells: int = 40, *, polyhedra: bool = False) -> Parts:
    """Return the arrays of a row of cubes, as hexahedra or polyhedra, with one array of cell data."""
    points = np.tile(np.array(_CUBE, np.float32), (n_cells, 1))
    points[:, 0] += np.repeat(np.arange(n_cells, dtype=np.float32), 8)
    firsts = 8 * np.arange(n_cells)[:, None]
    cells = {
        "connectivity": (firsts + np.arange(8)).ravel(),
        "offsets": 8 * np.arange(1, n_cells + 1),
        "types": np.full(n_cells, 42 if polyhedra else 12, np.uint8),
    }
    if polyhedra:
        faces = np.concatenate(
            [[6, *(n for face in _FACES for n in (4, *(first + np.array(face))))] for first in firsts]
        )
        cells |= {"faces": faces.astype(np.int64), "faceoffsets": 31 * np.arange(1, n_cells + 1)}
    arrays: dict[str, dict[str, NDArray[Any]]] = {
        "CellData": {"p": np.arange(n_cells, dtype=np.float32)},
        "Points": {"Points": points},
        "Cells": cells,
    }
    return Parts(arrays, len(points), n_cells)


def blocks_of(values: NDArray[Any], block_bytes: int = 256) -> bytes:
    """Return the bytes of an array in a file: the header of its blocks, and the blocks compressed with zlib."""
    data = values.tobytes()
    blocks = [zlib.compress(data[at : at + block_bytes]) for at in range(0, len(data), block_bytes)]
    header = [len(blocks), block_bytes, len(data) % block_bytes, *map(len, blocks)]
    return np.array(header, "<u8").tobytes() + b"".join(blocks)


def vtu_bytes(parts: Parts) -> bytes:
    """Return the file of an unstructured grid whose arrays are appended as raw bytes."""
    blobs, sections, at = [], [], 0
    for section, arrays in parts.arrays.items():
        heads = []
        for name, values in arrays.items():
            blob = parts.blobs.get(name, blocks_of(values))
            width = values.shape[1] if values.ndim > 1 else 1
            heads.append(
                f'<DataArray type="{_NAMES[values.dtype.str[1:]]}" Name="{name}" NumberOfComponents="{width}" '
                f'format="appended" offset="{parts.offsets.get(name, at)}"/>'
            )
            blobs.append(blob)
            at += len(blob)
        sections.append(f"<{section}>{''.join(heads)}</{section}>")
    head = (
        '<?xml version="1.0"?><VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" '
        'header_type="UInt64" compressor="vtkZLibDataCompressor"><UnstructuredGrid>'
        f'<Piece NumberOfPoints="{parts.n_points}" NumberOfCells="{parts.n_cells}">{"".join(sections)}</Piece>'
        '</UnstructuredGrid><AppendedData encoding="raw">_'
    )
    return head.encode() + b"".join(blobs) + b"</AppendedData></VTKFile>"


def small_vtk_files() -> list[bytes]:
    """Return a file of two cells in each form."""
    files = [vtu_bytes(cube_arrays(2, polyhedra=polyhedra)) for polyhedra in (False, True)]
    arrays = cube_arrays(2).arrays

    def inline(form: str) -> bytes:
        sections = []
        for section, there in arrays.items():
            heads = []
            for name, values in there.items():
                data = values.tobytes()
                text = (
                    " ".join(map(str, values.ravel().tolist()))
                    if form == "ascii"
                    else base64.b64encode(np.array([len(data)], "<u4").tobytes() + data).decode()
                )
                width = values.shape[1] if values.ndim > 1 else 1
                kind = _NAMES[values.dtype.str[1:]]
                heads.append(
                    f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="{form}">\n{text}\n'
                    "</DataArray>"
                )
            sections.append(f"<{section}>{''.join(heads)}</{section}>")
        return (
            '<VTKFile type="UnstructuredGrid" byte_order="LittleEndian"><UnstructuredGrid><Piece NumberOfPoints="16" '
            f'NumberOfCells="2">{"".join(sections)}</Piece></UnstructuredGrid></VTKFile>'
        ).encode()

    return [*files, inline("ascii"), inline("binary")]
