"""A domain's split into chunks and shards, the same for all its fields. Pure."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Self

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["Grid", "positive_int"]


def positive_int(value: Any, parameter: str) -> int:
    """Give `value` as an int if it is a whole number of at least 1, else raise `ArgumentError`."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:  # also of arrays and tensors that hold no single whole number
        number = 0
    if number < 1:
        raise ArgumentError(f"{parameter}: expected a whole number of at least 1, got {value!r}")
    return number


@dataclass(frozen=True, slots=True)
class Grid:
    """How the `n_points` rows of a domain lie in chunks and shards.

    Attributes
    ----------
    n_points : int
        Rows of the domain.
    chunk_points : int
        Rows of a chunk; the last chunk may hold fewer.
    shard_points : int
        Rows of a shard, a whole number of chunks; may reach past the last row, as Zarr's shards do.
    """

    n_points: int
    chunk_points: int
    shard_points: int

    def __post_init__(self) -> None:
        for name in ("n_points", "chunk_points", "shard_points"):
            # NumPy's whole numbers become Python's, whose arithmetic does not overflow.
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        if self.shard_points % self.chunk_points:
            raise ArgumentError(
                f"shard_points: expected a multiple of chunk_points {self.chunk_points}, got {self.shard_points}"
            )

    @classmethod
    def fit(cls, n_points: int, chunk_points: int, shard_points: int | None = None) -> Self:
        """Fit a grid to a domain.

        Parameters
        ----------
        n_points : int
            Rows of the domain. A domain smaller than a chunk gets one chunk of its own size.
        chunk_points : int
            Rows of a chunk.
        shard_points : int, optional
            Most rows of a shard, rounded down to whole chunks but at least one; without it one shard holds all.
        """
        n_points = positive_int(n_points, "n_points")
        chunk = min(positive_int(chunk_points, "chunk_points"), n_points)
        whole = -(-n_points // chunk) * chunk
        if shard_points is None:
            return cls(n_points, chunk, whole)
        capped = max(positive_int(shard_points, "shard_points") // chunk, 1) * chunk
        return cls(n_points, chunk, min(capped, whole))

    @property
    def n_chunks(self) -> int:
        """Chunks of each field, the short one included."""
        return -(-self.n_points // self.chunk_points)

    @property
    def n_shards(self) -> int:
        """Shards, and so objects, of each field."""
        return -(-self.n_points // self.shard_points)

    @property
    def n_full_chunks(self) -> int:
        """Chunks that hold `chunk_points` rows."""
        return self.n_points // self.chunk_points

    @property
    def short_points(self) -> int:
        """Rows of the short last chunk; 0 where all chunks are full."""
        return self.n_points % self.chunk_points

    def rows(self, first_chunk: int, stop_chunk: int) -> slice:
        """Rows of the chunks ``first_chunk`` up to but not including ``stop_chunk``."""
        return slice(first_chunk * self.chunk_points, min(stop_chunk * self.chunk_points, self.n_points))

    def chunk_size(self, chunk: int) -> int:
        """Rows of one chunk."""
        return min(self.chunk_points, self.n_points - chunk * self.chunk_points)
