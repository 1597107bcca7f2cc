"""The warning about positions that lose digits, with ways to avoid it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from noether.data.zarr_store.manifest import Origin
from noether.data.zarr_store.writing.position_loss import AxisLoss, PositionLoss, coarse_axes, step_at

__all__ = ["position_warning"]

# An origin is suggested only if it makes the rounding steps at least this many times smaller.
_GAIN = 8
_MAX_FIELDS = 3


def position_warning(losses: Sequence[PositionLoss], origin: Origin | None, coords_dtype: str) -> str:
    """Return the text of a warning about positions: the number of samples, the worst sample, and the ways out.

    Parameters
    ----------
    losses : sequence of PositionLoss
        At least one loss.
    origin : tuple of three floats or None
        Origin of the store.
    coords_dtype : str
        Default stored dtype of positions.
    """
    n_samples = len({loss.sample_id for loss in losses})
    worst = max(losses, key=_severity)
    some = f"sample {worst.sample_id!r}"
    if n_samples > 1:
        some = f"{n_samples:,} samples, the worst is {worst.sample_id!r}"
    ways = [*_origin_way(losses, origin), _dtype_way(losses, coords_dtype)]
    return (
        f"positions lose too many digits as {worst.dtype} ({some}): {_described(worst)}. All samples of a store share "
        f"these settings. To keep the digits, convert into a new store with {', or with '.join(ways)}"
    )


def _severity(loss: PositionLoss) -> tuple[float, float]:
    return loss.share_together, max(_coarseness(axis) for axis in loss.axes)


def _coarseness(axis: AxisLoss) -> float:
    return axis.step / (axis.high - axis.low) if axis.is_coarse else 0.0


def _described(loss: PositionLoss) -> str:
    points = f"the {loss.n_points:,} points"
    if loss.n_compared < loss.n_points:
        points = f"a random subset of {loss.n_compared:,} of the {loss.n_points:,} points"
    axes = [
        f"{axis.stored_values:,} {_name(number, loss)} values, {axis.step:.3g} apart ({axis.source_values:,} in the "
        "source)"
        for number, axis in enumerate(loss.axes)
        if axis.is_coarse
    ]
    text = [f"{points} of {loss.field} have only {' and '.join(axes)}" if axes else f"of {points} of {loss.field}"]
    about = "" if loss.n_compared == loss.n_points else "about "
    if loss.n_together:
        text.append(
            f"{loss.n_together:,} of them ({about}{_percent(loss.share_together)}) fall together with points that have "
            "another position in the source"
        )
    else:
        text.append("none of them fall together")
    return ", ".join(text)


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.0%}"


def _name(axis: int, loss: PositionLoss) -> str:
    return "xyz"[axis] if len(loss.axes) <= 3 else f"component {axis}"


def _origin_way(losses: Sequence[PositionLoss], origin: Origin | None) -> list[str]:
    """Return the advice to set an origin, as a list; an empty list if no origin helps all samples."""
    if any(len(loss.axes) != 3 for loss in losses):
        return []
    suggested = _suggested_origin(losses)
    if suggested in ((0.0, 0.0, 0.0), origin) or not all(_helps(suggested, loss) for loss in losses):
        return []
    numbers = [repr(round(one) if one == round(one) else one) for one in suggested]
    return [
        f"origin=({', '.join(numbers)}) (--origin {','.join(numbers)}), which is subtracted before the cast and added "
        "back by export"
    ]


def _suggested_origin(losses: Sequence[PositionLoss]) -> Origin:
    """Return the middle of all samples, rounded to few digits; 0 along an axis near 0."""
    ends = [
        (min(loss.axes[axis].low for loss in losses), max(loss.axes[axis].high for loss in losses)) for axis in range(3)
    ]
    size = max(high - low for low, high in ends)
    digits = -math.ceil(math.log10(size)) if size > 0 else 0
    middles = [round((low + high) / 2, digits) for low, high in ends]
    x, y, z = (0.0 if abs(middle) <= size else middle for middle in middles)
    return x, y, z


def _helps(origin: Origin, loss: PositionLoss) -> bool:
    dtype = np.dtype(loss.dtype)
    ranges = [(axis.low - zero, axis.high - zero) for axis, zero in zip(loss.axes, origin, strict=True)]
    gains = [axis.step / step_at(max(map(abs, ends)), dtype) for axis, ends in zip(loss.axes, ranges, strict=True)]
    return max(gains) >= _GAIN and not any(coarse_axes(ranges, loss.n_points, dtype))


def _dtype_way(losses: Sequence[PositionLoss], coords_dtype: str) -> str:
    """Return the advice to store positions in a wider dtype."""
    wide = "float64"
    if all(loss.dtype == "float16" and not _is_coarse_as(loss, "float32") for loss in losses):
        wide = "float32"
    if all(loss.dtype == coords_dtype for loss in losses):
        return f'coords_dtype="{wide}" (--coords-dtype {wide})'
    # A dtype for the field overrides the dtype for all positions.
    fields = sorted({loss.field for loss in losses})[:_MAX_FIELDS]
    options = " ".join(f"--field-dtype {field}={wide}" for field in fields)
    return f"field_dtypes={dict.fromkeys(fields, wide)} ({options})"


def _is_coarse_as(loss: PositionLoss, dtype: str) -> bool:
    return any(coarse_axes([(axis.low, axis.high) for axis in loss.axes], loss.n_points, np.dtype(dtype)))
