"""The loss of a cast: overflow and non-finite values are errors, all other loss is measured. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import cast_into, measure_loss
from noether.data.zarr_store.errors import NonFiniteError, ValueOverflowError
from noether.data.zarr_store.manifest import FieldFidelity, Origin
from noether.data.zarr_store.writing.origin import minus_origin

__all__ = ["CastCheck", "CastMeter", "NonFinite", "measure_cast"]

NonFinite = Literal["raise", "allow"]

# Values are measured in blocks that fit in the caches of a processor. Also, temporary arrays of more than 128 KiB would
# be mapped and unmapped for each block, which takes longer than the computation.
_BLOCK_BYTES = 1 << 17
# Number of blocks that a thread measures in one task.
_BLOCKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class CastCheck:
    """A cast to check, and the names for its errors. The origin, if any, is subtracted from the values first."""

    sample_id: str
    field: str
    dtype: str
    non_finite: NonFinite
    origin: Origin | None = None


class CastMeter:
    """Measures the loss of storing a field, from blocks of its rows. Thread-safe.

    Parameters
    ----------
    check : CastCheck
        Sample, field, target dtype, and the rule for NaN and infinity.
    source_dtype : numpy.dtype
        Integer or floating dtype of all blocks.
    """

    def __init__(self, check: CastCheck, source_dtype: np.dtype[Any]) -> None:
        self._check = check
        self._source = source_dtype
        self._target = np.dtype(check.dtype)
        cast_from = source_dtype if check.origin is None else np.dtype(np.float64)
        self._lossless = np.can_cast(cast_from, self._target, "safe")
        # A float32 can only lose digits as float16. That loss has fewer digits than the value, so float32 holds it.
        narrow = cast_from.kind == "f" and cast_from.itemsize <= np.dtype(np.float32).itemsize
        self._work = np.dtype(np.float32 if narrow else np.float64)
        self._merging = Lock()
        self._n_values = self._n_non_finite = self._flushed = 0
        self._first_bad_row: int | None = None
        self._peak = self._max_abs = self._max_rel = 0.0

    def add(self, block: NDArray[Any], first_row: int) -> None:
        """Measure a block of rows. The blocks can come in any order; each row must come once.

        Parameters
        ----------
        block : ndarray, shape (n, width)
            The rows.
        first_row : int
            Row number of the first row.
        """
        if self._check.origin is None and self._measures_natively(block):
            return
        rows = max(_BLOCK_BYTES // (self._work.itemsize * block.shape[1]), 1)
        for start in range(0, len(block), rows):
            self._add(minus_origin(block[start : start + rows], self._check.origin), first_row + start)

    def result(self) -> FieldFidelity:
        """Return the loss of all rows that were added.

        Raises
        ------
        ValueOverflowError
            A finite value becomes infinite in the target dtype. This takes precedence over `NonFiniteError`.
        NonFiniteError
            A value is NaN or infinite, and `check.non_finite` is ``"raise"``.
        """
        if self._overflows(self._peak):
            raise _overflow(self._check, self._peak)
        if self._first_bad_row is not None and self._check.non_finite == "raise":
            raise _non_finite(self._check, self._n_non_finite, self._n_values, self._first_bad_row)
        return FieldFidelity(self._source.name, self._max_abs, self._max_rel, self._flushed, self._n_non_finite)

    def _add(self, block: NDArray[Any], first_row: int) -> None:
        if self._measures_natively(block):
            return
        finite, bad_row = np.ascontiguousarray(block).reshape(-1), None
        with np.errstate(over="ignore", invalid="ignore"):  # `result` raises an error that says more than a warning
            given, size, peak = self._magnitudes(finite)
            # The maximum is NaN if any value is NaN.
            if not math.isfinite(peak) and not (keep := np.isfinite(block)).all():
                bad_row = first_row + int(np.argmin(keep.all(axis=1)))
                finite = block[keep]
                given, size, peak = self._magnitudes(finite)
            loss = (0.0, 0.0, 0)
            if not self._lossless and finite.size and not self._overflows(peak):
                loss = _loss(given, size, finite.astype(self._target))
        self._merge(block.size, block.size - finite.size, bad_row, peak, *loss)

    def _measures_natively(self, block: NDArray[Any]) -> bool:
        """Measure a block with the compiled module; return False if the module cannot do it."""
        measured = measure_loss(np.ascontiguousarray(block), self._target)
        if measured is not None:
            self._merge(block.size, 0, None, *measured)
        return measured is not None

    def _merge(
        self,
        n_values: int,
        n_non_finite: int,
        bad_row: int | None,
        peak: float,
        max_abs: float,
        max_rel: float,
        flushed: int,
    ) -> None:
        """Add the loss of a block to the total."""
        with self._merging:
            self._n_values += n_values
            self._n_non_finite += n_non_finite
            if bad_row is not None and (self._first_bad_row is None or bad_row < self._first_bad_row):
                self._first_bad_row = bad_row
            self._peak = max(self._peak, peak)
            self._max_abs = max(self._max_abs, max_abs)
            self._max_rel = max(self._max_rel, max_rel)
            self._flushed += flushed

    def _magnitudes(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], float]:
        """Return the values in the working dtype, their magnitudes, and the largest magnitude."""
        given = values.astype(self._work, copy=False)
        size = np.abs(given)
        return given, size, float(size.max(initial=0.0))

    def _overflows(self, peak: float) -> bool:
        # Rounding keeps the order: if any value becomes infinite, the largest does.
        with np.errstate(over="ignore"):
            return bool(np.isinf(self._target.type(peak)))


def measure_cast(
    values: NDArray[Any],
    check: CastCheck,
    run: Callable[[Callable[[int], None], Iterable[int]], Iterable[None]] = map,
) -> FieldFidelity:
    """Return the loss of storing `values`; see `CastMeter.result` for the errors.

    Parameters
    ----------
    values : ndarray, shape (n_points, width)
        Values of any integer or floating dtype.
    check : CastCheck
        Sample, field, target dtype, and the rule for NaN and infinity.
    run : callable
        Function like `map` that calls a function for each block; the `map` of a pool uses its threads.
    """
    meter = CastMeter(check, values.dtype)
    rows = max(_BLOCKS_AT_ONCE * _BLOCK_BYTES // (values.itemsize * values.shape[1]), 1)

    def add(start: int) -> None:
        meter.add(values[start : start + rows], start)

    deque(run(add, range(0, len(values), rows)), maxlen=0)
    return meter.result()


def _loss(given: NDArray[Any], size: NDArray[Any], stored: NDArray[Any]) -> tuple[float, float, int]:
    """Return the largest absolute error, the largest relative error, and the number of values flushed to zero.

    All arrays are flat, finite and not empty. `size` holds the magnitudes of `given`.
    """
    back = np.empty_like(given)
    cast_into(back, stored)
    error = np.subtract(back, given)
    np.abs(error, out=error)
    relative = np.divide(error, size)
    zero, flushed = back == 0, 0
    if zero.any():
        flushed = int(np.count_nonzero(zero) - np.count_nonzero(given == 0))
        relative[zero] = 0  # the relative error of a zero is NaN
    max_rel = float(relative.max())
    if max_rel:
        # The largest error in float64 is among the values whose error is largest in float32.
        largest = np.flatnonzero(relative == max_rel)
        max_rel = float(np.max(error[largest].astype(np.float64) / size[largest]))
    return float(error.max()), max_rel, flushed


def _overflow(check: CastCheck, peak: float) -> ValueOverflowError:
    limit = float(np.finfo(check.dtype).max)
    wider = "float32" if peak <= float(np.finfo("float32").max) else "float64"
    relative = "" if check.origin is None else f" relative to the origin {check.origin}"
    return ValueOverflowError(
        f"sample {check.sample_id!r}, field {check.field}: the largest magnitude {peak:.6g}{relative} does not fit "
        f"{check.dtype}, whose limit is {limit:.6g}; store the field in a wider dtype: "
        f"field_dtypes={{{check.field!r}: {wider!r}}} "
        f"(--field-dtype {check.field}={wider})"
    )


def _non_finite(check: CastCheck, count: int, n_values: int, first_row: int) -> NonFiniteError:
    return NonFiniteError(
        f"sample {check.sample_id!r}, field {check.field}: expected finite values, got {count:,} of {n_values:,} that "
        f"are NaN or infinite, the first in row {first_row:,}; correct the source, or store these values with "
        'non_finite="allow" (--non-finite allow)'
    )
