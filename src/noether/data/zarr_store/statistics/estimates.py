"""Estimates of means from some of the points: the number of points to read, and the error of the estimate. Pure.

The points of a domain are shuffled, so the points in any of its chunks are a random draw, without replacement.
The formulas are those of simple and of stratified random sampling, with a stratum for each sample of the store:
Cochran, "Sampling Techniques" (3rd edition, 1977), sections 2.6 and 5.3.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics.moments import RunningStats

__all__ = ["CONFIDENCE", "check_tolerance", "extrapolate", "points_to_read", "share_to_read"]

CONFIDENCE = 0.95
"""Probability that a confidence interval contains the true mean."""

_QUANTILE = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def check_tolerance(tolerance: Any) -> float:
    """Return a tolerance if it is a float above 0 and below 1, else raise `ArgumentError`."""
    if not isinstance(tolerance, float) or not 0 < tolerance < 1:
        raise ArgumentError(
            "tolerance: expected a number above 0 and below 1, the error of a mean as a fraction of the standard "
            f"deviation, got {tolerance!r}; pass a number such as 0.01"
        )
    return tolerance


def share_to_read(n_points: int, tolerance: float) -> float:
    """Return the share of a domain's points, over all samples, that makes every mean precise enough.

    Parameters
    ----------
    n_points : int
        Number of points of the domain in all samples, N.
    tolerance : float
        Maximum of half the width of a confidence interval, as a fraction t of the standard deviation.

    Notes
    -----
    With n of N points, half the width of the interval is ``z s sqrt((1 - n/N) / n)``. It is t s for
    ``n = z² / (t² + z²/N)``, for any field. If each sample provides at least this share of its points, the interval is
    no wider: differences between samples add to s, but not to the error.
    """
    return 1 / (1 + n_points * (tolerance / _QUANTILE) ** 2)


def points_to_read(grid: Grid, share: float) -> int:
    """Return the number of points to read of one sample.

    It fills whole chunks, and is at least 2, because a standard deviation needs two points.
    """
    wanted = max(math.ceil(share * grid.n_points), 2)
    return min(-(-wanted // grid.chunk_points) * grid.chunk_points, grid.n_points)


def extrapolate(stats: RunningStats, n_points: int) -> RunningStats:
    """Return the statistics of all points of a sample, estimated from the statistics of some of them.

    Parameters
    ----------
    stats : RunningStats
        Statistics of randomly chosen points, all of which were read.
    n_points : int
        Number of points of the sample.

    Returns
    -------
    RunningStats
        `stats` unchanged if it covers all points; otherwise estimates, with margins and without extremes.
    """
    if stats.count == n_points:
        return stats
    finite = stats.count - stats.non_finite
    unknown = np.full(stats.width, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # a single finite value makes the divisor 0
        unbiased = np.sqrt(finite / (finite - 1))
        margin = _QUANTILE * np.sqrt((1 - stats.count / n_points) / finite)
        std, logstd = stats.std * unbiased, stats.logstd * unbiased
    return replace(
        stats,
        count=n_points,
        std=std,
        logstd=logstd,
        min=unknown,
        max=unknown,
        mean_margin=margin * std,
        logmean_margin=margin * logstd,
    )
