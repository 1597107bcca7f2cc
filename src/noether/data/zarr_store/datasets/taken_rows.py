"""The rows that weighted draws take of their candidates, and the memory for these rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import cast_into
from noether.data.zarr_store.reading import Allocate, ResultDtypes
from noether.data.zarr_store.sampling import Candidates, DrawRead, Range

__all__ = ["TakenRows", "share_out"]


class _Piece(NamedTuple):
    """Name, shape and dtype of an array that an item gets from taken rows."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class TakenRows:
    """The memory for the taken rows of a batch; the rows of one field are contiguous.

    Parameters
    ----------
    samples : sequence of sequences of DrawRead
        The reads of each sample.
    dtypes : ResultDtypes
        The dtypes of fields in the items.
    allocate : callable
        Returns the buffers of a batch.
    """

    def __init__(self, samples: Sequence[Sequence[DrawRead]], dtypes: ResultDtypes, allocate: Allocate) -> None:
        self._allocate = allocate
        self._alike: dict[tuple[str, np.dtype[Any]], list[tuple[int, ...]]] = {}
        self._places: dict[str, Iterator[NDArray[Any]]] = {}
        for reads in samples:
            for name, shape, dtype in _pieces(reads, dtypes):
                self._alike.setdefault((name, dtype), []).append(shape)

    def allocate(self, sizes: Sequence[int]) -> Sequence[NDArray[np.uint8]]:
        """Return buffers to read into. They are in one block with the memory for the taken rows."""
        own = [sum(map(prod, shapes)) * dtype.itemsize for (_, dtype), shapes in self._alike.items()]
        memory = self._allocate([*sizes, *own])
        for (name, dtype), piece in zip(self._alike, memory[len(sizes) :], strict=True):
            self._places[name] = _split(piece.view(dtype), self._alike[name, dtype])
        return memory[: len(sizes)]

    def put(self, name: str, values: NDArray[Any], rows: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """Copy values, or some of their rows, into the array of the next item, and return that array."""
        place = next(self._places[name])
        if rows is None:
            cast_into(place, values)
        elif values.dtype == place.dtype:
            np.take(values, rows, axis=0, out=place, mode="clip")  # NumPy copies once more if it checks the rows
        else:
            cast_into(place, values.take(rows, axis=0))
        return place


def share_out(
    reads: Sequence[DrawRead], arrays: Sequence[Mapping[str, NDArray[Any]]], taken_rows: TakenRows
) -> dict[str, NDArray[Any]]:
    """Return the rows of each draw of a sample, by field name in the item.

    Parameters
    ----------
    reads : sequence of DrawRead
        The reads of the sample.
    arrays : sequence of mappings of str to ndarray
        For each read, its rows by canonical field name.
    taken_rows : TakenRows
        Memory for the rows that weighted draws take.

    Raises
    ------
    ArgumentError
        The weights of a draw are invalid.
    """
    candidates = _candidates(reads)
    taken = {draw: one.take(_weight_fields(draw, reads, arrays)) for draw, one in candidates.items()}
    fields = {}
    for one, read in zip(reads, arrays, strict=True):
        for share in one.shares:
            for layout, name in zip(one.planned.layouts, share.names, strict=True):
                if name is None:
                    continue
                values = _rows(read[layout.field], share.ranges)
                if one.planned.are_candidates:
                    rows = None if share.candidates is None else taken[share.candidates.weighting.draw].rows
                    values = taken_rows.put(name, values, rows)
                fields[name] = values
    for draw, one_draw in candidates.items():
        inverse_name, inverse = one_draw.weighting.inverse_name, taken[draw].inverse
        if inverse_name is not None and inverse is not None:
            fields[inverse_name] = taken_rows.put(inverse_name, inverse)
    return fields


def _pieces(reads: Sequence[DrawRead], dtypes: ResultDtypes) -> Iterator[_Piece]:
    """Yield the arrays that the item of a sample gets from taken rows."""
    for one in reads:
        for share in one.shares if one.planned.are_candidates else ():
            n_rows = sum(stop - start for start, stop in share.ranges)
            if share.candidates is not None:
                n_rows = share.candidates.n_taken
            for layout, name in zip(one.planned.layouts, share.names, strict=True):
                if name is not None:
                    shape = (n_rows,) if layout.dim == 1 else (n_rows, layout.dim)
                    yield _Piece(name, shape, np.dtype(dtypes.by_field.get(layout.field, dtypes.default)))
    for candidates in _candidates(reads).values():
        inverse_name = candidates.weighting.inverse_name
        if inverse_name is not None:
            yield _Piece(inverse_name, (candidates.n_taken,), np.dtype(np.float32))


def _candidates(reads: Sequence[DrawRead]) -> dict[str, Candidates]:
    """Return the candidates of each weighted draw of a sample, by name of the draw."""
    shares = (share.candidates for one in reads for share in one.shares)
    return {candidates.weighting.draw: candidates for candidates in shares if candidates is not None}


def _weight_fields(
    draw: str, reads: Sequence[DrawRead], arrays: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return the fields that the weight of a draw reads, at its candidates."""
    return {
        field: _rows(read[field], share.ranges)
        for one, read in zip(reads, arrays, strict=True)
        for share in one.shares
        if share.candidates is not None and share.candidates.weighting.draw == draw
        for field in read.keys() & frozenset(share.candidates.weighting.weight.reads)
    }


def _split(values: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
    start = 0
    for shape in shapes:
        stop = start + prod(shape)
        yield values[start:stop].reshape(shape)
        start = stop


def _rows(values: NDArray[Any], ranges: Sequence[Range]) -> NDArray[Any]:
    parts = [values[start:stop] for start, stop in ranges]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
