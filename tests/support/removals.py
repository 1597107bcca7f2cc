"""Interrupted removals of samples."""

from __future__ import annotations

from pathlib import Path

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.manifest import begin_removal

__all__ = ["begin"]


def begin(root: Path, *sample_ids: str) -> None:
    """Leave a store in the state of a removal that was killed after its first step, without a new chunk index."""
    name = StoreManifest.load(str(root)).index_name

    def change(manifest: StoreManifest) -> StoreManifest:
        return begin_removal(manifest, sample_ids).model_copy(update={"sample_index": None})

    StoreManifest.update(str(root), change)
    if name is not None:
        (root / name).unlink()
