"""Weights of points, computed from fields. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling.weighting import MAX_WEIGHT

__all__ = ["AnyWeight", "Falloff", "Weight", "as_weight", "evaluate"]

Fields: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Falloff:
    """A weight that falls as the absolute value of a field grows: ``1 / (abs(field) + distance)``.

    Attributes
    ----------
    field : str
        Canonical name of a field with one component, such as ``volume_sdf``.
    distance : float
        Value of the field at which the weight is half of the weight at 0, in the unit of the field; above 0.

    Raises
    ------
    ArgumentError
        `distance` is not a finite number above 0.
    """

    field: str
    distance: float

    def __post_init__(self) -> None:
        distance: Any = self.distance
        if isinstance(distance, bool) or not isinstance(distance, int | float | np.number) or not 0 < distance < inf:
            raise ArgumentError(f"Falloff of {self.field!r}: distance: expected a number above 0, got {distance!r}")
        object.__setattr__(self, "distance", float(distance))

    def __call__(self, fields: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the weights of points."""
        values = np.abs(fields[self.field])
        values += self.distance
        weights: NDArray[Any] = np.divide(1, values, out=values)
        return weights


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight that a function computes from fields.

    Attributes
    ----------
    function : callable of dict of str to ndarray to array-like
        Receives the fields of n points by canonical name, of shape ``(n,)`` for scalars and ``(n, width)`` otherwise,
        in float32, or in float64 if the store has float64. Returns n finite weights of 0 or more. The function must
        depend on nothing else, so that the same points have the same weights. If workers are spawned, it must be
        picklable.
    reads : iterable of str
        Canonical names of these fields, all of the domain of the draw.

    Raises
    ------
    ArgumentError
        `function` is not callable, or `reads` is a str, or empty.
    """

    function: Callable[[Fields], Any]
    reads: Iterable[str]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError(f"Weight: function: expected a callable, got {self.function!r}")
        reads = () if isinstance(self.reads, str) else tuple(dict.fromkeys(self.reads))
        if not reads:
            raise ArgumentError(f"Weight: reads: expected names such as ['surface_pressure'], got {self.reads!r}")
        object.__setattr__(self, "reads", reads)


AnyWeight: TypeAlias = str | Falloff | Weight


@dataclass(frozen=True, slots=True)
class _Value:
    """A weight that is the value of a field."""

    field: str

    def __call__(self, fields: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return fields[self.field]


def as_weight(weight: AnyWeight) -> Weight:
    """Return any form of a weight as a `Weight`."""
    if isinstance(weight, Weight):
        return weight
    return Weight(_Value(weight), (weight,)) if isinstance(weight, str) else Weight(weight, (weight.field,))


def evaluate(weight: Weight, fields: Mapping[str, NDArray[Any]], n_points: int, where: str) -> NDArray[np.float64]:
    """Return the weights of points. If a weight is very large, all are scaled down by the same factor.

    Parameters
    ----------
    weight : Weight
        Function that computes the weights.
    fields : mapping of str to ndarray
        Fields that the function reads. A caller's function gets copies, which it may change.
    n_points : int
        Number of points.
    where : str
        Sample and draw, with which error messages begin.

    Raises
    ------
    ArgumentError
        The weights are not `n_points` finite numbers of 0 or more, or all are 0.
    """
    title = f"{where}: the weight from {', '.join(weight.reads)}"
    try:
        is_ours = isinstance(weight.function, _Value | Falloff)
        found = weight.function({name: fields[name] if is_ours else fields[name].copy() for name in weight.reads})
    except Exception as error:
        error.add_note(f"{title}: its function failed")
        raise
    values = np.asarray(found)
    if values.shape != (n_points,) or values.dtype.kind not in "biuf":
        raise ArgumentError(
            f"{title}: expected real numbers of shape {(n_points,)}, one for each point, got {values.dtype} of shape "
            f"{values.shape}; return one weight for each row of the fields from its function"
        )
    weights = values.astype(np.float64)
    largest = weights.max()
    if not (weights.min() >= 0 and 0 < largest < inf):
        raise ArgumentError(f"{title}: {_fault(weights)}")
    if largest > MAX_WEIGHT:
        weights /= largest
    return weights


def _fault(weights: NDArray[np.float64]) -> str:
    """Return the fault of weights, and the way out."""
    n, n_not_finite, n_negative = len(weights), int((~np.isfinite(weights)).sum()), int((weights < 0).sum())
    if n_not_finite:
        found, remedy = f"{n_not_finite:,} of {n:,} weights are NaN or infinite", "np.nan_to_num(values)"
    elif n_negative:
        found = f"{n_negative:,} of {n:,} weights are negative, the lowest is {weights.min():g}"
        remedy = "np.abs(values)"
    else:
        found, remedy = f"all {n:,} weights are 0", "values + 0.001"
    return (
        f"expected finite numbers of 0 or more, not all 0, but {found}; use a weight such as "
        f"Weight(function, reads=[...]) with a function that returns {remedy}, or leave the sample out"
    )
