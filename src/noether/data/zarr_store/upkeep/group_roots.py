"""What the root of a group says of its sample, before the root is changed."""

from __future__ import annotations

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError, ManifestError
from noether.data.zarr_store.manifest import OwnManifest, StoreManifest
from noether.data.zarr_store.stores import join

__all__ = ["damaged_root", "own_manifest_of"]


def own_manifest_of(manifest: StoreManifest, root: str, sample_id: str, document: bytes | None) -> OwnManifest | None:
    """Return what the root of a group says of its sample; None where another program wrote it.

    Parameters
    ----------
    manifest : StoreManifest
        The manifest of the store.
    root : str
        Path or URL of the store.
    sample_id : str
        The sample.
    document : bytes or None
        The root ``zarr.json`` of its group; None where it is not there.

    Raises
    ------
    CorruptDataError
        It is damaged or missing.
    """
    entry = manifest.sample(sample_id)
    try:
        own = OwnManifest.of_root(document or b"", entry.relpath, join(root, entry.relpath))
    except ManifestError as error:
        if document is not None and not manifest.promises_all_chunks:
            return None
        raise damaged_root(sample_id, str(error)) from error
    if own.checksum_state == "broken" or own.sample_id != sample_id:
        raise damaged_root(sample_id, "it is not what was written")
    return own


def damaged_root(sample_id: str, reason: str) -> CorruptDataError:
    """Return the error of a root that cannot be changed."""
    return CorruptDataError(
        f"sample {sample_id!r}: the root {ROOT_KEY} of its group is damaged or missing ({reason}); repair the store "
        "first: noether-zarr repair STORE"
    )
