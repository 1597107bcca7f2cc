"""Source meshes: their parts, and the locations of their points and cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import name_matches
from noether.data.zarr_store.errors import ArgumentError, nearest_names
from noether.data.zarr_store.manifest import Origin
from noether.data.zarr_store.sources import MeshFile, suffix_of

if TYPE_CHECKING:
    import pyvista

__all__ = [
    "ASSOCIATIONS",
    "MESH_SUFFIXES",
    "Association",
    "Part",
    "Ragged",
    "as_unstructured",
    "pick_parts",
    "ragged",
    "read_parts",
]

Association = Literal["cell", "point"]
ASSOCIATIONS: tuple[Association, ...] = ("cell", "point")
MESH_SUFFIXES = (".vtu", ".vtp", ".pvtu", ".pvtp", ".vtk", ".vtm", ".case", ".vtkhdf", ".cgns", ".h5", ".hdf5", ".hdf")

# Number of cells whose corners are gathered at once: some hundred megabytes of coordinates.
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different lengths, stored one after the other.

    Attributes
    ----------
    offsets : ndarray of int, shape (n_rows + 1,)
        Offset of each row in `values`, and the end of the last row.
    values : ndarray of int, shape (n_values,)
        Values of all rows.
    """

    offsets: NDArray[np.integer[Any]]
    values: NDArray[np.integer[Any]]

    def take(self, rows: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]]]:
        """Return the lengths of some rows, and their concatenated values."""
        starts = self.offsets[rows].astype(np.int64)
        lengths = self.offsets[rows + 1].astype(np.int64) - starts
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        return lengths, self.values[np.repeat(starts - (ends - lengths), lengths) + np.arange(total)]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of a mesh: a whole VTU or VTP file, a block of a VTM or VTKHDF file, or a part of an EnSight case.

    Attributes
    ----------
    name : str
        Name of the block or EnSight part, or else of the file.
    grid : pyvista.DataSet
        Points, cells and arrays.
    """

    name: str
    grid: pyvista.DataSet

    def count(self, association: Association) -> int:
        """Return the number of cells or points."""
        return int(self.grid.n_cells if association == "cell" else self.grid.n_points)

    def data(self, association: Association) -> pyvista.DataSetAttributes:
        """Return the arrays over cells or points."""
        return self.grid.cell_data if association == "cell" else self.grid.point_data

    def points_from(self, origin: Origin | None) -> NDArray[np.float64]:
        """Return the points relative to an origin."""
        return np.subtract(self.grid.points, origin or (0.0, 0.0, 0.0), dtype=np.float64)

    def distances(
        self, association: Association, positions: NDArray[Any], origin: Origin | None = None
    ) -> NDArray[np.float64]:
        """Return the distance of each position from its cell or point of the mesh.

        Every solver defines a cell centre as a weighted mean of the cell's corners, so the centre lies in their
        bounding box. The position of a cell is compared with this box, because VTK's centre of a polyhedron differs
        from a solver's.

        Parameters
        ----------
        association : {"cell", "point"}
            Whether the positions belong to the cells or the points.
        positions : ndarray, shape (count(association), 3)
            One position per cell or point, in the order of the mesh.
        origin : tuple of three floats, optional
            Origin of the positions.

        Returns
        -------
        ndarray of float64, shape (count(association),)
            Largest difference along an axis: 0 inside the box, and NaN for a position with a NaN.
        """
        points = self.points_from(origin)
        if association == "point":
            return np.asarray(np.abs(positions - points).max(axis=1))
        distances = np.empty(len(positions))
        for rows, low, high in _boxes(ragged(as_unstructured(self.grid).GetCells()), points):
            distances[rows] = np.maximum(low - positions[rows], positions[rows] - high).max(axis=1).clip(0)
        return distances


def _boxes(
    cells: Ragged, points: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the bounding boxes of cells in blocks; the box of a cell without points is empty (inf to -inf)."""
    n_cells = len(cells.offsets) - 1
    for start in range(0, n_cells, _BLOCK_CELLS):
        stop = min(start + _BLOCK_CELLS, n_cells)
        offsets = cells.offsets[start : stop + 1]
        corners = points[cells.values[offsets[0] : offsets[-1]]]
        low = np.full((stop - start, 3), np.inf)
        high = np.full((stop - start, 3), -np.inf)
        # Cells without points have no corners, so each reduction ends at the start of the next filled cell.
        filled = np.flatnonzero(np.diff(offsets))
        if len(filled):
            first = offsets[filled] - offsets[0]
            low[filled], high[filled] = np.minimum.reduceat(corners, first), np.maximum.reduceat(corners, first)
        yield slice(start, stop), low, high


def as_unstructured(grid: pyvista.DataSet) -> pyvista.UnstructuredGrid:
    """Return a mesh of any kind as an unstructured grid, with its cells in the same order."""
    import pyvista

    return grid if isinstance(grid, pyvista.UnstructuredGrid) else grid.cast_to_unstructured_grid()


def ragged(cells: Any) -> Ragged:
    """Return a ``vtkCellArray`` as arrays."""
    import pyvista

    offsets, values = cells.GetOffsetsArray(), cells.GetConnectivityArray()
    return Ragged(pyvista.convert_array(offsets), pyvista.convert_array(values))


def read_parts(path: Path) -> tuple[Part, ...]:
    """Read the parts of a mesh file.

    Parameters
    ----------
    path : path
        A file with one of `MESH_SUFFIXES`. Of several time steps, the last is read, as in a conversion.

    Returns
    -------
    tuple of Part
        The parts in the order of the file, without empty parts.

    Raises
    ------
    ArgumentError
        The file has another format, or does not exist.
    SourceError
        The file cannot be read, or is empty.
    MissingDependencyError
        pyvista is not installed.
    """
    if suffix_of(path) not in MESH_SUFFIXES:
        raise ArgumentError(
            f"onto: expected a mesh in one of {', '.join(MESH_SUFFIXES)}, got {path}; convert it to one of these"
        )
    if not path.is_file():
        raise ArgumentError(f"onto: {path} does not exist; check the path")
    return tuple(Part(name, block) for name, block in MeshFile(path, f"mesh {path}").read_blocks())


def pick_parts(parts: Sequence[Part], names: Iterable[str]) -> tuple[Part, ...]:
    """Return the parts of a mesh that match names or patterns such as ``Body*``, in the order of the mesh.

    Raises
    ------
    ArgumentError
        No part matches one of the names.
    """
    picked = set()
    for name in names:
        found = [number for number, part in enumerate(parts) if name_matches(part.name, name)]
        if not found:
            known = nearest_names(name, [part.name for part in parts])
            raise ArgumentError(f"parts: the mesh has no part {name!r}; {known}")
        picked.update(found)
    return tuple(parts[number] for number in sorted(picked))
