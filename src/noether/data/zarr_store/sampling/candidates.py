"""Weighted draws: many points are read, and some of them taken, by their weights. Pure."""

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
    """How a weighted draw takes its points.

    Attributes
    ----------
    weight : Weight
        Computes the weights.
    oversample : int
        How many times its points it reads.
    draw : str
        The name of the draw.
    inverse_name : str or None
        What the item calls the inverse probabilities; None where it has none.
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
        Which candidates, in ascending order.
    inverse : ndarray of float64 or None
        For each of them, the inverse of its probability to be in the draw; None where the item does not have it.
    """

    rows: NDArray[np.intp]
    inverse: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The points that a weighted draw reads, a uniform draw of their domain, and how some of them are taken.

    Attributes
    ----------
    where : str
        Names sample and draw, to begin an error with.
    weighting : Weighting
        How it is done.
    n_points : int
        Points that are read.
    n_taken : int
        Points that are taken of them.
    factor : float
        Points of the domain for each point that is read.
    random_bytes : bytes
        `N_RANDOM_BYTES` of them, which make the random choices.
    """

    where: str
    weighting: Weighting
    n_points: int
    n_taken: int
    factor: float
    random_bytes: bytes

    def take(self, fields: Mapping[str, NDArray[Any]]) -> Taken:
        """Take points by their weights; where all candidates are taken, weights do not matter.

        Parameters
        ----------
        fields : mapping of str to ndarray
            By canonical name the fields that the weight reads, at the candidates.

        Raises
        ------
        ArgumentError
            Weights are no finite numbers of 0 and more, or too few of them are above 0.
        """
        has_inverse = self.weighting.inverse_name is not None
        if self.n_taken == self.n_points:
            return Taken(np.arange(self.n_points), np.full(self.n_points, self.factor) if has_inverse else None)
        weight = self.weighting.weight
        weights = evaluate(weight, fields, self.n_points, self.where)
        n_above = np.count_nonzero(weights > 0)
        if n_above < self.n_taken:
            raise ArgumentError(
                f"{self.where}: it takes {self.n_taken:,} points, and {n_above:,} of its {self.n_points:,} candidates "
                f"have a weight above 0 (from {', '.join(weight.reads)}); take fewer points, raise oversample, or add "
                "a small number to the weight: Weight(function, reads=[...])"
            )
        line = Line.of_weights(weights, self.n_taken)
        rows = line.random_rows(self.random_bytes)
        return Taken(rows, self.factor / line.probabilities(rows) if has_inverse else None)
