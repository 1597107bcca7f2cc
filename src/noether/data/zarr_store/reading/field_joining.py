"""Added fields become fields of the store, in manifest and chunk index, once all samples have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from noether.data.zarr_store.manifest import (
    OwnManifest,
    PendingFields,
    SampleEntry,
    StoreManifest,
    added_fields,
    declared,
    read_own_manifests,
    settled,
)
from noether.data.zarr_store.reading.index_making import write_chunk_index
from noether.data.zarr_store.reading.index_naming import update_with_index
from noether.data.zarr_store.reading.index_subset import write_index_of_fields
from noether.data.zarr_store.stores import normalize_root, open_storage

__all__ = ["change_fields", "join_fields", "record_added_fields"]


def record_added_fields(
    root: str | os.PathLike[str], sample_ids: Iterable[str], *, storage_options: Mapping[str, Any] | None = None
) -> None:
    """Record in the manifest the added fields that the groups of some samples have now.

    The function reads the fields from the groups, because another process may add other fields to the same sample, or
    write it again. Samples that the manifest lacks, and samples whose group is damaged or has other domains, are
    skipped.
    """
    root, ids = normalize_root(root), list(sample_ids)
    storage = open_storage(root, storage_options)

    def change(current: StoreManifest) -> StoreManifest:
        entries = {sample_id: current.sample(sample_id) for sample_id in ids if sample_id in current.samples}
        owners = {entry.relpath: sample_id for sample_id, entry in entries.items()}
        later, changed = added_fields(current), dict[str, SampleEntry]()
        for path, own in read_own_manifests(storage, owners):
            sample_id = owners[path]
            entry = entries[sample_id]
            if isinstance(own, OwnManifest) and _is_of(own, sample_id, entry):
                written = own.entry
                changed[sample_id] = replace(
                    entry,
                    fidelity=written.fidelity,
                    content_crc32c=written.content_crc32c,
                    added_fields=written.added_fields,
                )
                current = declared(current, _added_layouts(own), root)
        current.samples.update(changed)
        return settled(current, later, joins=False)

    StoreManifest.update(root, change, storage_options=storage_options)


def _is_of(own: OwnManifest, sample_id: str, entry: SampleEntry) -> bool:
    """Return whether a group is intact and belongs to this entry."""
    is_same = own.sample_id == sample_id and own.entry.domains == entry.domains
    return is_same and own.checksum_state != "broken"


def _added_layouts(own: OwnManifest) -> PendingFields:
    return {
        domain: {field: array for field, array in layout.arrays.items() if field in own.entry.added_fields}
        for domain, layout in own.alone.domains.items()
    }


def join_fields(root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """Turn the pending fields that every sample has into fields of the store; return their canonical names.

    Manifest and chunk index change in one step. The new chunk index needs only the shards of these fields to be read.
    """
    root = normalize_root(root)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    joined = settled(manifest)
    fields = _pending(manifest) - _pending(joined)
    if not fields:
        return []
    change_fields(root, manifest, joined, settled, storage_options=storage_options)
    return sorted(fields)


def _pending(manifest: StoreManifest) -> set[str]:
    return {field for arrays in manifest.pending_fields.values() for field in arrays}


def change_fields(
    root: str,
    manifest: StoreManifest,
    changed: StoreManifest,
    change: Callable[[StoreManifest], StoreManifest],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Save a manifest with other fields and, if the store has a chunk index, an index of these fields with it.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        The manifest as it was read.
    changed : StoreManifest
        The manifest that `change` returns for it.
    change : callable of StoreManifest to StoreManifest
        Returns a manifest with other fields. It may be called again if another writer saved first.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    """
    storage = open_storage(root, storage_options)
    made = write_index_of_fields(storage, manifest, changed)
    if update_with_index(storage, manifest, made, changed, change, storage_options=storage_options):
        write_chunk_index(root, storage_options=storage_options)
