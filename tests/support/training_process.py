"""A training for a separate process, in a module that spawned processes can import."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from noether.data.zarr_store.datasets import ZarrStoreDataset, collate_samples

__all__ = ["train"]


def train(dataset: ZarrStoreDataset, epoch: int, found: Any) -> None:
    """Train two epochs with a persistent worker and `set_epoch`; put the points of both passes into `found`."""
    loader = DataLoader(
        dataset, 6, num_workers=1, multiprocessing_context="fork", persistent_workers=True, collate_fn=collate_samples
    )
    passes = []
    for number in (epoch, epoch + 1):
        dataset.set_epoch(number)
        passes.append([batch["volume_position"].numpy().tobytes() for batch in loader])
    found.put((epoch, passes))
