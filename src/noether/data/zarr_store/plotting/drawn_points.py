"""The points of a picture: a random draw of one sample, with one value each."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from noether.data.zarr_store.core import positive_int, printable
from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.layout import require_fields
from noether.data.zarr_store.manifest import field_label
from noether.data.zarr_store.plotting.views import AXES, Floats
from noether.data.zarr_store.reader import ZarrChunkReader

__all__ = ["Axis", "Component", "DrawnPoints", "checked_slab", "near_plane", "read_points"]

Axis = Literal["x", "y", "z"]
Component = int | Literal["x", "y", "z", "magnitude"]

# Thickness of a slab, as a fraction of the extent of all points along its axis.
_SLAB = 0.05


class DrawnPoints(NamedTuple):
    """A random draw of the points of one sample, with one value each."""

    positions: Floats
    values: Floats
    n_points: int
    label: str
    unit: str


def read_points(
    reader: ZarrChunkReader, sample_id: str, field: str, component: Component | None, num_points: int | None, seed: int
) -> DrawnPoints:
    if num_points is not None:
        num_points = positive_int(num_points, "num_points")
    require_fields([field], reader.manifest.domains)
    [domain] = (name for name, layout in reader.manifest.domains.items() if field in layout.arrays)
    layout = reader.manifest.domains[domain]
    width = layout.arrays[field].dim
    column, name = _column(component, field, width)
    arrays = reader.read_arrays(sample_id, {domain: num_points}, seed, {layout.position, field}, dtype="float64")
    values = arrays[field].reshape(-1, width)
    with np.errstate(over="ignore"):
        drawn: Floats = np.linalg.norm(values, axis=1) if column is None else values[:, column]
    known = reader.field_attributes(sample_id)
    label, unit = field_label(field, known.get(field, {}), name), known.get(layout.position, {}).get("units", "")
    positions = arrays[layout.position] + np.asarray(reader.origin or (0.0, 0.0, 0.0))
    n_points = reader.entry(sample_id).domains[domain].n_points
    return DrawnPoints(positions, drawn, n_points, label, printable(unit))


def checked_slab(slab: tuple[Axis, float]) -> tuple[Axis, float]:
    axis, value = slab
    require_one_of("slab", axis, AXES)
    if not math.isfinite(value):
        raise ArgumentError(f"slab: expected a finite coordinate, got {axis} = {value}; use, for example, {axis} = 0")
    return axis, float(value)


def near_plane(draw: DrawnPoints, sample_id: str, axis: Axis, value: float) -> DrawnPoints:
    """Return the points of a draw that lie near a plane."""
    along = draw.positions[:, AXES.index(axis)]
    low, high = float(along.min()), float(along.max())
    is_near = np.abs(along - value) <= _SLAB * (high - low) / 2
    if not is_near.any():
        raise ArgumentError(
            f"slab: none of the {len(along):,} points drawn from {sample_id} lies near {axis} = {value:g}. They extend "
            f"from {axis} = {low:g} to {high:g}; choose a coordinate among these, or draw more points"
        )
    return draw._replace(positions=draw.positions[is_near], values=draw.values[is_near])


def _column(component: Component | None, field: str, width: int) -> tuple[int | None, str]:
    """Return the column of a component and its name; the column of the magnitude is None."""
    if width == 1:
        if component not in (None, 0):
            raise ArgumentError(f"component: {field} has one component, got {component!r}; leave it out")
        return 0, ""
    if component is None or component == "magnitude":
        return None, "magnitude"
    letters = AXES if width == len(AXES) else ()
    if component in letters:
        return letters.index(str(component)), str(component)
    if isinstance(component, int) and not isinstance(component, bool) and 0 <= component < width:
        return component, letters[component] if letters else f"component {component}"
    known = ", ".join([*letters, "magnitude", f"0 to {width - 1}"])
    raise ArgumentError(f"component: {field} has {width} components, got {component!r}; use one of {known}")
