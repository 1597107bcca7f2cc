"""The rows of a plan, and all plans that random choices can lead to, with their exact chances."""

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
    """Stored rows of a draw, in the order in which it gives them."""
    size = plan.grid.chunk_points
    return [part.chunk * size + row for part in plan.parts for start, stop in part.ranges for row in range(start, stop)]


class EveryOutcome:
    """Stands for a random generator, and walks every branch of its choices instead of picking one.

    A choice among n has chance 1/n, so an outcome has the product of those of its choices: a fraction of integers.

    Parameters
    ----------
    bits : int
        What seeds another generator, whose choices are not walked.
    """

    def __init__(self, bits: int = 0) -> None:
        self._bits = bits
        self._path: list[list[int]] = []
        self._depth = 0

    def outcomes(self, make: Callable[[Random], Made]) -> Iterator[tuple[Made, Fraction]]:
        """Make the thing once for each outcome; give it with its chance."""
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
        """Stand for a uniform choice of ``0 .. options - 1``."""
        if self._depth == len(self._path):
            self._path.append([0, options])
        taken, of = self._path[self._depth]
        assert of == options
        self._depth += 1
        return taken

    def sample(self, population: range, k: int) -> list[int]:
        """Stand for a uniform choice of a subset."""
        chosen = self.randrange(comb(len(population), k))
        return list(list(combinations(population, k))[chosen])

    def getrandbits(self, count: int) -> int:
        """Give the bits that seed another generator."""
        return self._bits % (1 << count)
