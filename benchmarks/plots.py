"""The plots of the benchmarks page."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.results import Case, Comparison

__all__ = ["plot_comparison"]

_OURS, _THEIRS = "#d9480f", "#868e96"
_LABELS = {"s": "milliseconds", "MB": "MB", "bytes": "bytes"}
_COLUMNS = 3


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Plot one panel per case, with medians as bars and quartiles as whiskers."""
    n_columns = min(len(comparison.cases), _COLUMNS)
    n_rows = -(-len(comparison.cases) // n_columns)
    tallest = max(len(case.rows) for case in comparison.cases)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(5.2 * n_columns, max(0.32 * tallest + 1.1, 2.4) * n_rows),
        layout="constrained",
        squeeze=False,
    )
    for axis, case in zip(axes.flat, comparison.cases, strict=False):
        if comparison.name == "size":
            _lines(axis, case)
        else:
            _bars(axis, case)
        axis.set_title(case.title, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(comparison.cases) :]:
        axis.set_visible(False)
    # Leave the software's version out of the metadata, so that the same result makes the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _bars(axis: Axes, case: Case) -> None:
    rows = [row for row in case.rows if row.values]
    scale = 1e3 if case.unit == "s" else 1.0
    medians = [row.median * scale for row in rows]
    below = [median - row.quartiles[0] * scale for row, median in zip(rows, medians, strict=True)]
    above = [row.quartiles[1] * scale - median for row, median in zip(rows, medians, strict=True)]
    colors = [_OURS if row.name.startswith("noether") else _THEIRS for row in rows]
    axis.barh([row.name for row in rows], medians, xerr=[below, above], color=colors, error_kw={"lw": 1, "capsize": 2})
    axis.invert_yaxis()
    if medians and min(medians) > 0 and max(medians) / min(medians) > 20:
        axis.set_xscale("log")
    axis.set_xlabel(_LABELS[case.unit], fontsize=8)


def _lines(axis: Axes, case: Case) -> None:
    sizes = [int(row.name.split()[0].replace(",", "")) for row in case.rows]
    axis.plot(sizes, [row.median for row in case.rows], "o-", color=_OURS)
    axis.set_xscale("log")
    axis.set_ylim(0, 1.25 * max(row.median for row in case.rows))
    axis.set_xlabel("points of the sample", fontsize=8)
    axis.set_ylabel(_LABELS[case.unit], fontsize=8)
