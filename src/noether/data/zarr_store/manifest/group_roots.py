"""Checks of the manifest in the root of a group, before the root is changed."""

from __future__ import annotations

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError, ManifestError
from noether.data.zarr_store.manifest.listing import OwnManifest
from noether.data.zarr_store.manifest.store_manifest import StoreManifest
from noether.data.zarr_store.stores import join

__all__ = ["damaged_root", "own_manifest_of", "sound_own_manifest"]


def sound_own_manifest(sample_id: str, document: bytes | None, relpath: str, root: str) -> OwnManifest:
    """Return a group's own manifest from its root.

    Parameters
    ----------
    sample_id : str
        Id of the sample.
    document : bytes or None
        The root ``zarr.json`` of its group; None if it is missing.
    relpath : str
        Path of the group, relative to the root of the store.
    root : str
        Path or URL of the store.

    Raises
    ------
    CorruptDataError
        The root is damaged or missing.
    """
    try:
        own = OwnManifest.of_root(document or b"", relpath, join(root, relpath))
    except ManifestError as error:
        raise damaged_root(sample_id, str(error)) from error
    if own.checksum_state == "broken" or own.sample_id != sample_id:
        raise damaged_root(sample_id, "its checksum or its sample id does not match")
    return own


def own_manifest_of(manifest: StoreManifest, root: str, sample_id: str, document: bytes | None) -> OwnManifest | None:
    """Return a group's own manifest from its root; None if another program wrote the group.

    Parameters
    ----------
    manifest : StoreManifest
        The manifest of the store.
    root : str
        Path or URL of the store.
    sample_id : str
        Id of the sample.
    document : bytes or None
        The root ``zarr.json`` of its group; None if it is missing.

    Raises
    ------
    CorruptDataError
        The root is damaged or missing.
    """
    try:
        return sound_own_manifest(sample_id, document, manifest.sample(sample_id).relpath, root)
    except CorruptDataError as error:
        has_no_manifest = isinstance(error.__cause__, ManifestError)
        if has_no_manifest and document is not None and not manifest.promises_all_chunks:
            return None
        raise


def damaged_root(sample_id: str, reason: str) -> CorruptDataError:
    """Return the error for a root that is damaged or missing."""
    return CorruptDataError(
        f"sample {sample_id!r}: the root {ROOT_KEY} of its group is damaged or missing ({reason}); repair the store "
        "first: noether-zarr repair STORE"
    )
