"""Pictures of a sample: its points, seen from one side and coloured by a field."""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import positive_int, printable
from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, StorageError, require_one_of
from noether.data.zarr_store.layout import require_fields
from noether.data.zarr_store.manifest import field_label
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.statistics import output_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap

__all__ = ["VIEWS", "Axis", "Component", "draw_sample", "picture_path", "plot_sample"]

Axis = Literal["x", "y", "z"]
Component = int | Literal["x", "y", "z", "magnitude"]
Floats = NDArray[np.float64]

VIEWS: dict[str, tuple[float, float]] = {
    "corner": (-130, 22),
    "front": (180, 0),
    "back": (0, 0),
    "side": (-90, 0),
    "top": (-90, 90),
    "bottom": (-90, -90),
}
"""Azimuth and elevation, in degrees, of the direction from the points to the eye. The front is at the smallest x."""

_POINTS = 100_000
_AXES = ("x", "y", "z")
_DPI = 150
_MAX_PIXELS = 20_000
# Percentage of the values below the range of the colours; the same percentage lies above it.
_TAIL = 1.0
_SIGNED, _UNSIGNED = "coolwarm", "viridis"
_NOT_FINITE = "#bdbdbd"
# Most and least area of a marker, in square points.
_MARKER = (0.4, 120.0)
# Thickness of a slab, as a fraction of the extent of all points along its axis, and the view that shows the slab.
_SLAB = 0.05
_SLAB_VIEWS = {"x": "front", "y": "side", "z": "top"}


class _Draw(NamedTuple):
    """A random draw of the points of one sample, with one value each."""

    positions: Floats
    values: Floats
    n_points: int
    label: str
    unit: str


def picture_path(path: str | os.PathLike[str]) -> Path:
    """Check the path of a picture before points are read, and return it.

    Raises
    ------
    ArgumentError
        The path does not end in ``.png``, ``.pdf`` or ``.svg``, or its directory does not exist.
    MissingDependencyError
        Matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError("matplotlib", "plotting a sample", "plot")
    return output_path(path, (".png", ".pdf", ".svg"))


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
        thickness of the slab is 5 % of the extent of all points along the axis. A volume needs a slab, since its outer
        points hide the others.
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
    file = picture_path(path)
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
        require_one_of("mirror", mirror, _AXES)
    if slab is not None:
        slab = _checked_slab(slab)
        view = _SLAB_VIEWS[slab[0]] if view is None else view
    azimuth, elevation = _angles("corner" if view is None else view)
    draw = _read(reader, sample_id, field, component, num_points, seed)
    if slab is not None:
        draw = _near_plane(draw, sample_id, *slab)
    positions, values = draw.positions, draw.values
    if mirror is not None:
        mirrored = positions.copy()
        mirrored[:, _AXES.index(mirror)] *= -1
        positions, values = np.concatenate([positions, mirrored]), np.concatenate([values, values])
    across, upward, toward = _directions(azimuth, elevation)
    order = np.argsort(positions @ toward, kind="stable")
    horizontal, vertical, values = (positions @ across)[order], (positions @ upward)[order], values[order]

    low, high = _range_of(values) if value_range is None else _checked_range(value_range)
    colors = _colors(low, high, cmap)
    colors.colorbar_extend = _extend(values, low, high)  # type: ignore[assignment] # stubs say bool; it is a str
    _frame(axis)
    area = _marker_area(axis, horizontal, vertical)
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
    _name_axes(axis, across, upward, draw.unit)
    title = f"{sample_id} · {len(draw.values):,} of {draw.n_points:,} points"
    title += f" · near {slab[0]} = {slab[1]:g}" if slab else ""
    title += f" · mirrored at {mirror} = 0" if mirror else ""
    n_missing = int(np.count_nonzero(~np.isfinite(draw.values)))
    title += f" · {n_missing:,} not finite (grey)" if n_missing else ""
    axis.set_title(printable(title), fontsize=9, parse_math=False)
    return points


def _read(
    reader: ZarrChunkReader, sample_id: str, field: str, component: Component | None, num_points: int | None, seed: int
) -> _Draw:
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
    return _Draw(positions, drawn, n_points, label, printable(unit))


def _checked_slab(slab: tuple[Axis, float]) -> tuple[Axis, float]:
    axis, value = slab
    require_one_of("slab", axis, _AXES)
    if not math.isfinite(value):
        raise ArgumentError(f"slab: expected a finite coordinate, got {axis} = {value}; use, for example, {axis} = 0")
    return axis, float(value)


def _near_plane(draw: _Draw, sample_id: str, axis: Axis, value: float) -> _Draw:
    """Return the points of a draw that lie near a plane."""
    along = draw.positions[:, _AXES.index(axis)]
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
    letters = _AXES if width == len(_AXES) else ()
    if component in letters:
        return letters.index(str(component)), str(component)
    if isinstance(component, int) and not isinstance(component, bool) and 0 <= component < width:
        return component, letters[component] if letters else f"component {component}"
    known = ", ".join([*letters, "magnitude", f"0 to {width - 1}"])
    raise ArgumentError(f"component: {field} has {width} components, got {component!r}; use one of {known}")


def _angles(view: str | tuple[float, float]) -> tuple[float, float]:
    if isinstance(view, str):
        require_one_of("view", view, VIEWS)
        return VIEWS[view]
    azimuth, elevation = view
    if not (math.isfinite(azimuth) and -90 <= elevation <= 90):
        raise ArgumentError(
            f"view: expected an azimuth, and an elevation from -90 to 90 degrees, got {view!r}; use (-130, 22)"
        )
    return azimuth, elevation


def _directions(azimuth: float, elevation: float) -> tuple[Floats, Floats, Floats]:
    """Return the directions that lie to the right, upward, and toward the eye in the picture, each of length 1."""
    turn, rise = math.radians(azimuth), math.radians(elevation)
    across = np.array([-math.sin(turn), math.cos(turn), 0.0])
    toward = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
    upward = np.cross(toward, across)
    return across.round(12), upward.round(12), toward.round(12)


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if not (200 <= width <= _MAX_PIXELS and 200 <= height <= _MAX_PIXELS):
        raise ArgumentError(
            f"size: expected 200 to {_MAX_PIXELS:,} pixels in width and height, got {width} x {height}; use 1200 x 800"
        )
    return width, height


def _checked_range(value_range: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ArgumentError(
            f"value_range: expected a lower and a higher number, got {low:g} and {high:g}; name the lower number first"
        )
    return low, high


def _range_of(values: Floats) -> tuple[float, float]:
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


def _colors(low: float, high: float, cmap: str | Colormap | None) -> Colormap:
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


def _extend(values: Floats, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    """Return at which ends the colour bar shows that values lie outside of the range."""
    is_below, is_above = bool((values < low).any()), bool((values > high).any())
    if is_below and is_above:
        return "both"
    return "min" if is_below else "max" if is_above else "neither"


def _frame(axis: Axes) -> None:
    """Let the axes hold all points at one scale, with a margin for the markers."""
    axis.margins(0.05)
    axis.set_aspect("equal", adjustable="datalim")


def _marker_area(axis: Axes, horizontal: Floats, vertical: Floats) -> float:
    """Return the area of a marker, in square points, with which the markers cover the body about twice."""
    figure = axis.get_figure(root=True)
    box = axis.get_position()
    width, height = np.asarray(figure.get_size_inches()) * [box.width, box.height] * 72 if figure else (72.0, 72.0)
    spans = [max(float(np.ptp(one)), 1e-30) for one in (horizontal, vertical)]
    scale = min(width / spans[0], height / spans[1])
    area = 2.5 * scale**2 * spans[0] * spans[1] / len(horizontal)
    return float(np.clip(area, *_MARKER))


def _name_axes(axis: Axes, across: Floats, upward: Floats, unit: str) -> None:
    """Label the axes if the view is along x, y or z; otherwise draw the directions of x, y and z in a corner."""
    suffix = f" ({unit})" if unit else ""
    if np.count_nonzero(across) == np.count_nonzero(upward) == 1:
        for one, direction in ((axis.xaxis, across), (axis.yaxis, upward)):
            number = int(np.flatnonzero(direction)[0])
            one.set_label_text(_AXES[number] + suffix, fontsize=8, parse_math=False)
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
    for name, right, up in zip(_AXES, across, upward, strict=True):
        corner.plot([0, right], [0, up], color="#495057", lw=1.0)
        corner.text(1.3 * right, 1.3 * up, name, ha="center", va="center", fontsize=7, color="#495057")
