"""Colours, markers and labels of axes of Matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.plotting.views import AXES, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["checked_range", "colors_of", "ends_beyond", "frame", "marker_area", "name_axes", "range_of"]

# Percentage of the values below the range of the colours; the same percentage lies above it.
_TAIL = 1.0
_SIGNED, _UNSIGNED = "coolwarm", "viridis"
# Most and least area of a marker, in square points.
_MARKER = (0.4, 120.0)


def checked_range(value_range: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ArgumentError(
            f"value_range: expected a lower and a higher number, got {low:g} and {high:g}; name the lower number first"
        )
    return low, high


def range_of(values: Floats) -> tuple[float, float]:
    """Return the range of the colours: nearly all of the values, so that a few extreme ones do not hide the others."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [_TAIL, 100 - _TAIL]).tolist()
    if low < high:
        return low, high
    low, high = float(finite.min()), float(finite.max())
    margin = 0.0 if low < high else abs(low) / 2 or 1.0
    return low - margin, high + margin


def colors_of(low: float, high: float, cmap: str | Colormap | None) -> Colormap:
    """Return the colour map of a range. If the range has both signs, 0 has the middle colour of a diverging map."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    if cmap is not None and not isinstance(cmap, str):
        return cmap.copy()
    if cmap is not None:
        require_one_of("cmap", cmap, list(colormaps))
        return colormaps[cmap].copy()
    if not low < 0 < high:
        return colormaps[_UNSIGNED].copy()
    largest = max(-low, high)
    shares = np.linspace(0.5 + 0.5 * low / largest, 0.5 + 0.5 * high / largest, 256)
    return ListedColormap(colormaps[_SIGNED](shares))


def ends_beyond(values: Floats, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    """Return at which ends the colour bar shows that values lie outside of the range."""
    is_below, is_above = bool((values < low).any()), bool((values > high).any())
    if is_below and is_above:
        return "both"
    return "min" if is_below else "max" if is_above else "neither"


def frame(axis: Axes) -> None:
    """Let the axes hold all points at one scale, with a margin for the markers."""
    axis.margins(0.05)
    axis.set_aspect("equal", adjustable="datalim")


def marker_area(axis: Axes, horizontal: Floats, vertical: Floats) -> float:
    """Return the area of a marker, in square points, with which the markers cover the body about twice."""
    figure = axis.get_figure(root=True)
    box = axis.get_position()
    width, height = np.asarray(figure.get_size_inches()) * [box.width, box.height] * 72 if figure else (72.0, 72.0)
    spans = [max(float(np.ptp(one)), 1e-30) for one in (horizontal, vertical)]
    scale = min(width / spans[0], height / spans[1])
    area = 2.5 * scale**2 * spans[0] * spans[1] / len(horizontal)
    return float(np.clip(area, *_MARKER))


def name_axes(axis: Axes, across: Floats, upward: Floats, unit: str) -> None:
    """Label the axes if the view is along x, y or z; otherwise draw the directions of x, y and z in a corner."""
    suffix = f" ({unit})" if unit else ""
    if np.count_nonzero(across) == np.count_nonzero(upward) == 1:
        for one, direction in ((axis.xaxis, across), (axis.yaxis, upward)):
            number = int(np.flatnonzero(direction)[0])
            one.set_label_text(AXES[number] + suffix, fontsize=8, parse_math=False)
            if direction[number] < 0:  # the picture has -y to the right, and its ticks are those of y
                one.set_major_formatter(lambda value, _: f"{0 - value:g}".replace("-", "\N{MINUS SIGN}"))
        axis.tick_params(labelsize=7)
        axis.grid(visible=False)
        return
    axis.set_axis_off()
    corner = axis.inset_axes((0.0, 0.0, 0.13, 0.13))
    corner.set_axis_off()
    corner.set_xlim(-1.5, 1.5)
    corner.set_ylim(-1.5, 1.5)
    corner.set_aspect("equal")
    for name, right, up in zip(AXES, across, upward, strict=True):
        corner.plot([0, right], [0, up], color="#495057", lw=1.0)
        corner.text(1.3 * right, 1.3 * up, name, ha="center", va="center", fontsize=7, color="#495057")
