"""Where the rows of a batch go in memory: those of one field side by side, so that they are stacked as they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.fetch import FieldRead, too_large

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
    # A sample may have a field in two draws.
    alike: dict[tuple[str, int], list[FieldRead]] = {}
    keys = []
    for reads in samples:
        seen: dict[str, int] = {}
        for one in reads:
            key = one.layout.field, seen.setdefault(one.layout.field, 0)
            seen[one.layout.field] += 1
            alike.setdefault(key, []).append(one)
            keys.append(key)
    try:
        memory = allocate([sum(map(_n_bytes, reads)) for reads in alike.values()])
    except MemoryError as error:
        raise too_large(max((one for reads in samples for one in reads), key=_n_bytes), error) from error
    rows = {key: _split(of_field, reads) for (key, reads), of_field in zip(alike.items(), memory, strict=True)}
    places = {key: iter(of_field) for key, of_field in rows.items()}
    return [next(places[key]) for key in keys]


def _n_bytes(one: FieldRead) -> int:
    return one.plan.n_points * one.layout.dim * np.dtype(np.float32).itemsize


def _split(memory: NDArray[np.uint8], reads: Sequence[FieldRead]) -> list[NDArray[np.float32]]:
    places, values, start = [], memory.view(np.float32), 0
    for one in reads:
        stop = start + one.plan.n_points * one.layout.dim
        places.append(values[start:stop].reshape(one.plan.n_points, one.layout.dim))
        start = stop
    return places
