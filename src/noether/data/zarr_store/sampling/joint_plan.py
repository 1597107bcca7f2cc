"""Planning of joint draws: one plan for all of them, whose rows are divided among them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.errors import TooLargeError
from noether.data.zarr_store.sampling.plan import ChunkOrder, cyclic_window, plan_draw, plan_whole, plan_window
from noether.data.zarr_store.sampling.random_stream import Choices
from noether.data.zarr_store.sampling.read_plan import Range, ReadPlan

__all__ = ["JointPlan", "sweep_length", "sweep_start"]

# Maximum number of draws of a sweep. Each draw computes the order of all draws, which takes 0.1 s at this length.
_MAX_SWEEP = 1 << 24


@dataclass(frozen=True, slots=True)
class JointPlan:
    """The rows of several draws, which share no row.

    Attributes
    ----------
    plan : ReadPlan
        The rows of all draws.
    windows : tuple of tuple of (int, int)
        For each draw, half-open, ascending ranges of its rows, counted in the order of the plan.
    """

    plan: ReadPlan
    windows: tuple[tuple[Range, ...], ...]

    @classmethod
    def whole(cls, grid: Grid) -> Self:
        """Plan one draw of all rows."""
        return cls(plan_whole(grid), (((0, grid.n_points),),))

    @classmethod
    def of_draws(cls, grid: Grid, counts: Sequence[int], rng: Choices, chunk_order: ChunkOrder = "consecutive") -> Self:
        """Plan draws of random points.

        Parameters
        ----------
        grid : Grid
            The grid of the domain.
        counts : sequence of int
            Number of points of each draw; their sum is at most the number of points of the domain.
        rng : Choices
            Source of the random choices.
        chunk_order : {"consecutive", "scattered"}
            See `sampling.plan_draw`.

        Notes
        -----
        A draw of T = T_1 + T_2 + … of N points contains each point with probability T/N. Its rows form a ring, on which
        the draws follow each other from a uniformly random row on. Draw i gets each row of the ring with probability
        T_i/T, so each point is in draw i with probability T_i/N, exactly. All draws together touch at most
        ``ceil(T / chunk_points) + 1`` chunks; one of several draws, read alone, touches at most
        ``ceil(T_i / chunk_points) + 3``.
        """
        total = sum(counts)
        plan = plan_draw(grid, total, rng, chunk_order)
        return cls(plan, _deal(counts, rng.randrange(total) if len(counts) > 1 else 0))

    @classmethod
    def of_sweep(cls, grid: Grid, counts: Sequence[int], step: int, rng: Choices) -> Self:
        """Plan one step of a sweep of the first draw. The other draws get the rows that follow its rows.

        Parameters
        ----------
        grid : Grid
            The grid of the domain.
        counts : sequence of int
            Number of points of each draw; their sum is at most the number of points of the domain.
        step : int
            Number of the step; see `sweep_start`.
        rng : Choices
            Source of the random choices of the whole sweep.

        Notes
        -----
        The first draw begins at a uniformly random row. Each other draw begins a fixed number of rows later, so its
        start is uniformly random too. So each point is in draw i with probability T_i/N, exactly. The rows of T points
        are a window of the ring of all rows. The last chunk of the domain can be short and lie inside the window, so
        they touch at most ``ceil(T / chunk_points) + 2`` chunks.
        """
        total = sum(counts)
        start = sweep_start(grid, counts[0], step, rng)
        # On the ring, the first row of the domain follows the last. The plan has ascending rows: if the window goes
        # past the last row, the rows at the start of the domain come first in the plan.
        return cls(plan_window(grid, start, total), _deal(counts, max(start + total - grid.n_points, 0)))

    def select(self, draws: Sequence[int]) -> tuple[ReadPlan, list[tuple[Range, ...]]]:
        """Return a plan of some of the draws alone, and for each of them the ranges of its rows in that plan."""
        pieces = sorted((start, stop, place) for place, draw in enumerate(draws) for start, stop in self.windows[draw])
        taken: list[Range] = []
        shares: list[list[Range]] = [[] for _ in draws]
        n_rows = 0
        for start, stop, place in pieces:
            shares[place].append((n_rows, n_rows + stop - start))
            n_rows += stop - start
            if taken and taken[-1][1] == start:
                taken[-1] = taken[-1][0], stop
            else:
                taken.append((start, stop))
        plan = self.plan if n_rows == self.plan.n_points else self.plan.take(taken)
        return plan, [tuple(share) for share in shares]


def sweep_length(grid: Grid, n_points: int) -> int:
    """Return the number of draws of `n_points` points in a sweep. Together they contain every point, once or twice."""
    return -(-grid.n_points // n_points)


def sweep_start(grid: Grid, n_points: int, step: int, rng: Choices) -> int:
    """Return the first row of one draw of a sweep. The draw has the `n_points` rows from there on.

    Parameters
    ----------
    grid : Grid
        The grid of the domain.
    n_points : int
        Number of points of each draw.
    step : int
        Number of the draw, from 0 up to but not including `sweep_length`.
    rng : Choices
        Source of the random choices of the whole sweep. It must be in the same state for each draw of the sweep.

    Raises
    ------
    TooLargeError
        The sweep has more than 16,777,216 draws.

    Notes
    -----
    The draws follow each other on the ring of all rows, from a uniformly random row on, and come in random order. So
    each draw, seen alone, begins at a uniformly random row, and contains each point with the same probability.
    """
    length = sweep_length(grid, n_points)
    if length > _MAX_SWEEP:
        raise TooLargeError(
            f"expected at most {_MAX_SWEEP:,} draws in a sweep of {grid.n_points:,} points, got {length:,} draws of "
            f"{n_points:,} points each; draw more points at a time"
        )
    first = rng.randrange(grid.n_points)
    order = np.random.default_rng(rng.getrandbits(128)).permutation(length)
    return (first + int(order[step]) * n_points) % grid.n_points


def _deal(counts: Sequence[int], first: int) -> tuple[tuple[Range, ...], ...]:
    """Divide a ring of rows, from row `first` on, into one window for each draw."""
    total = sum(counts)
    starts = accumulate(counts[:-1], initial=first)
    return tuple(cyclic_window(total, count, start % total) for count, start in zip(counts, starts, strict=True))
