"""Views: the directions from the points to the eye."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, require_one_of

__all__ = ["AXES", "VIEWS", "Floats", "angles_of", "directions_of"]

Floats = NDArray[np.float64]

AXES = ("x", "y", "z")
VIEWS: dict[str, tuple[float, float]] = {
    "corner": (-130, 22),
    "front": (180, 0),
    "back": (0, 0),
    "side": (-90, 0),
    "top": (-90, 90),
    "bottom": (-90, -90),
}
"""Azimuth and elevation, in degrees, of the direction from the points to the eye. The front is at the smallest x."""


def angles_of(view: str | tuple[float, float]) -> tuple[float, float]:
    """Return azimuth and elevation of a view, in degrees."""
    if isinstance(view, str):
        require_one_of("view", view, VIEWS)
        return VIEWS[view]
    azimuth, elevation = view
    if not (math.isfinite(azimuth) and -90 <= elevation <= 90):
        raise ArgumentError(
            f"view: expected an azimuth, and an elevation from -90 to 90 degrees, got {view!r}; use (-130, 22)"
        )
    return azimuth, elevation


def directions_of(azimuth: float, elevation: float) -> tuple[Floats, Floats, Floats]:
    """Return the directions that lie to the right, upward, and toward the eye in the picture, each of length 1."""
    turn, rise = math.radians(azimuth), math.radians(elevation)
    across = np.array([-math.sin(turn), math.cos(turn), 0.0])
    toward = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
    upward = np.cross(toward, across)
    return across.round(12), upward.round(12), toward.round(12)
