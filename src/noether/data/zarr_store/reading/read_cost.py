"""The cost of a read, computed from its planned requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from noether.data.zarr_store.reading.fetch import FieldRead
from noether.data.zarr_store.sampling import ChunkOrder, count_draws

__all__ = ["ReadCost"]


@dataclass(frozen=True, slots=True)
class ReadCost:
    """The cost of a read, known before any chunk is read.

    Attributes
    ----------
    points : dict of str to int
        Number of points, by domain.
    chunks : dict of str to int
        Number of chunks to decode, by canonical field name.
    requests : dict of str to int or None
        Number of range requests, by canonical field name; None if zarr-python reads the field, and chooses them.
    n_bytes : dict of str to int or None
        Number of bytes of these requests, by canonical field name.
    n_draws : dict of str to int
        Number of different draws (sets of points) that a draw like this one can return, by domain; 1 if the domain is
        read whole. Two draws may share most of their points. The number 2**63 - 1 means this many or more.
    """

    points: dict[str, int]
    chunks: dict[str, int]
    requests: dict[str, int | None]
    n_bytes: dict[str, int | None]
    n_draws: dict[str, int]

    @classmethod
    def of(cls, reads: Sequence[FieldRead], chunk_order: ChunkOrder) -> Self:
        """Return the cost of reads, whose draws were planned with `chunk_order`."""
        lengths = {one.layout.field: _known_lengths(one) for one in reads}
        return cls(
            points={one.domain: one.plan.n_points for one in reads},
            chunks={one.layout.field: len(one.plan.parts) for one in reads},
            # Chunks that are not stored make requests of 0 bytes, which are not sent.
            requests={name: None if found is None else sum(n > 0 for n in found) for name, found in lengths.items()},
            n_bytes={name: None if found is None else sum(found) for name, found in lengths.items()},
            n_draws={one.domain: count_draws(one.plan.grid, one.plan.n_points, chunk_order) for one in reads},
        )

    @property
    def total_requests(self) -> int | None:
        """Number of requests of all fields; None if the number of one field is not known."""
        return _total(self.requests.values())

    @property
    def total_bytes(self) -> int | None:
        """Number of bytes of all fields; None if the number of one field is not known."""
        return _total(self.n_bytes.values())


def _known_lengths(one: FieldRead) -> list[int] | None:
    """Return the number of bytes of each request; None if zarr-python chooses the requests."""
    lengths = [request.length for request in one.requests]
    known = [length for length in lengths if length is not None]
    return known if len(known) == len(lengths) else None


def _total(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
