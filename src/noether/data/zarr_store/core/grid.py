"""The division of a domain into chunks and shards, which all its fields share. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from noether.data.zarr_store.errors import ArgumentError, nearest_names

__all__ = ["DEFAULT_CHUNK_POINTS", "Grid", "chunk_points_by_domain", "positive_int", "whole_number"]

DEFAULT_CHUNK_POINTS = 4096
# A million times the size of the largest mesh. Numbers that are computed from it fit in 64 bits.
_MAX_POINTS = 1 << 48


def positive_int(value: Any, parameter: str) -> int:
    """Return `value` as an int if it is a whole number of at least 1, else raise `ArgumentError`."""
    return whole_number(value, parameter, at_least=1)


def whole_number(value: Any, parameter: str, *, at_least: int = 0) -> int:
    """Return `value` as an int if it is a whole number of at least `at_least`, else raise `ArgumentError`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:  # including arrays and tensors that do not hold exactly one whole number
        number = None
    if number is None or number < at_least:
        raise ArgumentError(f"{parameter}: expected a whole number of at least {at_least}, got {value!r}")
    return number


def chunk_points_by_domain(chunk_points: int | Mapping[str, int], domains: Iterable[str]) -> dict[str, int]:
    """Return the chunk size, in points, of each domain.

    Parameters
    ----------
    chunk_points : int or mapping of str to int
        One chunk size for all domains, or one by domain; domains that are not in the mapping get
        `DEFAULT_CHUNK_POINTS`.
    domains : iterable of str
        Names of all domains.

    Raises
    ------
    ArgumentError
        A chunk size is not a whole number of at least 1, or `chunk_points` names an unknown domain.
    """
    if not isinstance(chunk_points, Mapping):
        return dict.fromkeys(domains, positive_int(chunk_points, "chunk_points"))
    by_domain = dict.fromkeys(domains, DEFAULT_CHUNK_POINTS)
    for domain, points in chunk_points.items():
        if domain not in by_domain:
            raise ArgumentError(f"chunk_points: unknown domain {domain!r}; {nearest_names(domain, by_domain)}")
        by_domain[domain] = positive_int(points, f"chunk_points[{domain!r}]")
    return by_domain


@dataclass(frozen=True, slots=True)
class Grid:
    """The division of the rows of a domain into chunks and shards.

    Attributes
    ----------
    n_points : int
        Number of rows of the domain.
    chunk_points : int
        Number of rows of a chunk; the last chunk can hold fewer.
    shard_points : int
        Number of rows of a shard, a multiple of `chunk_points`. As in Zarr, the last shard can end after the last row.
    """

    n_points: int
    chunk_points: int
    shard_points: int

    def __post_init__(self) -> None:
        for name in ("n_points", "chunk_points", "shard_points"):
            # NumPy integers become Python integers, which cannot overflow.
            number = positive_int(getattr(self, name), name)
            if number > _MAX_POINTS:
                got = f"{number:,}" if number < 1 << 64 else f"a number of {number.bit_length():,} bits"
                raise ArgumentError(f"{name}: expected at most {_MAX_POINTS:,}, got {got}")
            object.__setattr__(self, name, number)
        if self.shard_points % self.chunk_points:
            raise ArgumentError(
                f"shard_points: expected a multiple of chunk_points {self.chunk_points:,}, got {self.shard_points:,}"
            )

    @classmethod
    def fit(cls, n_points: int, chunk_points: int, shard_points: int | None = None) -> Self:
        """Return the grid of a domain.

        Parameters
        ----------
        n_points : int
            Number of rows of the domain. A domain smaller than a chunk gets one chunk of its own size.
        chunk_points : int
            Number of rows of a chunk.
        shard_points : int, optional
            Maximum number of rows of a shard. It is rounded down to whole chunks, and is at least one chunk. By
            default, one shard holds all rows.
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
        """Number of chunks of each field, including the short last chunk."""
        return -(-self.n_points // self.chunk_points)

    @property
    def n_shards(self) -> int:
        """Number of shards of each field; each shard is one object."""
        return -(-self.n_points // self.shard_points)

    @property
    def n_full_chunks(self) -> int:
        """Number of chunks that hold `chunk_points` rows."""
        return self.n_points // self.chunk_points

    @property
    def short_points(self) -> int:
        """Number of rows of the short last chunk; 0 if all chunks are full."""
        return self.n_points % self.chunk_points

    def rows(self, first_chunk: int, stop_chunk: int) -> slice:
        """Return the rows of the chunks from ``first_chunk`` up to, but not including, ``stop_chunk``."""
        return slice(first_chunk * self.chunk_points, min(stop_chunk * self.chunk_points, self.n_points))

    def chunk_size(self, chunk: int) -> int:
        """Return the number of rows of one chunk."""
        return min(self.chunk_points, self.n_points - chunk * self.chunk_points)
