"""Whether a cache on this machine has room for what one item reads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling import DrawRead

__all__ = ["require_room"]


def require_room(limit: int, sample_id: str, reads: Iterable[DrawRead]) -> None:
    """Raise `ArgumentError` where a cache has no room for the chunks of one item, before compression.

    Parameters
    ----------
    limit : int
        Most bytes of the cache.
    sample_id : str
        The sample of the item.
    reads : iterable of DrawRead
        The reads of all its draws.
    """
    n_bytes = sum(
        len(one.planned.plan.parts) * one.planned.plan.grid.chunk_points * layout.dim * np.dtype(layout.dtype).itemsize
        for one in reads
        for layout in one.planned.layouts
    )
    if n_bytes > limit:
        raise ArgumentError(
            f"cache_limit: expected room for one item, got {limit:,} bytes; an item of sample {sample_id!r} reads up "
            f"to {n_bytes:,} bytes; raise the limit, draw fewer points, or leave the cache out"
        )
