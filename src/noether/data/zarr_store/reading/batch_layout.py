"""Memory layout of a batch: the rows of one field are contiguous, so that stacking them needs no copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.reading.fetch import FieldRead, row_dtype, too_large
from noether.data.zarr_store.reading.result_dtypes import ResultDtypes

__all__ = ["Allocate", "place_side_by_side"]

Allocate: TypeAlias = Callable[[Sequence[int]], Sequence[NDArray[np.uint8]]]

_ALIGNMENT = 64

# Reads with the same key share a contiguous block. A key has the field, the number of earlier draws of the sample with
# this field, and the dtype.
_Key: TypeAlias = tuple[str, int, np.dtype[Any]]


def place_side_by_side(
    samples: Sequence[Sequence[FieldRead]], allocate: Allocate, dtypes: ResultDtypes
) -> list[NDArray[Any]]:
    """Return an array of shape (plan.n_points, width) and of the result dtype for each read.

    Candidates get a block of their own, because only some of their rows are taken for the result.

    Parameters
    ----------
    samples : sequence of sequences of FieldRead
        The reads of each sample.
    allocate : callable
        Takes sizes in bytes, and returns a buffer of each size, aligned for any dtype.
    dtypes : ResultDtypes
        The dtypes of the rows.

    Raises
    ------
    TooLargeError
        The rows do not fit in memory.
    """
    kept = [[one for one in reads if not one.are_candidates] for reads in samples]
    candidates = [[one for one in reads if one.are_candidates] for reads in samples]
    try:
        placed = iter(_place(kept, allocate, dtypes)), iter(_place(candidates, _allocate_apart, dtypes))
    except MemoryError as error:
        raise too_large(max((one for reads in samples for one in reads), key=_n_values), error) from error
    return [next(placed[one.are_candidates]) for reads in samples for one in reads]


def _place(samples: Sequence[Sequence[FieldRead]], allocate: Allocate, dtypes: ResultDtypes) -> list[NDArray[Any]]:
    """Return an array for each read; parameters are those of `place_side_by_side`."""
    flat = [one for reads in samples for one in reads]
    keys = [key for reads in samples for key in _keys(reads, dtypes)]
    alike: dict[_Key, list[FieldRead]] = {}
    for key, one in zip(keys, flat, strict=True):
        alike.setdefault(key, []).append(one)
    memory = allocate([sum(map(_n_values, reads)) * dtype.itemsize for (_, _, dtype), reads in alike.items()])
    places = {key: _split(piece.view(key[-1]), alike[key]) for key, piece in zip(alike, memory, strict=True)}
    return [next(places[key]) for key in keys]


def _allocate_apart(sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return buffers in one block: the allocator reuses one large block sooner than many small ones.

    Raises
    ------
    MemoryError
        The block does not fit in memory.
    """
    starts = list(accumulate((-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes), initial=0))
    try:
        block = np.empty(starts[-1], np.uint8)
    except ValueError as error:  # NumPy's error for very large sizes
        raise MemoryError(str(error)) from error
    return [block[start : start + size] for start, size in zip(starts[:-1], sizes, strict=True)]


def _keys(reads: Sequence[FieldRead], dtypes: ResultDtypes) -> Iterator[_Key]:
    """Yield the key of each read of a sample."""
    seen: Counter[str] = Counter()
    for one in reads:
        field = one.layout.field
        yield field, seen[field], row_dtype(one, dtypes)
        seen[field] += 1


def _n_values(one: FieldRead) -> int:
    return one.plan.n_points * one.layout.dim


def _split(values: NDArray[Any], reads: Sequence[FieldRead]) -> Iterator[NDArray[Any]]:
    start = 0
    for one in reads:
        stop = start + _n_values(one)
        yield values[start:stop].reshape(one.plan.n_points, one.layout.dim)
        start = stop
