"""Fields that came later become fields of the store, once all samples have them: manifest and chunk index."""

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
    """Have the manifest say which later fields some samples have, as their groups say at this moment.

    The groups tell, and not the caller: another process may add other fields to the same sample, or write it again. A
    sample that the manifest lacks, or whose group is not what was written, is passed over.
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
                said = own.entry
                changed[sample_id] = replace(
                    entry,
                    fidelity=said.fidelity,
                    content_crc32c=said.content_crc32c,
                    added_fields=said.added_fields,
                )
                current = declared(current, _added_layouts(own), root)
        current.samples.update(changed)
        return settled(current, later, joins=False)

    StoreManifest.update(root, change, storage_options=storage_options)


def _is_of(own: OwnManifest, sample_id: str, entry: SampleEntry) -> bool:
    is_same = own.sample_id == sample_id and own.entry.domains == entry.domains
    return is_same and own.checksum_state != "broken"


def _added_layouts(own: OwnManifest) -> PendingFields:
    return {
        domain: {field: array for field, array in layout.arrays.items() if field in own.entry.added_fields}
        for domain, layout in own.alone.domains.items()
    }


def join_fields(root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """Make the pending fields that no sample lacks fields of the store, with its chunk index, in one step.

    Returns the canonical names of the fields. Of the chunk index, only the shards of these fields are read.
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
    """Save a manifest with other fields and, where the store has a chunk index, name that of these fields with it.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        The manifest as it was read.
    changed : StoreManifest
        What `change` makes of it.
    change : callable of StoreManifest to StoreManifest
        Makes a manifest with other fields. It may be called again where another writer came first.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    """
    storage = open_storage(root, storage_options)
    made = write_index_of_fields(storage, manifest, changed)
    if update_with_index(storage, manifest, made, changed, change, storage_options=storage_options):
        write_chunk_index(root, storage_options=storage_options)
