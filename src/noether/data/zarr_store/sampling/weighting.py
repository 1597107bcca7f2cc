"""Which rows a weighted draw takes of its candidates. Pure.

The law: of n rows with weights w, T are taken, and row i is one of them with probability
``p_i = min(1, c w_i)``, where c makes these add up to T. It is systematic sampling with probability proportional to
size (Madow, "On the theory of systematic sampling, II", 1949; Tillé, "Sampling Algorithms", 2006, chapter 7): the
probabilities are laid end to end on a line of length T, and each row is taken whose piece holds one of the points
``u, u + 1, …, u + T - 1``, for one u that is uniform in [0, 1). Rows whose pieces lie a whole number apart are taken
together, so the line is laid out in another order for each draw: the rows are cut into stretches at random places, and
these are put in a random order. Otherwise, of candidates that are the same in all epochs, and weights that are equal,
the draws would be a few.

Lengths are whole numbers of units, and so is u: the chance of a row is exactly the length of its piece, whatever was
rounded on the way to it, and exactly T rows are taken. A length of 1 has 2**64 units, so that sums of uint64 leave out
whole numbers by themselves, and a row has a point where a sum wraps around.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_OVERSAMPLE", "MAX_WEIGHT", "N_RANDOM_BYTES", "Line", "random_stretches"]

# How far the chances of points are from proportional to their weights (half of the sum of all differences), on average
# over all windows of candidates, of run_1 of examples/data: draws of 128 of 2,041 faces by their areas, and of 1,024 of
# 18,219 cells by 1 / (distance from the wall + 0.02). The largest weights are 1.7 and 3.8 times the mean one: where
# fewer points than that are read for each that is taken, the largest ones are taken for certain and still come too
# seldom. tests/properties/sampling/test_oversample.py repeats the figures.
#
#     times as many read       1       2       3       4       8     all
#     areas               0.1303  0.0049  0.0044  0.0039  0.0020  0.0000
#     falloff             0.4413  0.1578  0.0272  0.0024  0.0008  0.0000
DEFAULT_OVERSAMPLE = 4

MAX_WEIGHT = 1e200
"""Sums of larger weights may overflow."""

N_STRETCHES = 16

N_RANDOM_BYTES = 8 + 4 * (2 * N_STRETCHES - 1)
"""For the start, the order of the stretches, and the cuts between them."""

_ONE = 2.0**64

# A row this close to certain is taken for certain. So no other piece gets longer than 1 by what is added to make the
# line a whole number of ones: 2**11 units for each row and 2**15 for each that is taken, at most.
_CERTAIN = 1 - 2.0**-24


class Line(NamedTuple):
    """Probabilities end to end.

    Attributes
    ----------
    lengths : ndarray of uint64, shape (n,)
        For each row the length of its piece, in units; 0 where it is taken for certain.
    certain : ndarray of intp
        The rows that are taken for certain.
    """

    lengths: NDArray[np.uint64]
    certain: NDArray[np.intp]

    @classmethod
    def of_weights(cls, weights: NDArray[np.float64], n_taken: int) -> Line:
        """Lay out the probabilities of rows to be among `n_taken`.

        Parameters
        ----------
        weights : ndarray, shape (n,)
            From 0 to `MAX_WEIGHT`, at least `n_taken` of them above 0. They are overwritten.
        n_taken : int
            Rows to take, at least 1; the line and the certain rows make up this length.

        Notes
        -----
        Rows whose share of `n_taken` would be 1 or more are taken for certain, and the rest is shared out among the
        others, until no share exceeds 1. A share below 2**-53 is 0.
        """
        shares, certain, left = weights, [np.empty(0, np.intp)], n_taken
        total = _sum(shares)
        while shares.max() >= _CERTAIN * total / left:
            rows = np.flatnonzero(shares >= _CERTAIN * total / left)
            certain.append(rows)
            shares[rows] = 0
            left -= len(rows)
            if not left:
                return cls(np.zeros(len(shares), np.uint64), np.concatenate(certain))
            total = _sum(shares)
        shares *= left / total
        shares += 1  # the mantissa of a number from 1 to 2 is what it has above 1, in units of 2**-52
        lengths = shares.view(np.uint64)
        lengths <<= 12
        longest = lengths.argmax()
        lengths[longest : longest + 1] -= lengths.sum()  # nearly 0, since it leaves out whole numbers
        return cls(lengths, np.concatenate(certain))

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the probabilities of rows to be taken."""
        lengths = self.lengths[rows]
        chances: NDArray[np.float64] = lengths / _ONE
        chances[lengths == 0] = 1
        return chances

    def systematic_rows(self, start: int, stretches: Sequence[slice]) -> NDArray[np.intp]:
        """Take the rows whose pieces hold a point, and those that are certain.

        Parameters
        ----------
        start : int
            Where the line begins, in units from the last point before it on.
        stretches : sequence of slice
            The order in which rows are laid out; together they have each row once.

        Returns
        -------
        ndarray of intp
            The rows in ascending order, each once.
        """
        ends = np.concatenate([[np.uint64(start)], *(self.lengths[one] for one in stretches)])
        np.cumsum(ends, out=ends)
        has_point = ends[1:] < ends[:-1]
        is_taken = np.empty_like(has_point)
        first = 0
        for one in stretches:
            stop = first + one.stop - one.start
            is_taken[one] = has_point[first:stop]
            first = stop
        is_taken[self.certain] = True
        return np.flatnonzero(is_taken)

    def random_rows(self, random_bytes: bytes) -> NDArray[np.intp]:
        """Take rows at random, from `N_RANDOM_BYTES` random bytes."""
        start, words = int.from_bytes(random_bytes[:8], "little"), np.frombuffer(random_bytes[8:], "<u4")
        return self.systematic_rows(start, random_stretches(len(self.lengths), words))


def random_stretches(n_rows: int, words: NDArray[np.uint32]) -> list[slice]:
    """Cut rows into `N_STRETCHES` stretches at random places, and put these in random order; some may be empty."""
    cuts = np.sort(words[: N_STRETCHES - 1].astype(np.uint64) * n_rows >> 32).tolist()
    stretches = [slice(*bounds) for bounds in pairwise((0, *cuts, n_rows))]
    return [stretches[number] for number in np.argsort(words[N_STRETCHES - 1 :], kind="stable")]


def _sum(shares: NDArray[np.float64]) -> float:
    """Return the sum of shares, of which one is above 0; very small ones are scaled first, in place."""
    total = float(shares.sum())
    if total > 1 / MAX_WEIGHT:
        return total
    shares /= shares.max()
    return float(shares.sum())
