"""Ghosts of partitioned meshes: copies of cells and points that belong to another piece. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import Cells

__all__ = ["GHOST_ARRAYS", "own_cells", "own_points"]

# Names of the ghost arrays. VTK 6 and older wrote the second one, which VTK's readers convert to the first.
GHOST_ARRAYS = ("vtkGhostType", "vtkGhostLevels")

# Bits of vtkDataSetAttributes. Cells: DUPLICATECELL, REFINEDCELL, HIDDENCELL, as in
# vtkUnstructuredGrid::RemoveGhostCells. Points: DUPLICATEPOINT, HIDDENPOINT.
_GHOST_CELL = 1 | 8 | 32
_GHOST_POINT = 1 | 2

Mask = NDArray[np.bool_]


def own_cells(flags: NDArray[Any] | None) -> Mask | None:
    """Return a mask of the cells that are not ghosts; None if no cell is a ghost.

    Parameters
    ----------
    flags : ndarray, shape (n_cells,), or None
        Cell data ``vtkGhostType``. As in VTK, only uint8 values count as flags.
    """
    return _without(flags, _GHOST_CELL)


def own_points(flags: NDArray[Any] | None, n_points: int, blocks: Iterable[Cells], own: Mask | None) -> Mask | None:
    """Return a mask of the points that are not ghosts; None if no point is a ghost.

    A point that only ghost cells use is a ghost, too. A point that no cell uses is not a ghost.

    Parameters
    ----------
    flags : ndarray, shape (n_points,), or None
        Point data ``vtkGhostType``.
    n_points : int
        Number of points of the mesh.
    blocks : iterable of Cells
        All cells of the mesh in order, including ghosts. They must name only existing points.
    own : ndarray of bool or None
        Mask of the cells that are not ghosts: the result of `own_cells`.
    """
    mask = _without(flags, _GHOST_POINT)
    if own is None:
        return mask
    used, foreign = np.zeros((2, n_points), np.bool_)
    first = 0
    for cells in blocks:
        of_own = np.repeat(own[first : first + len(cells)], np.diff(cells.offsets))
        used[cells.connectivity[of_own]] = True
        foreign[cells.connectivity[~of_own]] = True
        first += len(cells)
    foreign &= ~used
    if not foreign.any():
        return mask
    return ~foreign if mask is None else mask & ~foreign


def _without(flags: NDArray[Any] | None, bits: int) -> Mask | None:
    if flags is None or flags.dtype != np.uint8 or flags.ndim != 1:
        return None
    own: Mask = (flags & np.uint8(bits)) == 0
    return None if own.all() else own
