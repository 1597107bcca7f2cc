"""What a cast makes of positions: points that fall together, and coordinates that become coarse. Pure.

float32 has seven digits: of coordinates at five million metres, it keeps half metres. The largest error of a cast does
not tell whether that matters, so the points themselves are compared. Of a large sample that is a random subset. It
must hold all points of some stored positions, or it would tear apart what falls together: so a hash of the stored
position chooses them.
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

# About so many points are compared: some 20 ms of work.
_COMPARED_POINTS = 1 << 16
# Fewer than this may be no fair subset.
_LEAST_COMPARED_POINTS = 1 << 10
# More than this only come where nearly all points fall together.
_MAX_COMPARED_POINTS = 1 << 18
# Points whose hashes are computed at once: in the processor's caches.
_BLOCK_POINTS = 1 << 13
_BLOCKS_AT_ONCE = 16
# A rounding step of this part of the mean distance of points matters in the finest parts of a mesh.
_COARSE = 1e-3
# Nearer than so many times its length, a sample has the digits that its dtype gives, and no origin helps.
_FAR = 2
# An axis along which a sample is thinner than this part of its length is flat.
_FLAT = 1e-6
# Positions that differ by the rounding of float64 are the same position.
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
        The smallest and the largest coordinate in the source.
    step : float
        The distance of neighbouring stored numbers, where their magnitude is largest.
    source_values, stored_values : int
        The different coordinates of the points that were compared, before and after the cast.
    is_coarse : bool
        Whether the step is more than a thousandth of the mean distance of points, far from 0.
    """

    low: float
    high: float
    step: float
    source_values: int
    stored_values: int
    is_coarse: bool


@dataclass(frozen=True, slots=True)
class PositionLoss:
    """What storing the positions of a domain of a sample loses.

    Attributes
    ----------
    sample_id, field, dtype : str
        Which positions, and what they are stored as.
    n_points : int
        The points of the domain.
    n_compared : int
        The points that were compared: all, or a random subset.
    n_together : int
        Of these, the points that are stored at the place of a point that was elsewhere in the source.
    axes : tuple of AxisLoss
        The coordinates x, y and z.
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
        """The share of the points that fall together."""
        return self.n_together / max(self.n_compared, 1)


class PositionMeter:
    """Takes the positions of a sample in blocks, and compares them as they are with what is stored.

    Safe to use from many threads.

    Parameters
    ----------
    n_points, width : int
        The points of the domain, and the components of their positions.
    dtype : str
        What positions are stored as.
    origin : tuple of three floats or None
        What is subtracted before the cast.
    """

    def __init__(self, n_points: int, width: int, dtype: str, origin: Origin | None) -> None:
        self._n_points = n_points
        self._width = width
        self._dtype = np.dtype(dtype)
        self._origin = origin
        # Hashes below a power of two are those of the subset.
        self._shift = np.uint64(_BITS - max(math.ceil(math.log2(n_points / _COMPARED_POINTS)), 0))
        self._merging = Lock()
        self._first = np.empty((0, width))
        self._kept: list[NDArray[np.float64]] = []
        self._n_kept = 0
        self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows of the source, each once; those that are not finite are left out."""
        for start in range(0, len(rows), _BLOCK_POINTS):
            self._add(rows[start : start + _BLOCK_POINTS])

    def loss(self, sample_id: str, field: str) -> PositionLoss | None:
        """Return what is lost by the cast of all that was added; None where nothing is that matters."""
        # Where points fall on a few places, perhaps none of these was chosen; then any points show it.
        given = np.concatenate([self._first, *self._kept] if self._n_kept < _LEAST_COMPARED_POINTS else self._kept)
        stored = given.astype(self._dtype)
        if np.array_equal(given, stored):  # such as whole numbers; or there are no points
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
        """Return which points are compared: all or none of those that are stored at one place."""
        with np.errstate(over="ignore"):  # refused later
            stored = relative.astype(self._dtype)
        chosen: NDArray[np.bool_] = _hashes(stored) >> self._shift == 0
        return chosen


def measure_positions(
    rows: NDArray[Any],
    meter: PositionMeter,
    run: Callable[[Callable[[int], None], Iterable[int]], Iterable[None]] = map,
) -> None:
    """Add all positions of a sample to a meter; `run` calls a function for each of many blocks, as `map` does."""
    step = _BLOCK_POINTS * _BLOCKS_AT_ONCE

    def add(start: int) -> None:
        meter.add(rows[start : start + step])

    deque(run(add, range(0, len(rows), step)), maxlen=0)


def step_at(magnitude: float, dtype: np.dtype[Any]) -> float:
    """Return the distance of neighbouring numbers of a floating dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.spacing(dtype.type(magnitude)))


def coarse_axes(ranges: list[tuple[float, float]], n_points: int, dtype: np.dtype[Any]) -> list[bool]:
    """Tell for each axis whether it is far from 0, so that steps are coarse beside the mean distance of points."""
    extents = [high - low for low, high in ranges]
    is_flat = [not extent > _FLAT * max(extents) for extent in extents]
    along = n_points ** (1 / max(is_flat.count(False), 1))
    farthest = [max(abs(low), abs(high)) for low, high in ranges]
    return [
        not flat and far > _FAR * extent and step_at(far, dtype) > _COARSE * extent / along
        for far, extent, flat in zip(farthest, extents, is_flat, strict=True)
    ]


def _count_together(given: NDArray[np.float64], stored: NDArray[Any], same: NDArray[np.float64]) -> int:
    """Count the points that share their stored position with one that was further away than `same`."""
    hashes = _hashes(stored)
    order = np.argsort(hashes)  # a hash is a position: of so few, no two have the same by chance
    hashes = hashes[order]
    first = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    if len(first) == len(hashes):
        return 0
    given = given[order]
    spread = np.maximum.reduceat(given, first) - np.minimum.reduceat(given, first)
    counts = np.diff(first, append=len(given))
    return int(counts[(spread > same).any(axis=1)].sum())


def _hashes(stored: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of each row; -0 is 0."""
    hashes = np.zeros(len(stored), np.uint64)
    for column in (stored + stored.dtype.type(0)).T:
        hashes ^= np.ascontiguousarray(column).view(f"u{column.itemsize}")
        hashes *= _FACTOR
        hashes ^= hashes >> _HALF
    hashes *= _FACTOR
    return hashes
