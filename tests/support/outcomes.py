"""The rows of a plan, and all possible plans with their exact probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations
from math import comb
from random import Random
from typing import TypeVar, cast

from noether.data.zarr_store.sampling.read_plan import ReadPlan

Made = TypeVar("Made")


def rows_of(plan: ReadPlan) -> list[int]:
    """Return the stored rows of a draw, in its order."""
    size = plan.grid.chunk_points
    return [part.chunk * size + row for part in plan.parts for start, stop in part.ranges for row in range(start, stop)]


class EveryOutcome:
    """A substitute for a random generator that enumerates all its choices instead of picking one.

    A choice among n has probability 1/n. The probability of an outcome is the product of these, an exact fraction.

    Parameters
    ----------
    bits : int
        Seed for another generator, whose choices are not enumerated.
    """

    def __init__(self, bits: int = 0) -> None:
        self._bits = bits
        self._path: list[list[int]] = []
        self._depth = 0

    def outcomes(self, make: Callable[[Random], Made]) -> Iterator[tuple[Made, Fraction]]:
        """Call `make` once for each outcome. Yield its result and its probability."""
        while True:
            self._depth = 0
            made = make(cast(Random, self))
            chance = Fraction(1)
            for _, options in self._path:
                chance /= options
            yield made, chance
            while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if not self._path:
                return
            self._path[-1][0] += 1

    def randrange(self, options: int) -> int:
        """Return a number of ``0 .. options - 1``, in place of a uniform choice."""
        if self._depth == len(self._path):
            self._path.append([0, options])
        taken, of = self._path[self._depth]
        assert of == options
        self._depth += 1
        return taken

    def sample(self, population: range, k: int) -> list[int]:
        """Return a subset of size `k`, in place of a uniform choice."""
        chosen = self.randrange(comb(len(population), k))
        return list(list(combinations(population, k))[chosen])

    def getrandbits(self, count: int) -> int:
        """Return the seed of another generator."""
        return self._bits % (1 << count)
