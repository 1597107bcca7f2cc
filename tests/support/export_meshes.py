"""Meshes to export onto, real and generated, and functions that read the exported files with VTK.

``ahmed_run_1_surface.vtp`` is the body of the bundled run_1 as written by OpenFOAM's foamToVTK.
``ahmed_run_1_cells.vtu`` is 500 cells of its volume, half of them polyhedra. Both have the pressure `p` as cell data
and as point data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvista
import vtk
from numpy.typing import NDArray

from support.ahmed import Arrays, load_run

DATA = Path(__file__).parents[1] / "data"
BODY_MESH = DATA / "ahmed_run_1_surface.vtp"
CELLS_MESH = DATA / "ahmed_run_1_cells.vtu"

_CUBE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) * 2.0 - 1
# Corners of one cell of each kind around the origin, as rows of the cube.
CORNERS: dict[int, list[int]] = {
    pyvista.CellType.VERTEX: [0],
    pyvista.CellType.LINE: [0, 6],
    pyvista.CellType.TRIANGLE: [0, 1, 6],
    pyvista.CellType.POLYGON: [0, 1, 6, 7, 3],
    pyvista.CellType.QUAD: [0, 1, 6, 7],
    pyvista.CellType.TETRA: [0, 2, 5, 7],
    pyvista.CellType.HEXAHEDRON: [0, 1, 2, 3, 4, 5, 6, 7],
    pyvista.CellType.WEDGE: [0, 1, 4, 3, 2, 7],
    pyvista.CellType.PYRAMID: [0, 1, 2, 3, 6],
    pyvista.CellType.POLYHEDRON: [0, 1, 2, 3, 4, 5, 6, 7],
}
_CUBE_FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [2, 3, 7, 6], [1, 2, 6, 5], [0, 4, 7, 3]]


def load_cells() -> Arrays:
    """Return the volume fields of the cells of `CELLS_MESH`."""
    rows = pyvista.read(CELLS_MESH).cell_data["source_row"]
    return {field: values[rows] for field, values in load_run("run_1").items() if field.startswith("volume_")}


def cells_around(positions: NDArray[Any], kinds: Sequence[int], size: float = 1e-3) -> pyvista.UnstructuredGrid:
    """Return a grid with one cell around each position; `kinds` are keys of `CORNERS`."""
    cells: list[int] = []
    points: list[NDArray[np.float64]] = []
    for position, kind in zip(positions, kinds, strict=True):
        first = len(points)
        # A vertex is at the position; all other cells surround it.
        shape = _CUBE[CORNERS[kind]] * (0 if kind == pyvista.CellType.VERTEX else size)
        points += list(position + shape)
        if kind == pyvista.CellType.POLYHEDRON:
            faces = [number for face in _CUBE_FACES for number in (4, *(first + corner for corner in face))]
            cells += [len(faces) + 1, len(_CUBE_FACES), *faces]
        else:
            cells += [len(shape), *range(first, first + len(shape))]
    return pyvista.UnstructuredGrid(np.array(cells), np.array(kinds), np.array(points, dtype=np.float32))


def by_type(grid: pyvista.UnstructuredGrid) -> NDArray[np.int64]:
    """Return the order of a mesh's cells in EnSight: all cells of one type, then all of the next."""
    kinds = list(dict.fromkeys(grid.celltypes.tolist()))
    return np.argsort([kinds.index(kind) for kind in grid.celltypes], kind="stable")


def corners(grid: pyvista.DataSet) -> list[list[list[float]]]:
    """Return the points of every cell in order; sorted for a polyhedron, whose order has no meaning."""
    cells = [grid.get_cell(number) for number in range(grid.n_cells)]
    points = [np.asarray(cell.points).tolist() for cell in cells]
    return [
        sorted(own) if cell.type == pyvista.CellType.POLYHEDRON else own
        for cell, own in zip(cells, points, strict=True)
    ]


def faces(grid: pyvista.DataSet) -> list[list[list[list[float]]]]:
    """Return the points of every face of every cell."""
    return [[np.asarray(face.points).tolist() for face in grid.get_cell(i).faces] for i in range(grid.n_cells)]


def assert_same_bits(given: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (given.dtype, given.shape) == (expected.dtype, expected.shape)
    assert np.ascontiguousarray(given).tobytes() == np.ascontiguousarray(expected).tobytes()


def read_with_pyvista(path: Path) -> pyvista.DataSet:
    mesh = pyvista.read(path)
    assert isinstance(mesh, pyvista.DataSet)
    return mesh


def read_with_vtk(path: Path) -> pyvista.DataSet:
    """Read a file with the VTK class that ParaView uses for its format."""
    reader = {".vtp": vtk.vtkXMLPolyDataReader, ".vtu": vtk.vtkXMLUnstructuredGridReader}[path.suffix]()
    reader.SetFileName(str(path))
    reader.Update()
    mesh = pyvista.wrap(reader.GetOutput())
    assert isinstance(mesh, pyvista.DataSet)
    return mesh


def case_parts(path: Path) -> dict[str, pyvista.UnstructuredGrid]:
    """Return the EnSight parts of a case by name, as PyVista reads them."""
    blocks = pyvista.read(path)
    assert isinstance(blocks, pyvista.MultiBlock)
    return {str(blocks.get_block_name(number)): blocks[number] for number in range(blocks.n_blocks)}  # type: ignore[misc]  # they are


def case_parts_of_paraview(path: Path) -> dict[str, pyvista.UnstructuredGrid]:
    """Return the EnSight parts of a case by name, as ParaView's newer reader reads them."""
    reader = vtk.vtkEnSightGoldCombinedReader()
    reader.SetCaseFileName(str(path))
    reader.UpdateInformation()
    for selection in (reader.GetCellArraySelection(), reader.GetPointArraySelection(), reader.GetPartSelection()):
        selection.EnableAllArrays()
    reader.Update()
    found = reader.GetOutput()
    name = vtk.vtkCompositeDataSet.NAME()
    return {
        found.GetMetaData(number).Get(name): pyvista.wrap(found.GetPartition(number, 0))
        for number in range(found.GetNumberOfPartitionedDataSets())
    }
