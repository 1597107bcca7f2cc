"""A check that the cache on this machine has room for one item."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling import DrawRead

__all__ = ["require_room"]


def require_room(limit: int, sample_id: str, reads: Iterable[DrawRead]) -> None:
    """Raise `ArgumentError` if a cache has no room for the uncompressed chunks of one item.

    Parameters
    ----------
    limit : int
        Maximum number of bytes of the cache.
    sample_id : str
        Id of the item's sample.
    reads : iterable of DrawRead
        The reads of all draws of the item.
    """
    n_bytes = sum(
        len(one.planned.plan.parts) * one.planned.plan.grid.chunk_points * layout.dim * np.dtype(layout.dtype).itemsize
        for one in reads
        for layout in one.planned.layouts
    )
    if n_bytes > limit:
        raise ArgumentError(
            f"cache_limit: expected room for one item of sample {sample_id!r}, up to {n_bytes:,} bytes, got "
            f"{limit:,} bytes; raise the limit, draw fewer points, or leave the cache out"
        )
