"""The plots of the benchmarks page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.results import Case, Comparison

__all__ = ["make_figure", "plot_comparison"]

_OURS, _THEIRS = "#d9480f", "#868e96"
_COLUMNS = 3
# Medians that differ by more are shown as dots on a logarithmic axis.
_MOST_TIMES = 20
# By unit of a case: names of units to show, and the size of each, from the largest.
_UNITS = {
    "s": (("seconds", 1.0), ("milliseconds", 1e-3)),
    "MB": (("GB", 1e3), ("MB", 1.0)),
    "bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)),
}
_ABOVE = 5.0


@dataclass(frozen=True)
class _Scale:
    """The axis that panels of the same contenders share.

    Attributes
    ----------
    unit : str
        Name of the unit.
    factor : float
        Factor from the unit of the case to that of the axis.
    is_log : bool
        Whether the axis is logarithmic.
    limits : tuple of two floats
        Ends of the axis. A linear axis begins at 0.
    """

    unit: str
    factor: float
    is_log: bool
    limits: tuple[float, float]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> _Scale:
        """Choose the axis for all of these cases."""
        rows = [row for case in cases for row in case.rows if row.values]
        medians = [row.median for row in rows]
        largest = max(medians)
        units = _UNITS[cases[0].unit]
        unit, size = next((one for one in units if largest >= _ABOVE * one[1]), units[-1])
        is_log = min(medians) > 0 and largest / min(medians) > _MOST_TIMES
        low = min(row.quartiles[0] for row in rows) / size
        high = max(row.quartiles[1] for row in rows) / size
        # Room for the figures, which stand beside the bars and dots.
        limits = (low / 1.6, high * (high / low) ** 0.35) if is_log else (0.0, 1.3 * high)
        return cls(unit, 1 / size, is_log, limits)


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Plot one panel per case, with medians and quartiles."""
    figure = make_figure(comparison)
    # Without the software's version in the metadata, the same result gives the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def make_figure(comparison: Comparison) -> Figure:
    """Return the figure of a comparison. Panels of the same contenders have the same axis."""
    n_columns = min(len(comparison.cases), _COLUMNS)
    n_rows = -(-len(comparison.cases) // n_columns)
    tallest = max(len(case.rows) for case in comparison.cases)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(5.2 * n_columns, max(0.32 * tallest + 1.1, 2.0) * n_rows),
        layout="constrained",
        squeeze=False,
    )
    has_peers = any(row.name.startswith("noether") for case in comparison.cases for row in case.rows)
    for axis, case in zip(axes.flat, comparison.cases, strict=False):
        alike = [one for one in comparison.cases if _contenders(one) == _contenders(case)]
        scale = _Scale.of(alike)
        if comparison.name == "size":
            _lines(axis, case, scale)
        else:
            _panel(axis, case, scale, has_peers=has_peers)
        axis.set_title(case.title, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(comparison.cases) :]:
        axis.set_visible(False)
    return figure


def _contenders(case: Case) -> tuple[str, frozenset[str]]:
    return case.unit, frozenset(row.name for row in case.rows)


def _panel(axis: Axes, case: Case, scale: _Scale, *, has_peers: bool) -> None:
    """Draw bars from 0, or dots where the axis is logarithmic: the length of a bar means nothing there."""
    rows = [row for row in case.rows if row.values]
    places = list(range(len(rows)))
    medians = [row.median * scale.factor for row in rows]
    low = [row.quartiles[0] * scale.factor for row in rows]
    high = [row.quartiles[1] * scale.factor for row in rows]
    colors = [_OURS if row.name.startswith("noether") or not has_peers else _THEIRS for row in rows]
    if scale.is_log:
        axis.set_xscale("log")
        axis.scatter(medians, places, c=colors, s=42, zorder=3)
        axis.hlines(places, low, high, colors=colors, lw=2, zorder=2)
        axis.grid(axis="y", color="#dee2e6", lw=0.8)
        axis.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_minor_locator(NullLocator())
        if scale.limits[1] / scale.limits[0] > 200:
            axis.xaxis.set_major_locator(LogLocator(10))
    else:
        axis.barh(places, medians, height=0.7, color=colors)
        axis.hlines(places, low, high, colors="#212529", lw=1)
    axis.set_xlim(*scale.limits)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for place, median, end in zip(places, medians, high, strict=True):
        axis.annotate(
            _figure(median), (end, place), (6, 0), textcoords="offset points", va="center", fontsize=7, color="#495057"
        )
    axis.set_yticks(places, [row.name for row in rows])
    n_slots = max(len(rows), 2)
    axis.set_ylim(len(rows) / 2 - 0.5 + n_slots / 2, len(rows) / 2 - 0.5 - n_slots / 2)
    axis.set_xlabel(scale.unit + (", logarithmic" if scale.is_log else ""), fontsize=8)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(axis: Axes, case: Case, scale: _Scale) -> None:
    sizes = [int(row.name.split()[0].replace(",", "")) for row in case.rows]
    axis.plot(sizes, [row.median * scale.factor for row in case.rows], "o-", color=_OURS)
    axis.set_xscale("log")
    axis.set_ylim(*scale.limits)
    axis.set_xlabel("points of the sample", fontsize=8)
    axis.set_ylabel(scale.unit, fontsize=8)
