"""Replacement of the manifest together with the name of its chunk index, in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.stores import Storage

__all__ = ["update_with_index"]


def update_with_index(
    storage: Storage,
    manifest: StoreManifest,
    made: tuple[str, dict[str, str]] | None,
    described: StoreManifest,
    change: Callable[[StoreManifest], StoreManifest],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> bool:
    """Replace the manifest, and name in it the chunk index that was written for the new manifest.

    Parameters
    ----------
    storage : Storage
        Storage of the store.
    manifest : StoreManifest
        The manifest as it was read.
    made : tuple of (str, dict of str to str) or None
        Name of the index that was written, and the checksums of its lengths by sample id; None without an index.
    described : StoreManifest
        A manifest with the samples and fields of the index.
    change : callable of StoreManifest to StoreManifest
        Returns the new manifest. It may be called again if another writer saved first.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    bool
        Whether the index must be rebuilt: another process changed the manifest, or the former index was damaged.
    """
    index, checksums = made or (None, {})
    name, needs_index = index, False

    def replaced(current: StoreManifest) -> StoreManifest:
        nonlocal name, needs_index
        new, former = change(current), current.index_names
        is_same = former == manifest.index_names and new.has_same_fields(described)
        name = index if is_same else None
        needs_index = bool(manifest.index_names or former) and name is None and len(new.samples) > 0
        # Delete the files first: a file that no manifest names would never be deleted.
        storage.delete([one for one in former if one != name])
        if name is None:
            return new.model_copy(update={"chunk_index": None, "sample_index": None})
        return new.with_index(name, checksums, described)[0]

    is_saved = False
    try:
        StoreManifest.update(storage.root, replaced, storage_options=storage_options)
        is_saved = True
    finally:
        if index is not None and index not in manifest.index_names and not (is_saved and index == name):
            storage.delete([index])
    return needs_index
