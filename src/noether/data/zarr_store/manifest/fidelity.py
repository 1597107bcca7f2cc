"""The losses of the casts to the stored dtypes, as the manifest records them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FieldFidelity"]


@dataclass(frozen=True, slots=True)
class FieldFidelity:
    """Loss of storing one field of one sample, measured in float64.

    Attributes
    ----------
    source_dtype : str
        Dtype of the source array.
    max_abs_error : float
        Largest ``|stored - source|``, in the field's unit.
    max_rel_error : float
        Largest ``|stored - source| / |source|`` over the values that were not flushed to zero.
    flushed_to_zero : int
        Number of nonzero values that are stored as zero.
    non_finite : int or None
        Number of values that are NaN or infinite; None if they were not counted.
    needs_float64 : bool
        True for positions that need float64: in the stored dtype (in float32, if the stored dtype is float64), points
        coincide, or the rounding of coordinates is coarse compared with the distances between points.

    Notes
    -----
    In a store with an origin, the losses of positions are measured after its subtraction. A value that float64 cannot
    hold (a 64-bit integer beyond 2**53, a long double) counts as the nearest float64.
    """

    source_dtype: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    flushed_to_zero: int = 0
    non_finite: int | None = None
    needs_float64: bool = False
