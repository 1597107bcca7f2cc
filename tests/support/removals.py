"""Removals of samples that were interrupted."""

from __future__ import annotations

from pathlib import Path

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.manifest import begin_removal

__all__ = ["begin"]


def begin(root: Path, *sample_ids: str) -> None:
    """Leave a store as a removal does that is killed after its first step, but for the new chunk index."""
    name = StoreManifest.load(str(root)).index_name

    def change(manifest: StoreManifest) -> StoreManifest:
        return begin_removal(manifest, sample_ids).model_copy(update={"sample_index": None})

    StoreManifest.update(str(root), change)
    if name is not None:
        (root / name).unlink()
