"""Draws that share no point: one plan for all of them, and its rows dealt out. Pure."""

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

# The order of its draws is made anew for each of them, in the tenth of a second at that length.
_MAX_SWEEP = 1 << 24


@dataclass(frozen=True, slots=True)
class JointPlan:
    """The rows of several draws, no row in two of them.

    Attributes
    ----------
    plan : ReadPlan
        The rows of all.
    windows : tuple of tuple of (int, int)
        For each draw half-open, ascending ranges of the rows that it gets, counted as the plan gives them.
    """

    plan: ReadPlan
    windows: tuple[tuple[Range, ...], ...]

    @classmethod
    def whole(cls, grid: Grid) -> Self:
        """Plan one draw, of all rows."""
        return cls(plan_whole(grid), (((0, grid.n_points),),))

    @classmethod
    def of_draws(cls, grid: Grid, counts: Sequence[int], rng: Choices, chunk_order: ChunkOrder = "consecutive") -> Self:
        """Plan draws of so many random points each.

        Parameters
        ----------
        grid : Grid
            The grid of the domain.
        counts : sequence of int
            Points of each draw, together no more than the domain has.
        rng : Choices
            Makes the random choices.
        chunk_order : {"consecutive", "scattered"}
            See `sampling.plan_draw`.

        Notes
        -----
        A draw of T = T_1 + T_2 + … of N points gives each point with chance T/N. Its rows are dealt out in turn from a
        uniform one on, where the first row follows the last, so that draw i gets each of them with chance T_i/T: each
        point has the chance T_i/N to be in draw i, exactly. All draws together lie in at most
        ``ceil(T / chunk_points) + 1`` chunks; one of several, read alone, in at most ``ceil(T_i / chunk_points) + 3``.
        """
        total = sum(counts)
        plan = plan_draw(grid, total, rng, chunk_order)
        return cls(plan, _deal(counts, rng.randrange(total) if len(counts) > 1 else 0))

    @classmethod
    def of_sweep(cls, grid: Grid, counts: Sequence[int], step: int, rng: Choices) -> Self:
        """Plan one step of a sweep of the first draw; the others get the rows that follow on its own.

        Parameters
        ----------
        grid : Grid
            The grid of the domain.
        counts : sequence of int
            Points of each draw, together no more than the domain has.
        step : int
            Number of the step; see `sweep_start`.
        rng : Choices
            Makes the random choices of the whole sweep.

        Notes
        -----
        The first draw begins with a uniform row, and so does each other one, a fixed number of rows further on. So
        each point has the chance T_i/N to be in draw i, exactly. The rows of T points are a window of the ring of all
        rows, which has the short chunk in it: they lie in at most ``ceil(T / chunk_points) + 2`` chunks.
        """
        total = sum(counts)
        start = sweep_start(grid, counts[0], step, rng)
        # The rows that follow the last one of the domain are its first ones; the plan gives these before all others.
        return cls(plan_window(grid, start, total), _deal(counts, max(start + total - grid.n_points, 0)))

    def part(self, draws: Sequence[int]) -> tuple[ReadPlan, list[tuple[Range, ...]]]:
        """Plan some of the draws alone, and say which rows of that plan each of them gets."""
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
    """Count the draws of `n_points` points in a sweep, which together give every point once or twice."""
    return -(-grid.n_points // n_points)


def sweep_start(grid: Grid, n_points: int, step: int, rng: Choices) -> int:
    """Say with which row one draw of a sweep begins; its points are the `n_points` rows from there on.

    Parameters
    ----------
    grid : Grid
        The grid of the domain.
    n_points : int
        Points of each draw.
    step : int
        Number of the draw, from 0 up to but not including `sweep_length`.
    rng : Choices
        Makes the random choices of the whole sweep, so it has to be in the same state for each draw of one.

    Raises
    ------
    TooLargeError
        The sweep is of more than 16,777,216 draws.

    Notes
    -----
    The draws follow each other on the ring of all rows, from a uniform first row on, and come in random order. So each
    of them, seen alone, begins with a uniform row, and gives every point with the same chance.
    """
    length = sweep_length(grid, n_points)
    if length > _MAX_SWEEP:
        raise TooLargeError(
            f"a sweep of {grid.n_points:,} points by {n_points:,} a draw has {length:,} draws; expected at most "
            f"{_MAX_SWEEP:,}: draw more points at a time"
        )
    first = rng.randrange(grid.n_points)
    order = np.random.default_rng(rng.getrandbits(128)).permutation(length)
    return (first + int(order[step]) * n_points) % grid.n_points


def _deal(counts: Sequence[int], first: int) -> tuple[tuple[Range, ...], ...]:
    """Deal rows out in turn from row `first` on, where the first row follows the last."""
    total = sum(counts)
    starts = accumulate(counts[:-1], initial=first)
    return tuple(cyclic_window(total, count, start % total) for count, start in zip(counts, starts, strict=True))
