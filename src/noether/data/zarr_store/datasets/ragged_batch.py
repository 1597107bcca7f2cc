"""Batches of samples that differ in size."""

from __future__ import annotations

from typing import Any

import torch

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["RaggedBatch"]


class RaggedBatch(dict[str, Any]):
    """A batch in which the points of samples that differ in size lie one behind the other, and ``offsets`` part them.

    It refuses to be made of anything else: frameworks that concatenate or slice batches tensor by tensor would leave
    offsets that part the points wrongly.

    Raises
    ------
    ArgumentError
        The offsets do not part the points.
    """

    def __init__(self, *content: Any) -> None:
        # torch.distributed gives the pairs one by one, all else a mapping.
        super().__init__(content[0] if len(content) == 1 else content)
        offsets = self.get("offsets", {})
        for field, parts in offsets.items():
            if not _part(parts, self.get(field)):
                raise ArgumentError(
                    f"field {field!r} of a batch of samples that differ in size: its offsets do not part its points; "
                    "something has concatenated or sliced the batch tensor by tensor, as Accelerate does with "
                    "dispatch_batches=True. Let each process read its own batches (dispatch_batches=False), or draw "
                    "the same number of points of each sample: num_points={...}, if_short='error'"
                )


def _part(offsets: Any, values: Any) -> bool:
    """Return whether offsets part the rows of values; those on a device, which would have to be waited for, do."""
    if not isinstance(offsets, torch.Tensor) or not isinstance(values, torch.Tensor):
        return False
    if offsets.device.type != "cpu":
        return True
    if offsets.ndim != 1 or len(offsets) < 2 or not values.ndim:
        return False
    return int(offsets[0]) == 0 and int(offsets[-1]) == len(values) and bool((offsets[1:] >= offsets[:-1]).all())
