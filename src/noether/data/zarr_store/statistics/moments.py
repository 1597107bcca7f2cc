"""Statistics of a field. Those of blocks, samples and stores can be merged, also across machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noether.data.zarr_store.core import HtmlTable, html_repr
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import POSITION

__all__ = ["RunningStats", "is_position", "log_scale", "position_bounds"]

Floats = NDArray[np.float64]

# Components in a line, and in a table.
_SHOWN, _ROWS = 8, 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunningStats:
    """Statistics of one field, component by component, over its finite values.

    Attributes
    ----------
    count : int
        Number of points.
    mean, std : ndarray of float64, shape (width,)
        Mean and standard deviation. The standard deviation divides by the number of values, as `numpy.std` does. NaN
        if no value is finite.
    min, max : ndarray of float64, shape (width,)
        Smallest and largest value; NaN unless all points were read.
    logmean, logstd : ndarray of float64, shape (width,)
        Mean and standard deviation of ``sign(x) log(1 + |x|)``.
    non_finite : ndarray of int64, shape (width,)
        Number of NaN and infinite values among the points that were read. All other figures leave them out.
    points_read : int
        Number of points that the figures were computed from; fewer than `count` in an estimate.
    mean_margin, logmean_margin : ndarray of float64, shape (width,)
        Half the width of the 95 % confidence interval of `mean` and `logmean`; 0 if all points were read.

    Notes
    -----
    Values beyond 1e150 make the standard deviation infinite, because their squares overflow float64.
    """

    count: int
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    logmean: Floats
    logstd: Floats
    non_finite: NDArray[np.int64]
    points_read: int
    mean_margin: Floats
    logmean_margin: Floats

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Compute the statistics of some points.

        Parameters
        ----------
        values : array-like of real numbers, shape (n_points, width) or (n_points,)
            At least one point. All arithmetic is in float64, whatever the dtype.

        Raises
        ------
        ArgumentError
            `values` has another shape, no points, or no real numbers.
        """
        rows = np.asarray(values)
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fiu":
            raise ArgumentError(
                f"values: expected real numbers of shape (n_points, width), got {rows.dtype} of shape {rows.shape}"
            )
        columns = [_figures_of(rows[:, component]) for component in range(rows.shape[1])]
        mean, std, low, high, logmean, logstd, finite = np.array(columns).T
        nothing = np.zeros(rows.shape[1])
        non_finite = len(rows) - finite.astype(np.int64)
        return cls(
            len(rows), mean, std, low, high, logmean, logstd, non_finite, len(rows), nothing, nothing
        )  # fmt: skip

    @property
    def width(self) -> int:
        """Number of components of the field."""
        return len(self.mean)

    @property
    def is_estimate(self) -> bool:
        """True unless all points were read."""
        return self.points_read < self.count

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.summary()}>"

    def _repr_html_(self) -> str:
        return html_repr(type(self).__name__, [], [self.table("components")])

    def summary(self) -> str:
        """Return points, mean, standard deviation and extremes in a line; at most eight components of each."""
        figures = ", ".join(f"{name} {_some(getattr(self, name))}" for name in ("mean", "std", *self._extremes))
        read = f" ({self.points_read:,} read)" if self.is_estimate else ""
        return f"{self.count:,} points{read}: {figures}"

    def table(self, title: str) -> HtmlTable:
        """Return a table with a row for each component."""
        margin = ("mean_margin",) if self.is_estimate else ()
        names = ["mean", "std", *self._extremes, "logmean", "logstd", "non_finite", *margin]
        columns = [getattr(self, name)[:_ROWS].tolist() for name in names]
        rows = [[str(number), *map(_shown, row)] for number, row in enumerate(zip(*columns, strict=True))]
        read = f", of which {self.points_read:,} were read" if self.is_estimate else ""
        header = ["component", *(name.replace("_", " ") for name in names)]
        return HtmlTable(title, f"{self.count:,} points{read}", header, rows, self.width, is_open=True)

    @property
    def _extremes(self) -> tuple[str, ...]:
        """Names of the extremes, which an estimate lacks."""
        return () if self.is_estimate else ("min", "max")

    def merge(self, other: RunningStats) -> RunningStats:
        """Return the statistics of the points of both objects, which must have no point in common.

        Statistics that are merged in any order equal the statistics of all points, up to rounding: 1e-12 of the size
        of the values.

        Raises
        ------
        ArgumentError
            The widths differ.

        Notes
        -----
        The update formula is from Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983), with
        roots of the sums of squares. The errors of estimates are independent of each other, so their squares add up.
        """
        if self.width != other.width:
            raise ArgumentError(f"merge: expected {self.width} components as in the first, got {other.width}")
        ours, theirs = self._finite(), other._finite()
        total = ours + theirs
        with np.errstate(invalid="ignore", over="ignore"):  # 0/0 where neither has a finite value
            of_ours, of_theirs = ours / total, theirs / total
            mean, std = _merge_moments(of_ours, self.mean, self.std, of_theirs, other.mean, other.std)
            logmean, logstd = _merge_moments(of_ours, self.logmean, self.logstd, of_theirs, other.logmean, other.logstd)
            merged = {
                "mean": mean,
                "std": std,
                "min": np.minimum(self.min, other.min),
                "max": np.maximum(self.max, other.max),
                "logmean": logmean,
                "logstd": logstd,
                "mean_margin": np.hypot(of_ours * self.mean_margin, of_theirs * other.mean_margin),
                "logmean_margin": np.hypot(of_ours * self.logmean_margin, of_theirs * other.logmean_margin),
            }
        # A side without finite values has no figures: take the figures of the other side.
        chosen = {
            name: np.where(theirs == 0, getattr(self, name), np.where(ours == 0, getattr(other, name), both))
            for name, both in merged.items()
        }
        return RunningStats(
            count=self.count + other.count,
            non_finite=self.non_finite + other.non_finite,
            points_read=self.points_read + other.points_read,
            **chosen,
        )

    def _finite(self) -> Floats:
        """Return the number of points that the figures of each component stand for."""
        counts: Floats = (self.points_read - self.non_finite).astype(np.float64)
        counts *= self.count / self.points_read
        return counts


class _Figures(NamedTuple):
    """The figures of one component."""

    mean: float
    std: float
    min: float
    max: float
    logmean: float
    logstd: float
    finite: int


_NO_FIGURES = _Figures(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0)


def _shown(figure: float) -> str:
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.6g}"


def _some(figures: Floats) -> str:
    shown = [f"{value:.4g}" for value in figures[:_SHOWN].tolist()]
    return shown[0] if len(figures) == 1 else f"[{', '.join(shown)}{', …' if len(figures) > _SHOWN else ''}]"


def log_scale(values: Floats) -> Floats:
    """Return ``sign(x) log(1 + |x|)`` of each value."""
    scaled = np.abs(values)
    np.log1p(scaled, out=scaled)
    return np.copysign(scaled, values, out=scaled)


def is_position(field: str) -> bool:
    """Return whether a canonical name is the name of a position."""
    return field.endswith(f"_{POSITION}")


def position_bounds(stats: Mapping[str, RunningStats]) -> tuple[Floats, Floats] | None:
    """Return the smallest and largest coordinates over the positions of all domains, in the unit of the source.

    If the store has an origin, the coordinates are relative to the origin.

    Returns
    -------
    tuple of ndarray of float64, shape (3,)
        Smallest and largest coordinates; NaN unless all points were read. None if `stats` has no positions.
    """
    bounds = [(one.min, one.max) for field, one in stats.items() if is_position(field)]
    if not bounds:
        return None
    lows, highs = zip(*bounds, strict=True)
    return np.minimum.reduce(lows), np.maximum.reduce(highs)


def _figures_of(column: NDArray[Any]) -> _Figures:
    """Compute the figures of one component, shape (n_points,)."""
    counts: Floats | None = None
    with np.errstate(invalid="ignore", over="ignore"):
        if column.dtype == np.float16:
            values, counts = _distinct(column)
        else:
            values = column.astype(np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            values, counts = values[finite], None if counts is None else counts[finite]
        if not values.size:
            return _NO_FIGURES
        mean, std = _moments(values, counts)
        logmean, logstd = _moments(log_scale(values), counts)
    n_values = values.size if counts is None else int(counts.sum())
    return _Figures(mean, std, float(values.min()), float(values.max()), logmean, logstd, n_values)


def _distinct(column: NDArray[np.float16]) -> tuple[Floats, Floats]:
    """Return the distinct values of a float16 column, and the count of each.

    There are at most 65,536 distinct values, so counting them takes half the time of arithmetic with every value.
    """
    counts = np.bincount(column.view(np.uint16))
    bits = np.flatnonzero(counts)
    return bits.astype(np.uint16).view(np.float16).astype(np.float64), counts[bits].astype(np.float64)


def _moments(values: Floats, counts: Floats | None) -> tuple[float, float]:
    """Return mean and standard deviation of values with counts, which are 1 by default.

    They are computed relative to the first value: so a constant has exact moments, and a large offset costs no digits.
    """
    origin = values[0]
    shifted = values - origin
    shift = _mean(shifted, counts)
    shifted -= shift
    shifted *= shifted
    return float(origin + shift), float(np.sqrt(_mean(shifted, counts)))


def _mean(values: Floats, counts: Floats | None) -> np.float64:
    # NumPy's sum is pairwise: unlike a dot product, it loses no digits over many values.
    total: np.float64 = values.mean() if counts is None else (values * counts).sum() / counts.sum()
    return total


def _merge_moments(
    of_first: Floats, mean: Floats, std: Floats, of_second: Floats, other_mean: Floats, other_std: Floats
) -> tuple[Floats, Floats]:
    """Merge two means and standard deviations, given the share of each side in the total."""
    apart = other_mean - mean
    within = np.hypot(np.sqrt(of_first) * std, np.sqrt(of_second) * other_std)
    return mean + of_second * apart, np.hypot(within, np.sqrt(of_first * of_second) * apart)
