"""VTK XML files in all forms that VTK writes, of meshes with all kinds of cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyvista
from numpy.typing import NDArray
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter, vtkXMLUnstructuredGridWriter

from noether.data.zarr_store.sources.mesh_part import MeshPart

__all__ = ["KINDS", "POLYHEDRON", "Encoding", "assert_same_part", "grid_of", "old_polyhedra", "surface_of", "write_vtk"]

# Number of points of each VTK type; 0 for polyhedra, whose faces are in `_SOLIDS`.
KINDS = {1: 1, 3: 2, 5: 3, 7: 5, 8: 4, 9: 4, 10: 4, 11: 8, 12: 8, 13: 6, 14: 5, 21: 3, 42: 0}
POLYHEDRON = 42
_SOLIDS = (
    ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)),
    ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),
    ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (0, 1, 6, 5), (1, 2, 7, 6), (2, 3, 8, 7), (3, 4, 9, 8), (4, 0, 5, 9)),
)


@dataclass(frozen=True)
class Encoding:
    """Encoding of a file: values as text or base64 between the tags, or after the tags as base64 or raw bytes."""

    mode: Literal["ascii", "binary", "base64", "raw"] = "raw"
    compressor: Literal["None", "ZLib", "LZ4", "LZMA"] = "ZLib"
    header: Literal[32, 64] = 64
    big_endian: bool = False
    block_bytes: int = 32768
    n_pieces: int = 1


def write_vtk(mesh: Any, path: Path, encoding: Encoding) -> Path:
    """Write a mesh with VTK."""
    is_surface = isinstance(mesh, pyvista.PolyData)
    writer = vtkXMLPolyDataWriter() if is_surface else vtkXMLUnstructuredGridWriter()
    writer.SetInputData(mesh)
    writer.SetFileName(str(path))
    {"ascii": writer.SetDataModeToAscii, "binary": writer.SetDataModeToBinary}.get(
        encoding.mode, writer.SetDataModeToAppended
    )()
    writer.SetEncodeAppendedData(encoding.mode == "base64")
    getattr(writer, f"SetCompressorTypeTo{encoding.compressor}")()
    getattr(writer, f"SetHeaderTypeToUInt{encoding.header}")()
    writer.SetBlockSize(encoding.block_bytes)
    if encoding.big_endian:
        writer.SetByteOrderToBigEndian()
    writer.SetNumberOfPieces(encoding.n_pieces)
    assert writer.Write()
    return path


def grid_of(rng: np.random.Generator, kinds: list[int], *, wide: bool = False, n_points: int = 40) -> Any:
    """Return an unstructured grid whose cells have random points; its arrays have many dtypes."""
    cells: list[int] = []
    for kind in kinds:
        if kind == POLYHEDRON:
            solid = _SOLIDS[rng.integers(len(_SOLIDS))]
            points = rng.permutation(n_points)
            stream = [len(solid)]
            for face in solid:
                stream += [len(face), *points[list(face)].tolist()]
            cells += [len(stream), *stream]
        else:
            cells += [KINDS[kind], *rng.permutation(n_points)[: KINDS[kind]].tolist()]
    dtype = np.float64 if wide else np.float32
    coordinates = rng.normal(size=(n_points, 3)).astype(dtype)
    grid = pyvista.UnstructuredGrid(np.array(cells), np.array(kinds, np.uint8), coordinates)
    _add_arrays(grid, rng)
    return grid


def surface_of(rng: np.random.Generator, n_faces: int, n_points: int = 40) -> Any:
    """Return a surface of polygons."""
    faces: list[int] = []
    for _ in range(n_faces):
        size = int(rng.integers(3, 8))
        faces += [size, *rng.permutation(n_points)[:size].tolist()]
    mesh = pyvista.PolyData(rng.normal(size=(n_points, 3)).astype(np.float32), faces=np.array(faces))
    _add_arrays(mesh, rng)
    return mesh


def _add_arrays(mesh: Any, rng: np.random.Generator) -> None:
    for data, count in ((mesh.cell_data, mesh.n_cells), (mesh.point_data, mesh.n_points)):
        data["p.total"] = rng.normal(size=count).astype(np.float32)
        data["U"] = rng.normal(size=(count, 3))
        data["id"] = rng.integers(-(2**62), 2**62, size=count)
        data["zone"] = rng.integers(256, size=count).astype(np.uint8)


def old_polyhedra(grid: Any, path: Path) -> Path:
    """Write a grid in the form of VTK before version 9.4: the faces of polyhedra are one stream of numbers."""
    ends, stream, connectivity, offsets, locations = 0, [], [], [], []
    for cell in range(grid.n_cells):
        one = grid.GetCell(cell)
        ids = one.GetPointIds()
        connectivity += [ids.GetId(i) for i in range(ids.GetNumberOfIds())]
        offsets.append(len(connectivity))
        locations.append(-1)
        if one.GetCellType() == POLYHEDRON:
            faces = [one.GetFace(i).GetPointIds() for i in range(one.GetNumberOfFaces())]
            stream.append(len(faces))
            for face in faces:
                stream += [face.GetNumberOfIds(), *(face.GetId(i) for i in range(face.GetNumberOfIds()))]
            ends = len(stream)
            locations[-1] = ends

    def array(name: str, kind: str, values: Any, width: int = 1) -> str:
        text = " ".join(map(str, np.ravel(values).tolist()))
        return f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="ascii">{text}</DataArray>'

    path.write_text(
        '<?xml version="1.0"?><VTKFile type="UnstructuredGrid" version="1.0" '
        'byte_order="LittleEndian" header_type="UInt64"><UnstructuredGrid><!-- <a> <Piece NumberOfPoints="9"> -->'
        f'<Piece NumberOfPoints="{grid.n_points}" NumberOfCells="{grid.n_cells}"><PointData/><CellData>'
        f"{array('id', 'Int64', grid.cell_data['id'])}</CellData>"
        f"<Points>{array('Points', 'Float64', np.asarray(grid.points, float), 3)}</Points><Cells>"
        f"{array('connectivity', 'Int64', connectivity)}{array('offsets', 'Int64', offsets)}"
        f"{array('types', 'UInt8', grid.celltypes)}{array('faces', 'Int64', stream)}"
        f"{array('faceoffsets', 'Int64', locations)}</Cells></Piece></UnstructuredGrid></VTKFile>"
    )
    return path


def _faces_of(part: MeshPart) -> list[list[list[int]]]:
    """Return the corners of the faces of each cell; an empty list for cells that are not polyhedra."""
    found = part.cells.polyhedra
    if found is None:
        return [[] for _ in range(len(part.cells))]

    def corners(face: int) -> NDArray[Any]:
        return found.connectivity[found.face_offsets[face] : found.face_offsets[face + 1]]

    bounds = zip(found.cell_offsets[:-1], found.cell_offsets[1:], strict=True)
    return [[corners(face).tolist() for face in found.face_ids[start:stop]] for start, stop in bounds]


def assert_same_part(given: MeshPart, expected: MeshPart) -> None:
    """Assert that two parts have the same points, cells, arrays and ghosts, value for value and dtype for dtype."""
    np.testing.assert_array_equal(given.points, expected.points, strict=True)
    np.testing.assert_array_equal(given.cells.types, expected.cells.types)
    np.testing.assert_array_equal(given.cells.offsets, expected.cells.offsets)
    np.testing.assert_array_equal(given.cells.connectivity, expected.cells.connectivity)
    assert _faces_of(given) == _faces_of(expected)
    for association in ("cell", "point"):
        assert set(given.data[association]) == set(expected.data[association])
        for name, values in expected.data[association].items():
            np.testing.assert_array_equal(np.asarray(given.data[association][name]), values, strict=True)
        np.testing.assert_array_equal(given.is_own(association), expected.is_own(association))
        assert given.size(association) == expected.size(association)
    np.testing.assert_array_equal(
        np.asarray(given.cell_positions()), np.asarray(expected.cell_positions()), strict=True
    )
    np.testing.assert_array_equal(np.asarray(given.point_positions()), expected.point_positions(), strict=True)
    np.testing.assert_array_equal(given.used_points(), expected.used_points())
    assert given.has_faces_only == expected.has_faces_only
