"""A save of the manifest before the first sample, so that a store that cannot be written fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from noether.data.zarr_store.convert.turns import is_costly
from noether.data.zarr_store.errors import ManifestError, StorageError
from noether.data.zarr_store.manifest import MANIFEST_NAME, StoreManifest
from noether.data.zarr_store.stores import join, open_storage
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["PROBE_NAME", "manifest_saved_first"]

PROBE_NAME = "noether-zarr.probe"


@contextmanager
def manifest_saved_first(writer: ZarrStoreWriter) -> Iterator[None]:
    """Save the manifest unchanged; if it is missing, save an empty one, and remove it on exit if it is still empty.

    If that would move many bytes over a network, a small object is written in the same way instead, and deleted.

    Raises
    ------
    ManifestConflictError
        Another writer created the store with other settings in the meantime.
    ManifestError
        The writer adds fields, and the manifest is gone.
    StorageError
        The manifest cannot be saved. Nothing was changed.
    """
    url = join(writer.store_root, MANIFEST_NAME)
    storage = open_storage(writer.store_root, writer.settings.storage_options)
    if is_costly(writer):
        # The writer has read the manifest already, and has compared its settings.
        storage.update(PROBE_NAME, lambda _: b"probe")
        with suppress(StorageError):
            storage.delete([PROBE_NAME])
        yield
        return
    without_samples, is_new = writer.settings.manifest.to_json(url), False

    def same(current: bytes | None) -> bytes:
        nonlocal is_new
        if current is None:
            if writer.settings.adds_fields:
                raise ManifestError(
                    f"{url}: the manifest has disappeared since the writer was opened; rebuild it with "
                    "noether-zarr merge STORE"
                )
            is_new = True
            return without_samples
        writer.require_same_settings(StoreManifest.parse(current, url))
        return current

    storage.update(MANIFEST_NAME, same)
    try:
        yield
    finally:
        if is_new and not writer.manifest.samples:
            # An empty manifest would fix the settings of an empty store, and the next try may need other settings.
            with suppress(StorageError):
                storage.delete_if_same(MANIFEST_NAME, without_samples)
