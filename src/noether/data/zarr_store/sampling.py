"""Which rows of which chunks make a draw. Pure.

The law: a draw of T of N points gives every point the same chance T/N, exactly, and touches at most
``ceil(T / chunk_points) + 1`` chunks. Every random choice below is a draw of whole numbers, so that the chances are
fractions of integers and not roundings of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.grid import Grid, positive_int

__all__ = ["CHUNK_ORDERS", "ChunkOrder", "ChunkPart", "ReadPlan", "plan_draw", "plan_whole"]

ChunkOrder = Literal["consecutive", "scattered"]
CHUNK_ORDERS: tuple[ChunkOrder, ...] = ("consecutive", "scattered")

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """What a plan takes of one chunk: half-open, ascending ranges of rows, counted from the chunk's first row."""

    chunk: int
    ranges: tuple[Range, ...]

    @property
    def n_points(self) -> int:
        """Rows taken of this chunk."""
        return sum(stop - start for start, stop in self.ranges)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The chunks, and the rows of them, that make a draw; the same for all fields of a domain.

    Attributes
    ----------
    grid : Grid
        The grid of the domain.
    parts : tuple of ChunkPart
        In ascending order of chunks, each chunk once.
    """

    grid: Grid
    parts: tuple[ChunkPart, ...]

    @property
    def n_points(self) -> int:
        """Rows that the draw gives."""
        return sum(part.n_points for part in self.parts)

    def runs(self) -> Iterator[tuple[ChunkPart, ...]]:
        """Group the parts into runs of neighbouring chunks, each of which one request can fetch."""
        first = 0
        for i in range(1, len(self.parts) + 1):
            if i == len(self.parts) or self.parts[i].chunk != self.parts[i - 1].chunk + 1:
                yield self.parts[first:i]
                first = i


def plan_whole(grid: Grid) -> ReadPlan:
    """Plan to read every row of a domain, in stored order."""
    return ReadPlan(grid, tuple(_whole_chunk(grid, chunk) for chunk in range(grid.n_chunks)))


def plan_draw(grid: Grid, n_points: int, rng: np.random.Generator, chunk_order: ChunkOrder = "consecutive") -> ReadPlan:
    """Plan one draw of `n_points` random points.

    Parameters
    ----------
    grid : Grid
        The grid of the domain.
    n_points : int
        Points to draw, T; as many as the domain has, or more, read it whole.
    rng : numpy.random.Generator
        Makes the random choices.
    chunk_order : {"consecutive", "scattered"}
        Whether the chunks are a run of neighbours, which one request can fetch, or chosen independently.

    Returns
    -------
    ReadPlan
        ``min(n_points, grid.n_points)`` rows, every point with the same chance.

    Raises
    ------
    ArgumentError
        `n_points` is not a whole number of at least 1, or `chunk_order` is unknown.

    Notes
    -----
    With N points, c rows a chunk, F = N div c full chunks and r = N mod c rows in the short one:

    - where T exceeds the F c rows of the full chunks, all chunks are read but for one cyclic window of N - T rows;
    - else the short chunk is taken whole with chance T/N if r <= T, and the full chunks give the other T - r;
      if r > T it gives all T rows, a cyclic window of its own, with chance r/N;
    - m rows of the full chunks come from k = ceil(m/c) of them, each with chance k/F, and the surplus kc - m is cut
      as a cyclic window from one of the k, chosen uniformly: k/F (1 - (kc - m)/(kc)) = m/(Fc).
    """
    if chunk_order not in CHUNK_ORDERS:
        raise ArgumentError(f"chunk_order: expected one of {', '.join(CHUNK_ORDERS)}, got {chunk_order!r}")
    wanted = positive_int(n_points, "num_points")
    total, short = grid.n_points, grid.short_points
    if wanted >= total:
        return plan_whole(grid)
    if wanted > grid.n_full_chunks * grid.chunk_points:
        return _all_but_a_window(grid, wanted, rng)
    of_short = _rows_of_short_chunk(total, short, wanted, rng)
    parts = _full_parts(grid, wanted - of_short, rng, chunk_order)
    if of_short:
        parts.append(ChunkPart(grid.n_chunks - 1, _random_window(short, of_short, rng)))
    return ReadPlan(grid, tuple(parts))


def _rows_of_short_chunk(total: int, short: int, wanted: int, rng: np.random.Generator) -> int:
    """Give min(r, T) rows with chance max(r, T)/N, which is both cases of the law, and else none."""
    if not short:
        return 0
    return min(short, wanted) if rng.integers(total) < max(short, wanted) else 0


def _full_parts(grid: Grid, wanted: int, rng: np.random.Generator, chunk_order: ChunkOrder) -> list[ChunkPart]:
    """Take `wanted` rows of the full chunks."""
    if not wanted:
        return []
    size, n_full = grid.chunk_points, grid.n_full_chunks
    n_chunks = -(-wanted // size)
    if n_chunks == n_full:
        chunks = np.arange(n_full)
    elif chunk_order == "consecutive":
        chunks = np.sort((rng.integers(n_full) + np.arange(n_chunks)) % n_full)
    else:
        chunks = np.sort(rng.choice(n_full, n_chunks, replace=False, shuffle=False))
    parts = [ChunkPart(chunk, ((0, size),)) for chunk in chunks.tolist()]
    surplus = n_chunks * size - wanted
    if surplus:
        cut = int(rng.integers(n_chunks))
        parts[cut] = ChunkPart(parts[cut].chunk, _random_window(size, size - surplus, rng))
    return parts


def _all_but_a_window(grid: Grid, wanted: int, rng: np.random.Generator) -> ReadPlan:
    """Take a cyclic window of all rows, split by chunk."""
    window = _random_window(grid.n_points, wanted, rng)
    parts = []
    for chunk in range(grid.n_chunks):
        first = chunk * grid.chunk_points
        clipped = ((max(a - first, 0), min(b - first, grid.chunk_size(chunk))) for a, b in window)
        parts.append(ChunkPart(chunk, tuple((a, b) for a, b in clipped if a < b)))
    return ReadPlan(grid, tuple(parts))


def _random_window(size: int, length: int, rng: np.random.Generator) -> tuple[Range, ...]:
    """Give `length` rows, 1 <= length <= size, of a ring of `size` rows, from a uniform start, as ascending ranges."""
    if length == size:
        return ((0, size),)
    start = int(rng.integers(size))
    wrapped = start + length - size
    return ((start, start + length),) if wrapped <= 0 else ((0, wrapped), (start, size))


def _whole_chunk(grid: Grid, chunk: int) -> ChunkPart:
    return ChunkPart(chunk, ((0, grid.chunk_size(chunk)),))
