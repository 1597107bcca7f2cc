"""What the casts of a sample's fields lost, as the manifest has it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FieldFidelity"]


@dataclass(frozen=True, slots=True)
class FieldFidelity:
    """Loss of storing one field of one sample, measured in float64.

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
    non_finite : int or None
        Values that are NaN or infinite; None where nobody counted them.
    needs_float64 : bool
        Whether these are positions of which the stored dtype, or float32 where that is float64, lets points fall
        together, or makes coordinates coarse beside the distances of points.

    Notes
    -----
    Of a store with an origin, positions are given without it. What float64 cannot hold, 64-bit integers beyond 2**53
    and long doubles, counts as the float64 nearest to it.
    """

    source_dtype: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    flushed_to_zero: int = 0
    non_finite: int | None = None
    needs_float64: bool = False
