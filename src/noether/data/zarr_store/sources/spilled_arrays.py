"""Arrays that are built block by block: in memory if they are small, else in temporary files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import ScratchFile

__all__ = ["SMALL_ARRAY_BYTES", "spill"]

SMALL_ARRAY_BYTES = 64 << 20
"""Largest array that is held in memory when it is read whole. A larger array goes to a temporary file."""


def spill(steps: Iterator[NDArray[Any]], n_values: int, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return values as one flat array, in memory or in a memory-mapped temporary file.

    Parameters
    ----------
    steps : iterator of ndarray
        Values in blocks.
    n_values : int
        Total number of values.
    dtype : numpy.dtype
        Dtype of the values.
    name : str
        Name of the array for errors.
    """
    if n_values * dtype.itemsize <= SMALL_ARRAY_BYTES:
        return np.concatenate([np.empty(0, dtype), *(values.reshape(-1) for values in steps)])
    done = 0
    with ScratchFile(n_values * dtype.itemsize, f"array {name!r}") as file:
        for values in steps:
            file.write(values, done)
            done += values.nbytes
        return file.mapped(dtype)
