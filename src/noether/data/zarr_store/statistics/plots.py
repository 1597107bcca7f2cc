"""Histograms of the fields of a store, in a picture."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import MissingDependencyError, StorageError
from noether.data.zarr_store.manifest import FieldAttributes, field_label
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.sampling import random_stream
from noether.data.zarr_store.statistics.documents import output_path
from noether.data.zarr_store.statistics.moments import RunningStats
from noether.data.zarr_store.statistics.planning import Selection, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["picture_path", "plot_histograms"]

_MAX_SAMPLES = 64
_POINTS = 200_000
_BINS = 60
_COLUMNS = 3
_COMPONENTS = ("x", "y", "z")
_COLORS = ("#d9480f", "#1971c2", "#2f9e44")


def picture_path(path: str | os.PathLike[str], purpose: str) -> Path:
    """Return the path of a picture, after checking it. Call this before the work that makes the picture.

    Raises
    ------
    ArgumentError
        The suffix of the path is not ``.png``, ``.pdf`` or ``.svg``, or its directory does not exist.
    MissingDependencyError
        Matplotlib is not installed. The message names the purpose.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError("matplotlib", purpose, "plot")
    return output_path(path, (".png", ".pdf", ".svg"))


def plot_histograms(
    root: str | os.PathLike[str],
    stats: Mapping[str, RunningStats],
    path: str | os.PathLike[str],
    *,
    sample_ids: Iterable[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Write a picture with a histogram of each field, from about 200,000 random points, and with the means.

    Parameters
    ----------
    root : str or path
        Local path or URL of the store.
    stats : mapping of str to RunningStats
        Statistics of the fields to plot.
    path : str or path
        Path of the picture: ``.png``, ``.pdf`` or ``.svg``.
    sample_ids, split, limit, storage_options, seed
        See `calculate_store_statistics`. The points of a domain are drawn from at most 64 of the samples that have it,
        which are chosen at random.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    StorageError
        The picture cannot be written, or the store cannot be reached.
    """
    file = picture_path(path, "plotting histograms")
    reader = ZarrChunkReader(root, storage_options=storage_options)
    selection = select(reader.manifest, sample_ids, split, limit, stats)
    drawn = _draw(reader, selection, seed)

    known: FieldAttributes = {}
    for sample_id in _first_samples(selection):
        known = reader.field_attributes(sample_id) | known

    from matplotlib.figure import Figure

    n_columns = min(len(stats), _COLUMNS)
    n_rows = -(-len(stats) // n_columns)
    figure = Figure(figsize=(4.6 * n_columns, 3.0 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for axis, (field, one) in zip(axes.flat, stats.items(), strict=False):
        _plot_field(axis, field, one, drawn[field], known.get(field, {}))
    for axis in axes.flat[len(stats) :]:
        axis.set_visible(False)
    title = f"{reader.manifest.dataset_name}: points drawn at random; dashed lines are means"
    figure.suptitle(title, fontsize=11, parse_math=False)
    try:
        figure.savefig(file, dpi=110)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror}); choose another path") from error


def _draw(reader: ZarrChunkReader, selection: Selection, seed: int) -> dict[str, NDArray[np.float64]]:
    """Draw the same share of the points of each sample; return an array of shape (n_points, width) by field."""
    drawn: dict[str, list[NDArray[np.float64]]] = {}
    for domain, layouts in selection.layouts.items():
        grids = {sample_id: there[domain] for sample_id, there in selection.grids.items() if domain in there}
        if len(grids) > _MAX_SAMPLES:
            chosen = random_stream(seed, "histograms", domain).sample(list(grids), _MAX_SAMPLES)
            grids = {sample_id: grids[sample_id] for sample_id in chosen}
        share = min(_POINTS / sum(grid.n_points for grid in grids.values()), 1)
        fields = [layout.field for layout in layouts]
        for sample_id, grid in grids.items():
            counts = {domain: math.ceil(share * grid.n_points)}
            for field, values in reader.read_arrays(sample_id, counts, seed, fields, dtype="float64").items():
                drawn.setdefault(field, []).append(values)
    return {field: np.concatenate(parts).reshape(sum(map(len, parts)), -1) for field, parts in drawn.items()}


def _first_samples(selection: Selection) -> Iterable[str]:
    """Return the first sample of each domain."""
    chosen: dict[str, str] = {}
    for sample_id, domains in selection.grids.items():
        for domain in domains:
            chosen.setdefault(domain, sample_id)
    return dict.fromkeys(chosen.values())


def _plot_field(
    axis: Axes, field: str, stats: RunningStats, values: NDArray[np.float64], meaning: Mapping[str, str]
) -> None:
    axis.set_title(f"{field}: {len(values):,} of {stats.count:,} points", fontsize=9, parse_math=False)
    axis.set_xlabel(field_label(field, meaning), fontsize=7, parse_math=False)
    is_finite = np.isfinite(values)
    if not is_finite.any():
        axis.text(0.5, 0.5, "no finite value", transform=axis.transAxes, ha="center")
        return
    edges = np.histogram_bin_edges(values[is_finite], _BINS).tolist()
    for component in np.flatnonzero(is_finite.any(axis=0)).tolist():
        kept = values[is_finite[:, component], component]
        color = _COLORS[component % len(_COLORS)]
        name = _COMPONENTS[component] if stats.width == len(_COMPONENTS) else str(component)
        weights = np.full(len(kept), 1 / len(values))
        axis.hist(kept, bins=edges, weights=weights, histtype="step", log=True, color=color, label=name)
        axis.axvline(stats.mean[component], color=color, lw=0.8, ls="--")
    if stats.width > 1:
        axis.legend(fontsize=7, frameon=False)
    axis.set_ylabel("share of points per bin", fontsize=7)
    axis.tick_params(labelsize=7)
