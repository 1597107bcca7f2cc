"""Weighted draws: candidates are read, and some of them are taken by their weights. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling.weighting import Line
from noether.data.zarr_store.sampling.weights import Weight, evaluate

__all__ = ["Candidates", "Taken", "Weighting"]


@dataclass(frozen=True, slots=True)
class Weighting:
    """The settings of a weighted draw.

    Attributes
    ----------
    weight : Weight
        Function that computes the weights.
    oversample : int
        Number of candidates to read for each point to take.
    draw : str
        Name of the draw.
    inverse_name : str or None
        Name of the inverse probabilities in the item; None if the item does not have them.
    """

    weight: Weight
    oversample: int
    draw: str
    inverse_name: str | None


class Taken(NamedTuple):
    """The points that a weighted draw takes of its candidates.

    Attributes
    ----------
    rows : ndarray of intp
        Indices of the taken candidates, in ascending order.
    inverse : ndarray of float64 or None
        For each taken candidate, the inverse of its probability to be in the draw; None if the item does not have it.
    """

    rows: NDArray[np.intp]
    inverse: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The points that a weighted draw reads, which are a uniform draw of their domain; some of them are taken.

    Attributes
    ----------
    where : str
        Sample and draw, with which error messages begin.
    weighting : Weighting
        Settings of the draw.
    n_points : int
        Number of points that are read.
    n_taken : int
        Number of these points that the draw takes.
    factor : float
        Number of points of the domain for each point that is read.
    random_bytes : bytes
        `N_RANDOM_BYTES` random bytes, which make the random choices.
    """

    where: str
    weighting: Weighting
    n_points: int
    n_taken: int
    factor: float
    random_bytes: bytes

    def take(self, fields: Mapping[str, NDArray[Any]]) -> Taken:
        """Return the points that are taken by their weights. If all candidates are taken, weights do not matter.

        Parameters
        ----------
        fields : mapping of str to ndarray
            Values at the candidates of the fields that the weight reads, by canonical name.

        Raises
        ------
        ArgumentError
            A weight is negative or not finite, or too few weights are above 0.
        """
        has_inverse = self.weighting.inverse_name is not None
        if self.n_taken == self.n_points:
            return Taken(np.arange(self.n_points), np.full(self.n_points, self.factor) if has_inverse else None)
        weight = self.weighting.weight
        weights = evaluate(weight, fields, self.n_points, self.where)
        n_above = np.count_nonzero(weights > 0)
        if n_above < self.n_taken:
            raise ArgumentError(
                f"{self.where}: expected {self.n_taken:,} candidates with a weight above 0, got {n_above:,} of "
                f"{self.n_points:,} (weight from {', '.join(weight.reads)}); take fewer points, raise oversample, or "
                "add a small number to the weight: Weight(function, reads=[...])"
            )
        line = Line.of_weights(weights, self.n_taken)
        rows = line.random_rows(self.random_bytes)
        return Taken(rows, self.factor / line.probabilities(rows) if has_inverse else None)
