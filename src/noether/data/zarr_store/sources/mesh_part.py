"""A part of a mesh: points, cells, and their arrays."""

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
    """One part of an EnSight case, one block of a ``.vtm``, of VTKHDF or of CGNS, or all of another file.

    Attributes
    ----------
    name : str
        Its name; blocks in blocks are joined with ``/``. The file's, without its suffix, where it has no parts.
    data : dict of {"cell", "point"} to dict of str to array-like
        Arrays by association and name, with the rows of ghosts.
    """

    name: str
    data: Mapping[Association, Arrays]

    @property
    def points(self) -> NDArray[Any]:
        """All points, in the dtype of the file, or float64 where that has whole numbers; shape ``(n_points, 3)``."""
        raise NotImplementedError

    @property
    def cells(self) -> Cells:
        """All cells by their points, the ghosts among them."""
        raise NotImplementedError

    def size(self, association: Association) -> int:
        """Count its cells or points, the ghosts among them."""
        return len(self.cells) if association == "cell" else len(self.points)

    def own_mask(self, association: Association) -> Mask | None:
        """Return which of its cells or points are no ghosts of another piece's; None where all are."""
        raise NotImplementedError

    def is_own(self, association: Association) -> Mask:
        """Return which of its cells or points are no ghosts."""
        own = self.own_mask(association)
        return np.ones(self.size(association), np.bool_) if own is None else own

    def without_ghosts(self, association: Association, values: Any) -> Any:
        """Return the rows of an array that belong to no ghosts."""
        own = self.own_mask(association)
        return values if own is None else chosen_rows(values, own)

    def n_ghosts(self, association: Association) -> int:
        """Count the ghosts among its cells or points."""
        own = self.own_mask(association)
        return 0 if own is None else int(np.count_nonzero(~own))

    def own_cells(self) -> Cells:
        """Return its cells without the ghosts."""
        own = self.own_mask("cell")
        return self.cells if own is None else self.cells.only(own)

    def point_positions(self) -> Any:
        """Return its points without the ghosts."""
        return self.without_ghosts("point", self.points)

    def cell_positions(self) -> Any:
        """Return the centres of its cells without the ghosts; `UnsoundCellError` where they have none."""
        return cell_centers(self.points, self.own_cells(), default_threads())

    def used_points(self) -> Mask:
        """Return which of its points a cell has that is no ghost."""
        used, cells = np.zeros(self.size("point"), np.bool_), self.own_cells()
        cells.require_points_below(len(used))
        used[cells.connectivity] = True
        return used

    def own_types(self) -> NDArray[np.uint8]:
        """Return VTK's types that its cells have which are no ghosts, each once."""
        return np.unique(self.own_cells().types)

    @property
    def has_faces_only(self) -> bool:
        """Whether it has cells that are no ghosts, and all are flat: triangles, quadrilaterals, polygons."""
        types = self.own_types()
        return len(types) > 0 and are_face_types(types)

    @property
    def dimension(self) -> int:
        """3 where it has volume cells, 2 where it has faces, less for lines and points."""
        return dimension_of(self.own_types())

    def triangles(self) -> NDArray[np.float64]:
        """Return its faces without the ghosts, split into triangles as VTK does; shape ``(n_triangles, 3, 3)``.

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
            # VTK's form of a list of lists: each length goes before its numbers.
            rows = np.full((corners.shape[1], len(corners) + 1), len(corners), np.int64)
            rows[:, 1:] = corners.T
            lists.append(rows.ravel())
        with pyvista.vtk_verbosity("off"):  # it prints a line for each face without area
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
