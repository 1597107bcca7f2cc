"""An EnSight part as a mesh whose arrays are read lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.ensight_gold.gold_cells import GoldCells
from noether.data.zarr_store.sources.ensight_gold.part_table import Geometry, PartHead
from noether.data.zarr_store.sources.ensight_gold.records import VALUE_BYTES, GoldFile, Order
from noether.data.zarr_store.sources.ensight_gold.variable_table import Section
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.spilled_arrays import spill
from noether.data.zarr_store.sources.streamed_part import Rows, StreamedPiece

__all__ = ["GoldPiece", "Values"]

_DTYPE = np.dtype(np.float32)
_STEP_POINTS = 1 << 18
# EnSight orders a symmetric tensor XX YY ZZ XY XZ YZ; VTK swaps the last two.
_SYMMETRIC = (0, 1, 2, 3, 5, 4)

# A variable file, and its sections that hold the values of one EnSight part.
Values = tuple[GoldFile, Sequence[Section]]


class GoldPiece(StreamedPiece):
    """One EnSight part.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the case.
    part : PartHead
        EnSight part of the geometry.
    values : mapping of {"cell", "point"} to mapping of str to Values
        Arrays of the EnSight part, by association and name.

    Raises
    ------
    DamagedArrayError
        Raised by the methods: an element names a node that does not exist, or a file has become shorter.
    """

    def __init__(self, geometry: Geometry, part: PartHead, values: Mapping[Association, Mapping[str, Values]]) -> None:
        super().__init__(part.n_points, part.n_cells, GoldCells(geometry, part), is_far=geometry.file.source.is_far)
        self._order, self._values, self._name = geometry.order, values, part.called()
        self._points: Values = (geometry.file, [Section(0, part.n_points, part.coordinates)])

    @property
    def points_dtype(self) -> np.dtype[Any]:
        return _DTYPE

    def points(self, start: int, stop: int) -> NDArray[Any]:
        return _read_rows(self._points, self._order, start, stop)

    def _read_all_points(self) -> NDArray[Any]:
        starts = range(0, self.n_points, _STEP_POINTS)
        steps = (self.points(start, min(start + _STEP_POINTS, self.n_points)) for start in starts)
        return spill(steps, 3 * self.n_points, _DTYPE, f"coordinates of {self._name}").reshape(-1, 3)

    def open(self, association: Association, name: str) -> Rows:
        values = self._values[association][name]
        return Rows(len(values[1][0].starts), _DTYPE, partial(_read_rows, values, self._order))

    def flags(self, association: Association) -> NDArray[Any] | None:  # noqa: ARG002 - ghosts are already left out
        return None


def _read_rows(values: Values, order: Order, start: int, stop: int) -> NDArray[Any]:
    """Read the rows `start` to `stop`. The file stores each component on its own."""
    file, sections = values
    width = len(sections[0].starts)
    rows = np.empty((stop - start, width), _DTYPE)
    columns = _SYMMETRIC if width == len(_SYMMETRIC) else range(width)
    for section in sections:
        first, last = max(start, section.first), min(stop, section.first + section.count)
        for column, begin in zip(columns, section.starts, strict=True) if first < last else ():
            at = begin + (first - section.first) * VALUE_BYTES
            rows[first - start : last - start, column] = file.values(at, last - first, f"{order}f4")
    return rows if width > 1 else rows.reshape(-1)
