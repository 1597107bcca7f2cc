"""Read plans: the chunks of a domain that a read takes, and the rows of each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.layout import ArrayLayout

__all__ = ["ChunkPart", "ChunkRun", "PlannedRead", "Range", "ReadPlan"]

Range = tuple[int, int]


class ChunkPart(NamedTuple):
    """The rows that a plan takes of one chunk: half-open, ascending ranges, counted from the chunk's first row."""

    chunk: int
    ranges: tuple[Range, ...]

    @property
    def n_points(self) -> int:
        """Number of rows taken of this chunk."""
        return sum(stop - start for start, stop in self.ranges)


class ChunkRun(NamedTuple):
    """A run of chunks in one shard; the same for all fields of the domain.

    Attributes
    ----------
    shard : int
        Number of the shard.
    first_in_shard : int
        Index of the first chunk in the shard.
    n_chunks : int
        Number of chunks.
    """

    shard: int
    first_in_shard: int
    n_chunks: int


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The chunks of a draw, and the rows of each; the same for all fields of a domain.

    Attributes
    ----------
    grid : Grid
        The grid of the domain.
    parts : tuple of ChunkPart
        The parts in ascending order of chunks, each chunk once.
    n_points : int
        Number of rows of the draw.
    """

    grid: Grid
    parts: tuple[ChunkPart, ...]
    n_points: int = field(init=False, compare=False)
    _shard_runs: dict[int, list[ChunkRun]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        n_points = 0
        for _, ranges in self.parts:
            for start, stop in ranges:
                n_points += stop - start
        object.__setattr__(self, "n_points", n_points)

    def runs(self) -> Iterator[tuple[ChunkPart, ...]]:
        """Yield the parts of each run of neighbouring chunks; one request can fetch a run."""
        first = 0
        for i in range(1, len(self.parts) + 1):
            if i == len(self.parts) or self.parts[i].chunk != self.parts[i - 1].chunk + 1:
                yield self.parts[first:i]
                first = i

    def shard_runs(self, chunks_per_shard: int) -> list[ChunkRun]:
        """Return the runs of chunks within each shard, in order; computed once for all fields."""
        runs = self._shard_runs.get(chunks_per_shard)
        if runs is None:
            runs = self._shard_runs[chunks_per_shard] = list(self._split_runs(chunks_per_shard))
        return runs

    def _split_runs(self, chunks_per_shard: int) -> Iterator[ChunkRun]:
        for run in self.runs():
            chunk, stop = run[0].chunk, run[-1].chunk + 1
            while chunk < stop:
                shard, first = divmod(chunk, chunks_per_shard)
                here = min(stop - chunk, chunks_per_shard - first)
                yield ChunkRun(shard, first, here)
                chunk += here

    def take(self, ranges: Sequence[Range]) -> ReadPlan:
        """Return a plan of some of the rows: half-open, ascending ranges, counted in the order of this plan."""
        parts, first = [], 0
        for part in self.parts:
            kept: list[Range] = []
            for start, stop in part.ranges:
                shift = start - first
                overlaps = ((max(start, a + shift), min(stop, b + shift)) for a, b in ranges)
                kept += ((a, b) for a, b in overlaps if a < b)
                first += stop - start
            if kept:
                parts.append(ChunkPart(part.chunk, tuple(kept)))
        return ReadPlan(self.grid, tuple(parts))


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """The rows to read from one domain of a sample.

    Attributes
    ----------
    sample_id, domain : str
        Id of the sample, and name of the domain.
    layouts : tuple of ArrayLayout
        The fields to read.
    plan : ReadPlan
        The rows, the same for all fields.
    are_candidates : bool
        Whether only some of the rows are taken for the result. They are read into a buffer of their own, in float32, or
        in float64 if float32 cannot represent every stored value.
    """

    sample_id: str
    domain: str
    layouts: tuple[ArrayLayout, ...]
    plan: ReadPlan
    are_candidates: bool = False
