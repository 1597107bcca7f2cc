"""Removal of fields: first from the manifest, then from the roots of the groups, then their objects."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import (
    PendingFields,
    SampleEntry,
    StoreManifest,
    begin_field_removal,
    end_field_removal,
    own_manifest_of,
    removable_fields,
)
from noether.data.zarr_store.reading import change_fields
from noether.data.zarr_store.stores import Storage, is_remote, join, normalize_root, open_storage
from noether.data.zarr_store.writing import root_without

__all__ = ["RemovedField", "finish_field_removals", "remove_fields"]

# Number of concurrent requests to remote storage, which mostly wait.
_REMOTE_WORKERS = 16


@dataclass(frozen=True, slots=True)
class RemovedField:
    """A removed field.

    Attributes
    ----------
    field : str
        Canonical name of the field.
    n_samples : int
        Number of samples that had objects of the field.
    n_objects, n_bytes : int
        Number of objects of the field, and their bytes.
    """

    field: str
    n_samples: int
    n_objects: int
    n_bytes: int


def remove_fields(
    store_root: str | os.PathLike[str],
    fields: Iterable[str],
    *,
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[RemovedField, ...]:
    """Remove fields from all samples of a store: their arrays, and their entries in the manifest and the chunk index.

    The fields are removed from the manifest first, then atomically from the root of each group; then their objects are
    deleted. No shard of another field is read. After a kill at any moment, the same call finishes the removal; so does
    `repair_store`.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    fields : iterable of str
        Canonical names of the fields, which can be pending. Either all fields are removed, or none.
    dry_run : bool
        Whether to change nothing, and only return the fields that would be removed.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    tuple of RemovedField
        The fields that were removed, or would be.

    Raises
    ------
    ArgumentError
        `fields` is empty or one str, contains a position, or contains all fields except positions. Nothing was changed.
    UnknownNameError
        The store has no such field. Nothing was changed.
    ManifestError
        There is no store.
    CorruptDataError
        The root of a group is damaged. `repair_store` repairs it, and finishes the removal.
    StorageError
        The store cannot be reached or changed, or a link leads out of it.
    """
    root, names = normalize_root(store_root), _checked_names(fields)
    storage = open_storage(root, storage_options)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    layouts = removable_fields(manifest, names)
    entries = dict(manifest.samples)
    found = _found(storage, entries, layouts)
    for entry in entries.values():
        storage.require_changeable(f"{entry.relpath}/{ROOT_KEY}")
    if dry_run:
        return found
    # An earlier call that was killed may have left a staged manifest, or staged roots.
    storage.recover_own([f"{entry.relpath}/{ROOT_KEY}" for entry in entries.values()])
    if not _are_removing(manifest, names):
        begun = begin_field_removal(manifest, layouts)

        def begin(current: StoreManifest) -> StoreManifest:
            return begin_field_removal(current, removable_fields(current, names))

        change_fields(root, manifest, begun, begin, storage_options=storage_options)
    _finish(root, storage, storage_options, layouts)
    return found


def finish_field_removals(
    store_root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Finish interrupted removals of fields, and return their names; for errors see `remove_fields`."""
    root = normalize_root(store_root)
    storage = open_storage(root, storage_options)
    layouts = StoreManifest.load(root, storage_options=storage_options).removing_fields
    if layouts:
        _finish(root, storage, storage_options, layouts)
    return sorted(field for arrays in layouts.values() for field in arrays)


def _checked_names(fields: Iterable[str]) -> list[str]:
    if isinstance(fields, str):
        raise ArgumentError(f"fields: expected a list of names, got the str {fields!r}; write [{fields!r}]")
    names = list(dict.fromkeys(fields))
    if not names:
        raise ArgumentError("fields: expected at least one field to remove, got none; name the fields to remove")
    return names


def _are_removing(manifest: StoreManifest, names: Iterable[str]) -> bool:
    removing = {field for arrays in manifest.removing_fields.values() for field in arrays}
    return removing.issuperset(names)


def _found(storage: Storage, entries: Mapping[str, SampleEntry], layouts: PendingFields) -> tuple[RemovedField, ...]:
    found = []
    for domain, arrays in layouts.items():
        for field, array in arrays.items():
            places = (f"{entry.relpath}/{array.array_name}" for entry in entries.values() if domain in entry.domains)
            sizes = [[item.size for item in storage.objects(place)] for place in places]
            n_samples, flat = sum(map(bool, sizes)), [size for of_sample in sizes for size in of_sample]
            found.append(RemovedField(field, n_samples, len(flat), sum(flat)))
    return tuple(found)


def _finish(root: str, storage: Storage, storage_options: Mapping[str, Any] | None, layouts: PendingFields) -> None:
    """Remove fields from all groups, and then delete the records of their removal from the manifest."""
    manifest = StoreManifest.load(root, storage_options=storage_options)

    def remove(sample_id: str) -> None:
        entry = manifest.sample(sample_id)
        arrays = {field: array for domain in entry.domains for field, array in layouts.get(domain, {}).items()}
        _change_root(storage, manifest, sample_id, entry, layouts)
        for array in arrays.values():
            storage.remove_group(f"{entry.relpath}/{array.array_name}")

    with ThreadPoolExecutor(_REMOTE_WORKERS if is_remote(root) else 1, "noether-remove") as pool:
        for _ in pool.map(remove, manifest.samples):
            pass
    StoreManifest.update(root, lambda current: end_field_removal(current, layouts), storage_options=storage_options)


def _change_root(
    storage: Storage, manifest: StoreManifest, sample_id: str, entry: SampleEntry, layouts: PendingFields
) -> None:
    """Remove fields from the root of a group, and from the sample's own manifest in it, which lists all domains."""
    fields: dict[str, ArrayLayout] = {field: one for arrays in layouts.values() for field, one in arrays.items()}
    key = f"{entry.relpath}/{ROOT_KEY}"

    def change(current: bytes | None) -> bytes:
        if current is None:
            raise StorageError(
                f"cannot write {join(storage.root, key)}: another process removed the group in the meantime; "
                "run the removal again"
            )
        return root_without(current, own_manifest_of(manifest, storage.root, sample_id, current), fields)

    current = storage.read_if_there(key)
    if current is not None and change(current) != current:
        storage.update(key, change)
