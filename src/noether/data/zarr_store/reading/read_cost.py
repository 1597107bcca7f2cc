"""What a read costs, from the ranges that it is about to fetch. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from noether.data.zarr_store.reading.fetch import FieldRead
from noether.data.zarr_store.sampling import ChunkOrder, count_draws

__all__ = ["ReadCost"]


@dataclass(frozen=True, slots=True)
class ReadCost:
    """What a read costs, known before anything is read.

    Attributes
    ----------
    points : dict of str to int
        Points by domain.
    chunks : dict of str to int
        Chunks to decode, by canonical field name.
    requests : dict of str to int or None
        Range requests by canonical field name; None where zarr-python reads the field, and decides on them.
    n_bytes : dict of str to int or None
        Their bytes.
    n_draws : dict of str to int
        Different draws (sets of points) that a draw like this one can return, by domain: 1 where the domain is read
        whole. Two of them may share most of their points. The number 2**63 - 1 means this many or more.
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
            # Chunks that are not stored make requests of no bytes, which nobody sends.
            requests={name: None if found is None else sum(n > 0 for n in found) for name, found in lengths.items()},
            n_bytes={name: None if found is None else sum(found) for name, found in lengths.items()},
            n_draws={one.domain: count_draws(one.plan.grid, one.plan.n_points, chunk_order) for one in reads},
        )

    @property
    def total_requests(self) -> int | None:
        """Requests of all fields; None where that of one is not known."""
        return _total(self.requests.values())

    @property
    def total_bytes(self) -> int | None:
        """Bytes of all fields; None where those of one are not known."""
        return _total(self.n_bytes.values())


def _known_lengths(one: FieldRead) -> list[int] | None:
    """Return the bytes of each request; None where zarr-python decides on them."""
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
