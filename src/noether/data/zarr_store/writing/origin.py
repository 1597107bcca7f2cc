"""The origin of a store: a point that is subtracted from all positions before the cast. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import DomainLayout
from noether.data.zarr_store.manifest import Origin

__all__ = ["checked_origin", "minus_origin"]


def minus_origin(rows: NDArray[Any], origin: Origin | None) -> NDArray[Any]:
    """Return positions relative to the origin, as float64; return `rows` unchanged without an origin."""
    if origin is None:
        return rows
    with np.errstate(over="ignore", invalid="ignore"):  # a later check reports values that are not finite
        relative: NDArray[Any] = np.subtract(rows, origin, dtype=np.float64, casting="unsafe")
        return relative


def checked_origin(origin: ArrayLike | None, layouts: Mapping[str, DomainLayout]) -> Origin | None:
    """Check an origin, and return it as three floats; None if the origin is None or all zeros.

    Raises
    ------
    ArgumentError
        The origin is not three finite numbers, or the positions of a domain do not have 3 components.
    """
    if origin is None:
        return None
    try:
        x, y, z = np.asarray(origin, dtype=np.float64).tolist()
        is_finite = bool(np.isfinite([x, y, z]).all())
    except (TypeError, ValueError, RuntimeError):
        is_finite = False
    if not is_finite:
        raise ArgumentError(f"origin: expected three finite numbers such as (482000, 5480000, 0), got {origin!r}")
    for domain, layout in layouts.items():
        width = layout.arrays[layout.position].dim
        if width != 3:
            raise ArgumentError(
                f"origin: expected positions of 3 components, got {width} in domain {domain!r}; leave out the origin"
            )
    return (x + 0.0, y + 0.0, z + 0.0) if x or y or z else None
