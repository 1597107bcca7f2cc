"""Planning of a draw: its chunks, and the rows of each. Pure.

The rule: a draw of T of N points contains each point with the same probability T/N, exactly, and touches at most
``ceil(T / chunk_points) + 1`` chunks. A window of the ring of all rows, which a sweep takes, touches at most one chunk
more. Every random choice below is a draw of whole numbers, so the probabilities are exact fractions of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import comb
from typing import Literal

from noether.data.zarr_store.core import Grid, positive_int
from noether.data.zarr_store.errors import ArgumentError, TooLargeError, require_one_of
from noether.data.zarr_store.layout import DomainLayout, require_domain
from noether.data.zarr_store.sampling.random_stream import Choices
from noether.data.zarr_store.sampling.read_plan import ChunkPart, Range, ReadPlan

__all__ = [
    "CHUNK_ORDERS",
    "FEW_CHUNKS",
    "MAX_COUNTED_DRAWS",
    "ChunkOrder",
    "check_num_points",
    "count_draws",
    "cyclic_window",
    "plan_draw",
    "plan_whole",
    "plan_window",
]

ChunkOrder = Literal["consecutive", "scattered"]
CHUNK_ORDERS: tuple[ChunkOrder, ...] = ("consecutive", "scattered")

# From a domain with fewer full chunks than this, a draw is a window that begins at any row. From a larger domain, it is
# made of whole chunks. Expected number of different draws in 300 epochs of one sample, of T = c = 4,096 points each:
#
#     full chunks             7     14     64    128    256    512  1,024  2,048
#     whole chunks          7.0   14.0   63.4    116    177    227    260    279
#     windows               298    299    300    300    300    300    300    300
#
# A window touches up to one chunk more, so it takes longer. The table has the chunks and milliseconds of a draw: the
# first number is for whole chunks, the second for windows (median of 400 draws of three fields, from the page cache,
# with a chunk index, from 500 full chunks; two cores, with a load of 4):
#
#     points              1,024        4,096        8,192       16,384       32,768
#     chunks        1.0 to 1.3   1.0 to 2.0   2.0 to 3.0   4.0 to 5.0   8.0 to 9.0
#     milliseconds  0.28 to 0.29 0.32 to 0.54 0.44 to 0.71 0.66 to 0.93 1.12 to 1.41
#
# From 512 chunks on, three quarters of the draws differ anyway, so whole chunks, which cost less, are enough.
FEW_CHUNKS = 512

MAX_COUNTED_DRAWS = (1 << 63) - 1
"""The largest number that `count_draws` returns; it means this many draws or more."""

# The parts, ranges and bounds of this many chunks take about 200 MB. A domain of more chunks can be drawn from, but not
# be read whole.
MAX_PLAN_CHUNKS = 1 << 20


def check_num_points(
    num_points: Mapping[str, int | None] | None, domains: Mapping[str, DomainLayout]
) -> dict[str, int | None]:
    """Return the numbers of points by domain, after checking them for a store with these domains.

    Raises
    ------
    ArgumentError
        `num_points` is not a mapping, or a number is not a whole number of at least 1.
    UnknownNameError
        The store has no such domain.
    """
    counts = {} if num_points is None else num_points
    if type(counts) is not dict and not isinstance(counts, Mapping):
        raise ArgumentError(f"num_points: expected a mapping such as {{'volume': 16384}}, got {num_points!r}")
    checked = dict(counts)
    for domain, count in checked.items():
        require_domain(domain, domains)
        if count is not None and (type(count) is not int or count < 1):
            checked[domain] = positive_int(count, f"num_points[{domain!r}]")
    return checked


def plan_whole(grid: Grid) -> ReadPlan:
    """Plan to read every row of a domain, in stored order.

    Raises
    ------
    TooLargeError
        The domain has more chunks than a plan can have.
    """
    _require_plannable(grid, grid.n_chunks)
    parts = _whole_chunks(grid, range(grid.n_full_chunks))
    if grid.short_points:
        parts.append(ChunkPart(grid.n_full_chunks, ((0, grid.short_points),)))
    return ReadPlan(grid, tuple(parts))


def _require_plannable(grid: Grid, n_chunks: int) -> None:
    """Raise `TooLargeError` before a plan exhausts the memory: the grid may come from a forged manifest."""
    if n_chunks > MAX_PLAN_CHUNKS:
        raise TooLargeError(
            f"expected a read of at most {MAX_PLAN_CHUNKS:,} chunks, got {n_chunks:,} chunks of "
            f"{grid.chunk_points:,} points (the domain has {grid.n_points:,} points in all); draw fewer points, or "
            "convert with larger chunks"
        )


def _whole_chunks(grid: Grid, chunks: Iterable[int]) -> list[ChunkPart]:
    """Return parts with all rows of full chunks."""
    whole = ((0, grid.chunk_points),)
    return [ChunkPart(chunk, whole) for chunk in chunks]


def plan_window(grid: Grid, start: int, n_points: int) -> ReadPlan:
    """Plan to read `n_points` rows, but at most all, from row `start` on. After the last row comes the first row.

    The rows touch at most ``ceil(n_points / chunk_points) + 2`` chunks.

    Raises
    ------
    TooLargeError
        The rows touch more chunks than a plan can have.
    """
    wanted = min(n_points, grid.n_points)
    _require_plannable(grid, wanted // grid.chunk_points)
    return _plan_ranges(grid, cyclic_window(grid.n_points, wanted, start))


def _plan_ranges(grid: Grid, ranges: Iterable[Range]) -> ReadPlan:
    """Plan to read half-open, ascending ranges of the rows of a domain."""
    size = grid.chunk_points
    parts: dict[int, tuple[Range, ...]] = {}
    for first, stop in ranges:
        for chunk in range(first // size, -(-stop // size)):
            start = chunk * size
            parts[chunk] = (*parts.get(chunk, ()), (max(first - start, 0), min(stop - start, size)))
    return ReadPlan(grid, tuple([ChunkPart(*part) for part in parts.items()]))


def cyclic_window(size: int, length: int, start: int) -> tuple[Range, ...]:
    """Return `length` rows of a ring of `size` rows, from row `start` on, as ascending ranges; 1 <= length <= size."""
    if length == size:
        return ((0, size),)
    wrapped = start + length - size
    return ((start, start + length),) if wrapped <= 0 else ((0, wrapped), (start, size))


def plan_draw(
    grid: Grid, n_points: int, rng: Choices, chunk_order: ChunkOrder = "consecutive", *, whole_chunks: bool = False
) -> ReadPlan:
    """Plan one draw of `n_points` random points.

    Parameters
    ----------
    grid : Grid
        The grid of the domain.
    n_points : int
        Number of points to draw, T. If the domain has no more points than T, it is read whole.
    rng : Choices
        Source of the random choices.
    chunk_order : {"consecutive", "scattered"}
        Whether the chunks are a run, which one request can fetch, or are chosen independently.
    whole_chunks : bool
        Whether to take whole chunks also of a domain with few chunks: fewer bytes, but fewer different draws.

    Returns
    -------
    ReadPlan
        ``min(n_points, grid.n_points)`` rows; every point has the same probability.

    Raises
    ------
    ArgumentError
        `n_points` is not a whole number of at least 1, or `chunk_order` is unknown.
    TooLargeError
        The rows touch more chunks than a plan can have.

    Notes
    -----
    With N points, c rows a chunk, F = N div c full chunks and r = N mod c rows in the short chunk:

    - If T exceeds the F c rows of the full chunks, all rows are read except for one cyclic window of N - T rows.
    - Otherwise, if r <= T, the short chunk is taken whole with probability T/N, and the full chunks provide the other
      T - r rows. If r > T, the short chunk provides all T rows with probability r/N, as a cyclic window.
    - If the short chunk provides no row, F is below `FEW_CHUNKS`, and `chunk_order` is "consecutive" or T <= c, the
      rows are a cyclic window of the F c rows of the full chunks, from a uniformly random row on. Each row has
      probability T/(Fc), the window touches at most ceil(T/c) + 1 chunks, and there are F c different draws.
    - Otherwise, m rows of the full chunks come from k = ceil(m/c) chunks, each chosen with probability k/F. The surplus
      of kc - m rows is cut as a cyclic window from one of the k chunks, chosen uniformly. So each row has probability
      k/F (1 - (kc - m)/(kc)) = m/(Fc).
    """
    require_one_of("chunk_order", chunk_order, CHUNK_ORDERS)
    wanted = positive_int(n_points, "num_points")
    total, short = grid.n_points, grid.short_points
    if wanted >= total:
        return plan_whole(grid)
    if wanted > grid.n_full_chunks * grid.chunk_points:
        return plan_window(grid, rng.randrange(total), wanted)
    of_short = _rows_of_short_chunk(total, short, wanted, rng)
    if not of_short and not whole_chunks and _begins_at_any_row(grid, wanted, chunk_order):
        ring = grid.n_full_chunks * grid.chunk_points
        return _plan_ranges(grid, cyclic_window(ring, wanted, rng.randrange(ring)))
    parts = _full_parts(grid, wanted - of_short, rng, chunk_order)
    if of_short:
        parts.append(ChunkPart(grid.n_chunks - 1, _random_window(short, of_short, rng)))
    return ReadPlan(grid, tuple(parts))


def _begins_at_any_row(grid: Grid, wanted: int, chunk_order: ChunkOrder) -> bool:
    """Return whether a draw of the full chunks alone is a window that begins at any row."""
    in_a_run = chunk_order == "consecutive" or wanted <= grid.chunk_points
    return in_a_run and grid.n_full_chunks < FEW_CHUNKS


def _rows_of_short_chunk(total: int, short: int, wanted: int, rng: Choices) -> int:
    """Return min(r, T) with probability max(r, T)/N, which covers both cases of `plan_draw`; otherwise return 0."""
    if not short:
        return 0
    return min(short, wanted) if rng.randrange(total) < max(short, wanted) else 0


def _full_parts(grid: Grid, wanted: int, rng: Choices, chunk_order: ChunkOrder) -> list[ChunkPart]:
    """Return parts with `wanted` rows of the full chunks."""
    if not wanted:
        return []
    size, n_full = grid.chunk_points, grid.n_full_chunks
    n_chunks = -(-wanted // size)
    _require_plannable(grid, n_chunks)
    if n_chunks == n_full:
        chunks = list(range(n_full))
    elif chunk_order == "consecutive":
        first = rng.randrange(n_full)
        wrapped = max(first + n_chunks - n_full, 0)
        chunks = [*range(wrapped), *range(first, first + n_chunks - wrapped)]
    else:
        chunks = sorted(rng.sample(range(n_full), n_chunks))
    parts = _whole_chunks(grid, chunks)
    surplus = n_chunks * size - wanted
    if surplus:
        cut = rng.randrange(n_chunks)
        parts[cut] = ChunkPart(parts[cut].chunk, _random_window(size, size - surplus, rng))
    return parts


def _random_window(size: int, length: int, rng: Choices) -> tuple[Range, ...]:
    """Return a cyclic window of a chunk from a uniformly random row on. A whole chunk needs no choice."""
    return cyclic_window(size, length, rng.randrange(size) if length < size else 0)


def count_draws(grid: Grid, n_points: int, chunk_order: ChunkOrder = "consecutive") -> int:
    """Return the number of different draws, as sets of points, that `plan_draw` can return.

    Parameters
    ----------
    grid : Grid
        The grid of the domain.
    n_points : int
        Number of points to draw, T. If the domain has no more points than T, there is one draw.
    chunk_order : {"consecutive", "scattered"}
        See `plan_draw`.

    Returns
    -------
    int
        The number of draws, capped at `MAX_COUNTED_DRAWS`.

    Raises
    ------
    ArgumentError
        `n_points` is not a whole number of at least 1, or `chunk_order` is unknown.

    Notes
    -----
    No draw is counted twice, for three reasons. A draw either has rows of the short chunk, or has none. A window of
    some but not all rows of a ring is determined by its first row. And the rows of k full chunks determine these
    chunks, the chunk that is cut (the others are whole), and the window in it.
    """
    require_one_of("chunk_order", chunk_order, CHUNK_ORDERS)
    wanted = positive_int(n_points, "num_points")
    total, short, ring = grid.n_points, grid.short_points, grid.n_full_chunks * grid.chunk_points
    if wanted >= total:
        return 1
    if wanted > ring:
        return total
    if _begins_at_any_row(grid, wanted, chunk_order):
        without_short = _count_windows(ring, wanted)
    else:
        without_short = _count_full_parts(grid, wanted, chunk_order)
    with_short = 0
    if short > wanted:
        with_short = _count_windows(short, wanted)
    elif short:
        with_short = _count_full_parts(grid, wanted - short, chunk_order)
    return min(without_short + with_short, MAX_COUNTED_DRAWS)


def _count_windows(size: int, length: int) -> int:
    """Return the number of different sets of rows that `cyclic_window` returns for the starts 0 to size - 1."""
    return size if length < size else 1


def _count_full_parts(grid: Grid, wanted: int, chunk_order: ChunkOrder) -> int:
    """Return the number of different sets of rows that `_full_parts` returns."""
    if not wanted:
        return 1
    size, n_full = grid.chunk_points, grid.n_full_chunks
    n_chunks = -(-wanted // size)
    choices = _count_windows(n_full, n_chunks) if chunk_order == "consecutive" else _count_subsets(n_full, n_chunks)
    return choices * n_chunks * size if wanted % size else choices


def _count_subsets(size: int, length: int) -> int:
    """Return the number of subsets of `length` out of `size` elements, capped at `MAX_COUNTED_DRAWS`."""
    # comb(n, k) grows with k up to n / 2, and comb(80, 40) is above the cap, so a larger k is never needed.
    return min(comb(size, min(length, size - length, 40)), MAX_COUNTED_DRAWS)
