"""Batches of samples that differ in size."""

from __future__ import annotations

from typing import Any

import torch

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["RaggedBatch"]


class RaggedBatch(dict[str, Any]):
    """A batch of samples that differ in size: their points are concatenated, and ``offsets`` separate the samples.

    The constructor checks the offsets: frameworks that concatenate or slice batches tensor by tensor would leave wrong
    offsets.

    Raises
    ------
    ArgumentError
        The offsets do not fit the points.
    """

    def __init__(self, *content: Any) -> None:
        # torch.distributed passes the pairs one by one, all other callers pass a mapping.
        super().__init__(content[0] if len(content) == 1 else content)
        offsets = self.get("offsets", {})
        for field, field_offsets in offsets.items():
            if not _fit(field_offsets, self.get(field)):
                raise ArgumentError(
                    f"field {field!r} of a batch of samples that differ in size: its offsets do not fit its points, "
                    "since a framework concatenated or sliced the batch tensor by tensor, as Accelerate does with "
                    "dispatch_batches=True; let each process read its own batches (dispatch_batches=False), or draw "
                    "the same number of points of each sample: num_points={...}, if_short='error'"
                )


def _fit(offsets: Any, values: Any) -> bool:
    """Return whether offsets fit the rows of values. Offsets on a device pass: a check would wait for the device."""
    if not isinstance(offsets, torch.Tensor) or not isinstance(values, torch.Tensor):
        return False
    if offsets.device.type != "cpu":
        return True
    if offsets.ndim != 1 or len(offsets) < 2 or not values.ndim:
        return False
    return int(offsets[0]) == 0 and int(offsets[-1]) == len(values) and bool((offsets[1:] >= offsets[:-1]).all())
