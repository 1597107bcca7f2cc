"""The loss of a cast of positions: points that fall together, and coordinates that become coarse. Pure.

float32 has seven digits, so coordinates near five million metres are rounded to half metres. The largest error of a
cast does not show whether that matters, so the points are compared with each other. In a large sample, only a random
subset is compared. Points that fall together must all be in the subset, or none of them. So a hash of the stored
position chooses the subset.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.manifest import Origin
from noether.data.zarr_store.writing.origin import minus_origin

__all__ = ["AxisLoss", "PositionLoss", "PositionMeter", "coarse_axes", "measure_positions", "step_at"]

# Approximate number of points that are compared, which takes about 20 ms.
_COMPARED_POINTS = 1 << 16
# A smaller subset might not be representative.
_LEAST_COMPARED_POINTS = 1 << 10
# Maximum number of points that are compared. A subset reaches it only if nearly all points fall together.
_MAX_COMPARED_POINTS = 1 << 18
# Number of points whose hashes are computed in one step; they fit in the caches of a processor.
_BLOCK_POINTS = 1 << 13
_BLOCKS_AT_ONCE = 16
# A rounding step is coarse above this fraction of the mean distance of points; it matters in the smallest cells.
_COARSE = 1e-3
# A sample is far from 0 if its largest coordinate is more than this multiple of its extent. For other samples, an
# origin does not help.
_FAR = 2
# An axis is flat if the extent along it is less than this fraction of the largest extent.
_FLAT = 1e-6
# Positions whose relative difference is below this rounding error of float64 count as equal.
_SAME = 8 * float(np.finfo(np.float64).eps)

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_BITS = 64


@dataclass(frozen=True, slots=True)
class AxisLoss:
    """The coordinates of a sample along one axis.

    Attributes
    ----------
    low, high : float
        Smallest and largest coordinate in the source.
    step : float
        Distance of neighbouring numbers of the stored dtype, at the largest magnitude.
    source_values, stored_values : int
        Number of different coordinates of the compared points, before and after the cast.
    is_coarse : bool
        Whether the axis is far from 0, and the step is more than a thousandth of the mean distance of points.
    """

    low: float
    high: float
    step: float
    source_values: int
    stored_values: int
    is_coarse: bool


@dataclass(frozen=True, slots=True)
class PositionLoss:
    """The loss of storing the positions of a domain of a sample.

    Attributes
    ----------
    sample_id, field, dtype : str
        Sample, field and stored dtype of the positions.
    n_points : int
        Number of points of the domain.
    n_compared : int
        Number of points that were compared: all points, or a random subset.
    n_together : int
        Number of compared points that share their stored position with a point that has another position in the source.
    axes : tuple of AxisLoss
        Loss of the coordinates along each axis.
    """

    sample_id: str
    field: str
    dtype: str
    n_points: int
    n_compared: int
    n_together: int
    axes: tuple[AxisLoss, ...]

    @property
    def share_together(self) -> float:
        """Fraction of the compared points that fall together."""
        return self.n_together / max(self.n_compared, 1)


class PositionMeter:
    """Measures the loss of storing the positions of a domain of a sample, from blocks of rows. Thread-safe.

    Parameters
    ----------
    n_points : int
        Number of points of the domain.
    width : int
        Number of components of a position.
    dtype : str
        Stored dtype of the positions.
    origin : tuple of three floats or None
        Point that is subtracted before the cast.
    """

    def __init__(self, n_points: int, width: int, dtype: str, origin: Origin | None) -> None:
        self._n_points = n_points
        self._width = width
        self._dtype = np.dtype(dtype)
        self._origin = origin
        # The points whose hashes are below a power of two make up the subset.
        self._shift = np.uint64(_BITS - max(math.ceil(math.log2(n_points / _COMPARED_POINTS)), 0))
        self._merging = Lock()
        self._first = np.empty((0, width))
        self._kept: list[NDArray[np.float64]] = []
        self._n_kept = 0
        self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)

    def add(self, rows: NDArray[Any]) -> None:
        """Add rows of the source. Each row must be added once; rows that are not finite are ignored."""
        for start in range(0, len(rows), _BLOCK_POINTS):
            self._add(rows[start : start + _BLOCK_POINTS])

    def loss(self, sample_id: str, field: str) -> PositionLoss | None:
        """Return the loss of all rows that were added; None if no points fall together and no axis is coarse."""
        # If points fall together at few positions, the hash may choose none of these. Then any points show the loss.
        given = np.concatenate([self._first, *self._kept] if self._n_kept < _LEAST_COMPARED_POINTS else self._kept)
        stored = given.astype(self._dtype)
        if np.array_equal(given, stored):  # for example whole numbers, or no points
            return None
        far = np.maximum(np.abs(self._low), np.abs(self._high))
        shift = np.asarray(self._origin or 0.0)
        ranges = list(zip((self._low - shift).tolist(), (self._high - shift).tolist(), strict=True))
        coarse = coarse_axes(ranges, self._n_points, self._dtype)
        n_together = _count_together(given, stored, _SAME * far)
        if not n_together and not any(coarse):
            return None
        axes = tuple(
            AxisLoss(
                float(self._low[axis]),
                float(self._high[axis]),
                step_at(max(map(abs, ranges[axis])), self._dtype),
                len(np.unique(given[:, axis])),
                len(np.unique(stored[:, axis])),
                coarse[axis],
            )
            for axis in range(self._width)
        )
        return PositionLoss(sample_id, field, self._dtype.name, self._n_points, len(given), n_together, axes)

    def _add(self, rows: NDArray[Any]) -> None:
        finite = np.isfinite(rows)
        if not finite.all():
            rows = rows[finite.all(axis=1)]
        if not len(rows):
            return
        columns = np.ascontiguousarray(rows.T)
        relative = minus_origin(rows, self._origin).astype(np.float64, copy=False)
        takes_all = self._shift == _BITS
        kept = relative.copy() if takes_all else relative[self._chosen(relative)]  # the caller uses `rows` again
        with self._merging:
            if not takes_all and not len(self._first):
                self._first = relative.copy()
            self._low = np.minimum(self._low, columns.min(axis=1))
            self._high = np.maximum(self._high, columns.max(axis=1))
            if self._n_kept < _MAX_COMPARED_POINTS and len(kept):
                self._kept.append(kept)
                self._n_kept += len(kept)

    def _chosen(self, relative: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether to compare each point. Points with the same stored position are all chosen, or all not."""
        with np.errstate(over="ignore"):  # a later check reports overflow
            stored = relative.astype(self._dtype)
        chosen: NDArray[np.bool_] = _hashes(stored) >> self._shift == 0
        return chosen


def measure_positions(
    rows: NDArray[Any],
    meter: PositionMeter,
    run: Callable[[Callable[[int], None], Iterable[int]], Iterable[None]] = map,
) -> None:
    """Add all positions of a sample to a meter; `run` is a function like `map`, which is called with all blocks."""
    step = _BLOCK_POINTS * _BLOCKS_AT_ONCE

    def add(start: int) -> None:
        meter.add(rows[start : start + step])

    deque(run(add, range(0, len(rows), step)), maxlen=0)


def step_at(magnitude: float, dtype: np.dtype[Any]) -> float:
    """Return the distance of neighbouring numbers of a floating dtype at a magnitude."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.spacing(dtype.type(magnitude)))


def coarse_axes(ranges: list[tuple[float, float]], n_points: int, dtype: np.dtype[Any]) -> list[bool]:
    """Return for each axis whether it is far from 0, and its rounding step is coarse; see `AxisLoss.is_coarse`."""
    extents = [high - low for low, high in ranges]
    is_flat = [not extent > _FLAT * max(extents) for extent in extents]
    along = n_points ** (1 / max(is_flat.count(False), 1))
    farthest = [max(abs(low), abs(high)) for low, high in ranges]
    return [
        not flat and far > _FAR * extent and step_at(far, dtype) > _COARSE * extent / along
        for far, extent, flat in zip(farthest, extents, is_flat, strict=True)
    ]


def _count_together(given: NDArray[np.float64], stored: NDArray[Any], same: NDArray[np.float64]) -> int:
    """Count the points that share their stored position with a point further away than `same` in the source."""
    hashes = _hashes(stored)
    order = np.argsort(hashes)  # equal hashes mean equal positions: collisions among this few points are improbable
    hashes = hashes[order]
    first = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    if len(first) == len(hashes):
        return 0
    given = given[order]
    spread = np.maximum.reduceat(given, first) - np.minimum.reduceat(given, first)
    counts = np.diff(first, append=len(given))
    return int(counts[(spread > same).any(axis=1)].sum())


def _hashes(stored: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row; -0 and 0 are equal."""
    hashes = np.zeros(len(stored), np.uint64)
    for column in (stored + stored.dtype.type(0)).T:
        hashes ^= np.ascontiguousarray(column).view(f"u{column.itemsize}")
        hashes *= _FACTOR
        hashes ^= hashes >> _HALF
    hashes *= _FACTOR
    return hashes
