"""Where the rows of a batch go in memory: those of one field side by side, so that they are stacked as they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.reading.fetch import FieldRead, too_large
from noether.data.zarr_store.reading.result_dtypes import ResultDtypes

__all__ = ["Allocate", "place_side_by_side"]

Allocate: TypeAlias = Callable[[Sequence[int]], Sequence[NDArray[np.uint8]]]

# Rows lie side by side where they have the same key: field, number of draws before that have it too, dtype.
_Key: TypeAlias = tuple[str, int, np.dtype[Any]]


def place_side_by_side(
    samples: Sequence[Sequence[FieldRead]], allocate: Allocate, dtypes: ResultDtypes
) -> list[NDArray[Any]]:
    """Return an array of shape (plan.n_points, width) for each read, in its dtype.

    Parameters
    ----------
    samples : sequence of sequences of FieldRead
        The reads of each sample.
    allocate : callable
        Returns memory for so many bytes each, all of it aligned for any dtype.
    dtypes : ResultDtypes
        The dtypes of the rows.

    Raises
    ------
    TooLargeError
        There is no memory for them.
    """
    flat = [one for reads in samples for one in reads]
    keys = [key for reads in samples for key in _keys(reads, dtypes)]
    alike: dict[_Key, list[FieldRead]] = {}
    for key, one in zip(keys, flat, strict=True):
        alike.setdefault(key, []).append(one)
    try:
        memory = allocate([sum(map(_n_values, reads)) * dtype.itemsize for (_, _, dtype), reads in alike.items()])
    except MemoryError as error:
        raise too_large(max(flat, key=_n_values), error) from error
    places = {key: _split(piece.view(key[-1]), alike[key]) for key, piece in zip(alike, memory, strict=True)}
    return [next(places[key]) for key in keys]


def _keys(reads: Sequence[FieldRead], dtypes: ResultDtypes) -> Iterator[_Key]:
    """Yield the key of each read of a sample."""
    seen: Counter[str] = Counter()
    for one in reads:
        field = one.layout.field
        yield field, seen[field], dtypes.of_field(field, one.array)
        seen[field] += 1


def _n_values(one: FieldRead) -> int:
    return one.plan.n_points * one.layout.dim


def _split(values: NDArray[Any], reads: Sequence[FieldRead]) -> Iterator[NDArray[Any]]:
    start = 0
    for one in reads:
        stop = start + _n_values(one)
        yield values[start:stop].reshape(one.plan.n_points, one.layout.dim)
        start = stop
