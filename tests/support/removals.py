"""Removals of samples that were interrupted."""

from __future__ import annotations

from pathlib import Path

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.manifest import begin_removal

__all__ = ["begin"]


def begin(root: Path, *sample_ids: str) -> None:
    """Leave a store as a removal does that is killed after its first step, but for the new chunk index."""
    name = StoreManifest.load(str(root)).chunk_index
    StoreManifest.update(str(root), lambda manifest: begin_removal(manifest, sample_ids))
    if name is not None:
        (root / name).unlink()
