"""What a cast loses: overflow and non-finite values are refused, the rest is measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import NonFiniteError, ValueOverflowError

__all__ = ["CastCheck", "FieldFidelity", "NonFinite", "measure_cast"]

NonFinite = Literal["raise", "allow"]

# Rows are checked a block at a time, so that the float64 copies they need stay small.
_BLOCK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class FieldFidelity:
    """Loss of storing one field of one sample.

    Attributes
    ----------
    source_dtype : str
        Dtype of the array that was given.
    max_abs_error : float
        Largest ``|stored - given|``, in the field's unit.
    max_rel_error : float
        Largest ``|stored - given| / |given|`` over the values that were not flushed.
    flushed_to_zero : int
        Values other than zero that are stored as zero.
    """

    source_dtype: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    flushed_to_zero: int = 0


@dataclass(frozen=True, slots=True)
class CastCheck:
    """What to check, and how to name it in an error."""

    sample_id: str
    field: str
    dtype: str
    non_finite: NonFinite


def measure_cast(values: NDArray[Any], check: CastCheck) -> FieldFidelity:
    """Measure what storing `values` loses, and refuse what must not be stored.

    Parameters
    ----------
    values : ndarray, shape (n_points, width)
        Any integer or floating dtype.
    check : CastCheck
        Sample, field, target dtype, and what to do with NaN and infinity.

    Raises
    ------
    ValueOverflowError
        A finite value becomes infinite in the target dtype; also where other values are NaN.
    NonFiniteError
        A value is NaN or infinite and `check.non_finite` is ``"raise"``.
    """
    target, source = np.dtype(check.dtype), values.dtype
    exact = np.can_cast(source, target, "safe") and not _is_wide_integer(source)
    non_finite, max_abs, max_rel, flushed = 0, 0.0, 0.0, 0
    for _, block in _blocks(values):
        finite = np.isfinite(block)
        given = block if finite.all() else block[finite]
        non_finite += block.size - given.size
        if exact or not given.size:
            continue
        with np.errstate(over="ignore"):
            stored = given.astype(target)
        if not np.isfinite(stored).all():
            raise _overflow(values, check)
        size = np.abs(given.astype(np.float64))
        error = np.abs(_difference(stored.astype(np.float64), given))
        lost = (stored == 0) & (given != 0)
        kept = (given != 0) & ~lost
        max_abs = max(max_abs, float(error.max()))
        max_rel = max(max_rel, float(np.max(error[kept] / size[kept], initial=0.0)))
        flushed += int(np.count_nonzero(lost))
    if non_finite and check.non_finite == "raise":
        raise _non_finite(values, check, non_finite)
    return FieldFidelity(source.name, max_abs, max_rel, flushed)


def _is_wide_integer(dtype: np.dtype[Any]) -> bool:
    """Whether float64 cannot hold all values of the dtype, though NumPy calls that cast safe."""
    return dtype.kind in "iu" and dtype.itemsize == 8


def _difference(stored: NDArray[np.float64], given: NDArray[Any]) -> NDArray[np.float64]:
    """Give ``stored - given``; of 64-bit integers in two halves, each of which float64 holds exactly."""
    if not _is_wide_integer(given.dtype):
        return stored - given.astype(np.float64)
    high, low = (given >> 32).astype(np.float64) * 2.0**32, (given & 0xFFFFFFFF).astype(np.float64)
    return (stored - high) - low


def _blocks(values: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Split into blocks of rows, each with the number of its first row."""
    rows = max(_BLOCK_VALUES // values.shape[1], 1)
    for start in range(0, len(values), rows):
        yield start, values[start : start + rows]


def _overflow(values: NDArray[Any], check: CastCheck) -> ValueOverflowError:
    peak = 0.0
    for _, block in _blocks(values):
        finite = block[np.isfinite(block)]
        with np.errstate(over="ignore"):  # of a long double
            peak = max(peak, float(np.max(np.abs(finite.astype(np.float64)), initial=0.0)))
    limit = float(np.finfo(check.dtype).max)
    wider = "float32" if peak <= float(np.finfo("float32").max) else "float64"
    return ValueOverflowError(
        f"sample {check.sample_id!r}, field {check.field}: the largest magnitude {peak:.6g} does not fit "
        f"{check.dtype}, whose limit is {limit:.6g}; store this field wider: "
        f"field_dtypes={{{check.field!r}: {wider!r}}} "
        f"(--field-dtype {check.field}={wider})"
    )


def _non_finite(values: NDArray[Any], check: CastCheck, count: int) -> NonFiniteError:
    bad = next(
        start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
        for start, block in _blocks(values)
        if not np.isfinite(block).all()
    )
    return NonFiniteError(
        f"sample {check.sample_id!r}, field {check.field}: {count} of {values.size} values are NaN or infinite, the "
        f"first in row {bad}; expected finite values; mend the source, or store them as they are with "
        'non_finite="allow" (--non-finite allow)'
    )
