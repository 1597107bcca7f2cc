"""Casts on the way to the caller. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cast_into"]

# float32 of every float16, by its bits: looking values up takes half the time of NumPy's cast.
_FLOAT32_OF_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def cast_into(out: NDArray[Any], rows: NDArray[Any]) -> None:
    """Copy `rows` to `out`, of the same shape and of any floating dtype; both contiguous."""
    if rows.dtype == np.float16 and out.dtype == np.float32:
        np.take(_FLOAT32_OF_FLOAT16, rows.view(np.uint16), out=out, mode="clip")
    else:
        out[...] = rows
