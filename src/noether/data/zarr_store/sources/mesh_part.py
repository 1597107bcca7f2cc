"""A part of a mesh: its points, its cells, and their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import default_threads
from noether.data.zarr_store.errors import MissingDependencyError
from noether.data.zarr_store.sources.cells import Cells, are_face_types, dimension_of, faces
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.lazy_arrays import chosen_rows
from noether.data.zarr_store.sources.mapping import Association

__all__ = ["Arrays", "LoadedPart", "Mask", "MeshPart"]

Arrays = dict[str, Any]
Mask = NDArray[np.bool_]


class MeshPart:
    """One EnSight part, one block of a ``.vtm``, VTKHDF or CGNS file, or the whole of any other file.

    Attributes
    ----------
    name : str
        Name of the part. A block in a block has both names, joined with ``/``. A file without parts has the file's
        name without its suffix.
    data : dict of {"cell", "point"} to dict of str to array-like
        Arrays by association and name, including the rows of ghosts.
    """

    name: str
    data: Mapping[Association, Arrays]

    @property
    def points(self) -> NDArray[Any]:
        """All points, shape ``(n_points, 3)``, in the dtype of the file, or float64 if the file has integers."""
        raise NotImplementedError

    @property
    def cells(self) -> Cells:
        """All cells, including ghosts."""
        raise NotImplementedError

    def size(self, association: Association) -> int:
        """Return the number of cells or points, including ghosts."""
        return len(self.cells) if association == "cell" else len(self.points)

    def own_mask(self, association: Association) -> Mask | None:
        """Return a mask of the cells or points that are not ghosts; None if there are no ghosts."""
        raise NotImplementedError

    def is_own(self, association: Association) -> Mask:
        """Return a mask of the cells or points that are not ghosts."""
        own = self.own_mask(association)
        return np.ones(self.size(association), np.bool_) if own is None else own

    def without_ghosts(self, association: Association, values: Any) -> Any:
        """Return the rows of an array without those of ghosts."""
        own = self.own_mask(association)
        return values if own is None else chosen_rows(values, own)

    def n_ghosts(self, association: Association) -> int:
        """Return the number of ghosts among the cells or points."""
        own = self.own_mask(association)
        return 0 if own is None else int(np.count_nonzero(~own))

    def own_cells(self) -> Cells:
        """Return the cells without ghosts."""
        own = self.own_mask("cell")
        return self.cells if own is None else self.cells.only(own)

    def point_positions(self) -> Any:
        """Return the coordinates of the points without ghosts."""
        return self.without_ghosts("point", self.points)

    def cell_positions(self) -> Any:
        """Return the centres of the cells without ghosts. Raise `UnsoundCellError` if a cell has no valid centre."""
        return cell_centers(self.points, self.own_cells(), default_threads())

    def used_points(self) -> Mask:
        """Return a mask of the points that are used by a cell that is not a ghost."""
        used, cells = np.zeros(self.size("point"), np.bool_), self.own_cells()
        cells.require_points_below(len(used))
        used[cells.connectivity] = True
        return used

    def own_types(self) -> NDArray[np.uint8]:
        """Return the distinct VTK types of the cells without ghosts."""
        return np.unique(self.own_cells().types)

    @property
    def has_faces_only(self) -> bool:
        """Whether the part has cells that are not ghosts, all of which are triangles, quadrilaterals or polygons."""
        types = self.own_types()
        return len(types) > 0 and are_face_types(types)

    @property
    def dimension(self) -> int:
        """Highest dimension of the cells: 3 for volume cells, 2 for faces, 1 for lines, 0 for points."""
        return dimension_of(self.own_types())

    def triangles(self) -> NDArray[np.float64]:
        """Return the faces without ghosts, split into triangles by VTK; shape ``(n_triangles, 3, 3)``.

        Raises
        ------
        MissingDependencyError
            PyVista is not installed.
        """
        try:
            import pyvista
        except ImportError as error:
            raise MissingDependencyError("pyvista", "measuring distances to faces", "mesh") from error
        lists = [np.empty(0, np.int64)]
        for _, corners in faces(self.own_cells()):
            # VTK's form of a list of lists: the length of each list precedes its numbers.
            rows = np.full((corners.shape[1], len(corners) + 1), len(corners), np.int64)
            rows[:, 1:] = corners.T
            lists.append(rows.ravel())
        with pyvista.vtk_verbosity("off"):  # VTK prints a line for each face without area
            polygons = pyvista.PolyData(self.points, faces=np.concatenate(lists)).triangulate()
        loops: NDArray[np.float64] = self.points.astype(np.float64)[polygons.faces.reshape(-1, 4)[:, 1:]]
        return loops


@dataclass(frozen=True, slots=True)
class LoadedPart(MeshPart):
    """A part in memory; see `MeshPart`."""

    name: str
    points: NDArray[Any]
    cells: Cells
    data: dict[Association, Arrays] = field(default_factory=dict)
    own: dict[Association, Mask | None] = field(default_factory=lambda: {"cell": None, "point": None})

    def own_mask(self, association: Association) -> Mask | None:
        return self.own[association]
