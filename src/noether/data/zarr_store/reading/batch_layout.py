"""Where the rows of a batch go in memory: those of one field side by side, so that they are stacked as they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.reading.fetch import FieldRead, too_large

__all__ = ["Allocate", "place_side_by_side"]

Allocate: TypeAlias = Callable[[Sequence[int]], Sequence[NDArray[np.uint8]]]


def place_side_by_side(samples: Sequence[Sequence[FieldRead]], allocate: Allocate) -> list[NDArray[np.float32]]:
    """Give each read an array of float32, shape (plan.n_points, width).

    Parameters
    ----------
    samples : sequence of sequences of FieldRead
        What is read of each sample.
    allocate : callable
        Gives memory for so many bytes each.

    Raises
    ------
    TooLargeError
        There is no memory for them.
    """
    flat = [one for reads in samples for one in reads]
    keys = [key for reads in samples for key in _keys(reads)]
    alike: dict[tuple[str, int], list[FieldRead]] = {}
    for key, one in zip(keys, flat, strict=True):
        alike.setdefault(key, []).append(one)
    try:
        memory = allocate([sum(map(_n_bytes, reads)) for reads in alike.values()])
    except MemoryError as error:
        raise too_large(max(flat, key=_n_bytes), error) from error
    places = {key: _split(piece, reads) for (key, reads), piece in zip(alike.items(), memory, strict=True)}
    return [next(places[key]) for key in keys]


def _keys(reads: Sequence[FieldRead]) -> Iterator[tuple[str, int]]:
    """Give the field of each read of a sample, and how many draws before have it too."""
    seen: Counter[str] = Counter()
    for one in reads:
        yield one.layout.field, seen[one.layout.field]
        seen[one.layout.field] += 1


def _n_bytes(one: FieldRead) -> int:
    return one.plan.n_points * one.layout.dim * np.dtype(np.float32).itemsize


def _split(memory: NDArray[np.uint8], reads: Sequence[FieldRead]) -> Iterator[NDArray[np.float32]]:
    values, start = memory.view(np.float32), 0
    for one in reads:
        stop = start + one.plan.n_points * one.layout.dim
        yield values[start:stop].reshape(one.plan.n_points, one.layout.dim)
        start = stop
