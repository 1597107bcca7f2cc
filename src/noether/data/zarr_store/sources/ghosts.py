"""Ghosts of partitioned meshes: copies of the cells and points that belong to another piece. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import Cells

__all__ = ["GHOST_ARRAYS", "own_cells", "own_points"]

# VTK's readers turn the second, of VTK 6 and older, into the first.
GHOST_ARRAYS = ("vtkGhostType", "vtkGhostLevels")

# Bits of vtkDataSetAttributes: DUPLICATECELL, REFINEDCELL, HIDDENCELL, as vtkUnstructuredGrid::RemoveGhostCells takes
# them; DUPLICATEPOINT, HIDDENPOINT.
_GHOST_CELL = 1 | 8 | 32
_GHOST_POINT = 1 | 2

Mask = NDArray[np.bool_]


def own_cells(flags: NDArray[Any] | None) -> Mask | None:
    """Return which cells of a mesh are no ghosts; None where all are.

    Parameters
    ----------
    flags : ndarray, shape (n_cells,), or None
        Cell data ``vtkGhostType``. VTK takes bytes alone for flags.
    """
    return _without(flags, _GHOST_CELL)


def own_points(flags: NDArray[Any] | None, n_points: int, blocks: Iterable[Cells], own: Mask | None) -> Mask | None:
    """Return which points of a mesh are no ghosts; None where all are.

    A point that only ghosts of cells use is one, too. A point that no cell uses is none.

    Parameters
    ----------
    flags : ndarray, shape (n_points,), or None
        Point data ``vtkGhostType``.
    n_points : int
        Points of the mesh.
    blocks : iterable of Cells
        All cells of the mesh in order, the ghosts among them, whose points are there.
    own : ndarray of bool or None
        Which of the cells are no ghosts, as `own_cells` returns them.
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
