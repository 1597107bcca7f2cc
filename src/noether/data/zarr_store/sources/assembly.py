"""Build the array of a field: stack single components, transpose arrays.

Arrays that are not in memory are stacked and transposed lazily: rows are read when they are requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.lazy_arrays import StackedArray, TransposedArray
from noether.data.zarr_store.sources.mapping_fields import ArrayField

__all__ = ["assemble", "transposed"]


def assemble(field: ArrayField, arrays: Sequence[Any], where: str) -> Any:
    """Return the array of a field.

    Parameters
    ----------
    field : ArrayField
        The field, as the mapping describes it.
    arrays : sequence of array-like or FieldDescription
        The arrays of `field.names`, in that order.
    where : str
        Sample, field and file, as the start of error messages.

    Returns
    -------
    array-like or FieldDescription
        A description if `arrays` are descriptions, an ndarray if they are ndarrays, else a lazy array that reads the
        rows that it is sliced for.

    Raises
    ------
    SourceError
        Arrays to stack have several values per point, different lengths, or no common dtype.
    """
    if field.transpose:
        arrays = [transposed(array) for array in arrays]
    if len(arrays) == 1:
        return arrays[0]
    for name, array in zip(field.names, arrays, strict=True):
        if len(array.shape) != 1 and array.shape[1:] != (1,):
            is_row = len(array.shape) == 2 and array.shape[0] == 1
            way_out = "name the arrays of single components, or one array that has them all"
            if is_row:
                way_out = "it looks transposed (MATLAB's order): write { array = [...], transpose = true }"
            raise SourceError(
                f"{where}: expected one value per point in each of the stacked arrays {_shown(field.names)}, got "
                f"{name!r} of shape {tuple(array.shape)}; {way_out}"
            )
    lengths = {name: array.shape[0] for name, array in zip(field.names, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} with {length:,}" for name, length in lengths.items())
        raise SourceError(f"{where}: expected arrays of one length, got {shown}; name arrays of the same points")
    try:
        dtype = np.result_type(*(array.dtype for array in arrays))
    except TypeError as error:
        raise SourceError(f"{where}: {_shown(field.names)} have no dtype in common; name arrays of numbers") from error
    shape = (arrays[0].shape[0], len(arrays))
    if all(isinstance(array, FieldDescription) for array in arrays):
        return FieldDescription(shape, dtype, loading_bytes=shape[0] * dtype.itemsize * len(arrays))
    stacked = StackedArray(shape, dtype, tuple(arrays))
    return stacked[:] if all(isinstance(array, np.ndarray) for array in arrays) else stacked


def transposed(array: Any) -> Any:
    """Return a 2-D array, or its description, with rows and columns swapped. Other arrays are returned unchanged."""
    if isinstance(array, FieldDescription):
        return replace(array, shape=array.shape[::-1])
    if len(array.shape) != 2:
        return array
    return array.T if isinstance(array, np.ndarray) else TransposedArray(array.shape[::-1], array.dtype, array)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
