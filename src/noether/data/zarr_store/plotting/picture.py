"""Pictures of a sample: its points, seen from one side and coloured by a field."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import ArgumentError, StorageError, require_one_of
from noether.data.zarr_store.plotting.axes import (
    checked_range,
    colors_of,
    ends_beyond,
    frame,
    marker_area,
    name_axes,
    range_of,
)
from noether.data.zarr_store.plotting.drawn_points import Axis, Component, checked_slab, near_plane, read_points
from noether.data.zarr_store.plotting.views import AXES, angles_of, directions_of
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.statistics import picture_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap

__all__ = ["draw_sample", "plot_sample"]

_POINTS = 100_000
_DPI = 150
_MAX_PIXELS = 20_000
_NOT_FINITE = "#bdbdbd"
# The view that shows a slab.
_SLAB_VIEWS = {"x": "front", "y": "side", "z": "top"}


def plot_sample(
    store: str | os.PathLike[str] | ZarrChunkReader,
    sample_id: str,
    field: str,
    path: str | os.PathLike[str],
    *,
    component: Component | None = None,
    num_points: int | None = _POINTS,
    view: str | tuple[float, float] | None = None,
    slab: tuple[Axis, float] | None = None,
    size: tuple[int, int] = (1200, 800),
    cmap: str | Colormap | None = None,
    value_range: tuple[float, float] | None = None,
    mirror: Axis | None = None,
    storage_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a picture of the points of a sample, coloured by a field.

    Parameters
    ----------
    store : str, path or ZarrChunkReader
        Local path or URL of the store, or a reader of it.
    sample_id : str
        Id of the sample.
    field : str
        Canonical name of the field.
    path : str or path
        Path of the picture: ``.png``, ``.pdf`` or ``.svg``. An existing file is replaced.
    component : int, {"x", "y", "z", "magnitude"}, optional
        Component of a field that has several; by default the magnitude.
    num_points : int or None
        Number of points to draw at random from the domain of the field; None reads the whole domain.
    view : str or tuple of two floats, optional
        One of `VIEWS`, or azimuth and elevation of the eye in degrees. By default, the view that faces the slab, or
        ``"corner"`` without a slab.
    slab : tuple of ({"x", "y", "z"}, float), optional
        Axis and coordinate of a plane. Only points near the plane are shown: the points of a slab around it. The
        thickness of the slab is 5 % of the extent of all points along the axis. Use a slab for a volume, since its
        outer points hide the others.
    size : tuple of two ints
        Width and height in pixels; 150 pixels are an inch.
    cmap : str or Colormap, optional
        Colours. By default, a diverging map with its middle at 0 if the range has both signs, otherwise viridis.
    value_range : tuple of two floats, optional
        Values at the ends of the colours; by default the 1st and the 99th percentile of the values drawn.
    mirror : {"x", "y", "z"}, optional
        Axis along which the points are mirrored at 0, for the mesh of one half of a body. A mirrored point has the
        colour of its original.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    seed : int
        Seed of the draw.

    Returns
    -------
    Path
        Path of the picture.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    MissingDependencyError
        Matplotlib is not installed.
    UnknownNameError
        The store has no such sample or field.
    CorruptDataError, TooLargeError
        As in `ZarrChunkReader.read_arrays`.
    StorageError
        The picture cannot be written, or the store cannot be reached.
    """
    file = picture_path(path, "plotting a sample")
    width, height = _checked_size(size)
    reader = store if isinstance(store, ZarrChunkReader) else ZarrChunkReader(store, storage_options=storage_options)

    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), layout="constrained")
    axis = figure.subplots()
    points = draw_sample(
        axis,
        reader,
        sample_id,
        field,
        component=component,
        num_points=num_points,
        view=view,
        slab=slab,
        cmap=cmap,
        value_range=value_range,
        mirror=mirror,
        seed=seed,
    )
    bar = figure.colorbar(points, ax=axis, shrink=0.85, aspect=30)
    bar.set_label(str(points.get_label()), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=7)
    try:
        with warnings.catch_warnings():
            # An id may have characters that the font lacks; boxes stand for them in the title.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            # Without the version of Matplotlib in the file, the same points make the same bytes.
            figure.savefig(file, dpi=_DPI, metadata={"Software": None} if file.suffix.lower() == ".png" else None)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror}); choose another path") from error
    return file


def draw_sample(
    axis: Axes,
    reader: ZarrChunkReader,
    sample_id: str,
    field: str,
    *,
    component: Component | None = None,
    num_points: int | None = _POINTS,
    view: str | tuple[float, float] | None = None,
    slab: tuple[Axis, float] | None = None,
    cmap: str | Colormap | None = None,
    value_range: tuple[float, float] | None = None,
    mirror: Axis | None = None,
    seed: int = 0,
) -> PathCollection:
    """Draw the points of a sample into axes of a figure, coloured by a field.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Plain two-dimensional axes. The figure must already have its final size, which determines the marker size.
    reader : ZarrChunkReader
        Reader of the store.
    sample_id, field, component, num_points, view, slab, cmap, value_range, mirror, seed
        As in `plot_sample`. The errors are the same, too.

    Returns
    -------
    matplotlib.collections.PathCollection
        The points, for a colour bar. Its label has the name and the unit of the field.
    """
    if mirror is not None:
        require_one_of("mirror", mirror, AXES)
    if slab is not None:
        slab = checked_slab(slab)
        view = _SLAB_VIEWS[slab[0]] if view is None else view
    azimuth, elevation = angles_of("corner" if view is None else view)
    draw = read_points(reader, sample_id, field, component, num_points, seed)
    if slab is not None:
        draw = near_plane(draw, sample_id, *slab)
    positions, values = draw.positions, draw.values
    if mirror is not None:
        mirrored = positions.copy()
        mirrored[:, AXES.index(mirror)] *= -1
        positions, values = np.concatenate([positions, mirrored]), np.concatenate([values, values])
    across, upward, toward = directions_of(azimuth, elevation)
    order = np.argsort(positions @ toward, kind="stable")
    horizontal, vertical, values = (positions @ across)[order], (positions @ upward)[order], values[order]

    low, high = range_of(values) if value_range is None else checked_range(value_range)
    colors = colors_of(low, high, cmap)
    colors.colorbar_extend = ends_beyond(values, low, high)  # type: ignore[assignment] # stubs say bool; it is a str
    frame(axis)
    area = marker_area(axis, horizontal, vertical)
    is_finite = np.isfinite(values)
    if not is_finite.all():
        rest = ~is_finite
        axis.scatter(horizontal[rest], vertical[rest], s=area, c=_NOT_FINITE, linewidths=0, rasterized=True)
    points = axis.scatter(
        horizontal[is_finite],
        vertical[is_finite],
        s=area,
        c=values[is_finite],
        cmap=colors,
        vmin=low,
        vmax=high,
        linewidths=0,
        rasterized=True,
    )
    points.set_label(draw.label)
    name_axes(axis, across, upward, draw.unit)
    title = f"{sample_id} · {len(draw.values):,} of {draw.n_points:,} points"
    title += f" · near {slab[0]} = {slab[1]:g}" if slab else ""
    title += f" · mirrored at {mirror} = 0" if mirror else ""
    n_missing = int(np.count_nonzero(~np.isfinite(draw.values)))
    title += f" · {n_missing:,} not finite (grey)" if n_missing else ""
    axis.set_title(printable(title), fontsize=9, parse_math=False)
    return points


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if not (200 <= width <= _MAX_PIXELS and 200 <= height <= _MAX_PIXELS):
        raise ArgumentError(
            f"size: expected 200 to {_MAX_PIXELS:,} pixels in width and height, got {width} x {height}; use 1200 x 800"
        )
    return width, height
