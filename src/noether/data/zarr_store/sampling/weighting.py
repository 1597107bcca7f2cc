"""The rows that a weighted draw takes of its candidates. Pure.

The rule: T of n rows with weights w are taken, row i with probability ``p_i = min(1, c w_i)``, where c makes the
probabilities add up to T. The method is systematic sampling with probability proportional to size (Madow, "On the
theory of systematic sampling, II", 1949; Tillé, "Sampling Algorithms", 2006, chapter 7). The probabilities are laid end
to end on a line of length T. A row is taken if its piece of the line contains one of the points
``u, u + 1, …, u + T - 1``, for one u that is uniform in [0, 1). Rows whose pieces are a whole number apart are taken
together, so each draw lays out the line in another order: the rows are cut into stretches at random places, and the
stretches are put in random order. Otherwise, with the same candidates in all epochs and equal weights, there would be
only a few different draws.

Lengths are whole numbers of units, and so is u. So the probability of a row is exactly the length of its piece,
although the length itself is rounded, and exactly T rows are taken. A length of 1 has 2**64 units: sums of uint64 wrap
around at whole numbers, and a row contains a point where the sum wraps around.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_OVERSAMPLE", "MAX_WEIGHT", "N_RANDOM_BYTES", "Line", "random_stretches"]

# The table has the distance of the points' probabilities from proportionality to their weights: half of the sum of all
# differences, averaged over all windows of candidates. The data are run_1 of demo/simulations: draws of 128 of 2,041
# faces by area, and of 1,024 of 18,219 cells by 1 / (distance from the wall + 0.02). The largest weights are 1.7 and
# 3.8 times the mean weight. If oversample is lower than that, candidates with the largest weights are always taken, and
# draws still contain them too rarely. tests/properties/sampling/test_oversample.py computes the figures again.
#
#     oversample               1       2       3       4       8     all
#     areas               0.1303  0.0049  0.0044  0.0039  0.0020  0.0000
#     falloff             0.4413  0.1578  0.0272  0.0024  0.0008  0.0000
DEFAULT_OVERSAMPLE = 4

MAX_WEIGHT = 1e200
"""Maximum weight; sums of larger weights might overflow."""

N_STRETCHES = 16

N_RANDOM_BYTES = 8 + 4 * (2 * N_STRETCHES - 1)
"""Number of random bytes of a draw: for the start, the order of the stretches, and the cuts between them."""

_ONE = 2.0**64

# A row with this probability or more is always taken. So no other piece becomes longer than 1 when units are added to
# make the length of the line a whole number: at most 2**11 units for each row, and 2**15 for each row that is taken.
_CERTAIN = 1 - 2.0**-24


class Line(NamedTuple):
    """The probabilities of rows, laid end to end.

    Attributes
    ----------
    lengths : ndarray of uint64, shape (n,)
        Length of each row's piece, in units; 0 for a row that is always taken.
    certain : ndarray of intp
        Indices of the rows that are always taken.
    """

    lengths: NDArray[np.uint64]
    certain: NDArray[np.intp]

    @classmethod
    def of_weights(cls, weights: NDArray[np.float64], n_taken: int) -> Line:
        """Return the line of the probabilities with which `n_taken` rows are taken.

        Parameters
        ----------
        weights : ndarray, shape (n,)
            Weights from 0 to `MAX_WEIGHT`, at least `n_taken` of them above 0. The array is overwritten.
        n_taken : int
            Number of rows to take, at least 1. The length of the line plus the number of certain rows is `n_taken`.

        Notes
        -----
        Rows whose share of `n_taken` would be 1 or more are always taken, and the rest is divided among the other
        rows, until no share exceeds 1. A share below 2**-53 becomes 0.
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
        shares += 1  # the mantissa of a number from 1 to 2 is its excess over 1, in units of 2**-52
        lengths = shares.view(np.uint64)
        lengths <<= 12
        longest = lengths.argmax()
        lengths[longest : longest + 1] -= lengths.sum()  # nearly 0, since the sum wraps around
        return cls(lengths, np.concatenate(certain))

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return, for each of these rows, the probability that it is taken."""
        lengths = self.lengths[rows]
        chances: NDArray[np.float64] = lengths / _ONE
        chances[lengths == 0] = 1
        return chances

    def systematic_rows(self, start: int, stretches: Sequence[slice]) -> NDArray[np.intp]:
        """Return the rows whose pieces contain a point, and the rows that are always taken.

        Parameters
        ----------
        start : int
            Distance of the start of the line from the last point before it, in units.
        stretches : sequence of slice
            Order of the rows on the line. Together the stretches have each row once.

        Returns
        -------
        ndarray of intp
            Indices of the rows in ascending order, each once.
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
        """Return random rows, chosen with `N_RANDOM_BYTES` random bytes."""
        start, words = int.from_bytes(random_bytes[:8], "little"), np.frombuffer(random_bytes[8:], "<u4")
        return self.systematic_rows(start, random_stretches(len(self.lengths), words))


def random_stretches(n_rows: int, words: NDArray[np.uint32]) -> list[slice]:
    """Return `N_STRETCHES` stretches of rows, cut at random places, in random order; some may be empty."""
    cuts = np.sort(words[: N_STRETCHES - 1].astype(np.uint64) * n_rows >> 32).tolist()
    stretches = [slice(*bounds) for bounds in pairwise((0, *cuts, n_rows))]
    return [stretches[number] for number in np.argsort(words[N_STRETCHES - 1 :], kind="stable")]


def _sum(shares: NDArray[np.float64]) -> float:
    """Return the sum of shares, at least one of them above 0; very small shares are first scaled in place."""
    total = float(shares.sum())
    if total > 1 / MAX_WEIGHT:
        return total
    shares /= shares.max()
    return float(shares.sum())
