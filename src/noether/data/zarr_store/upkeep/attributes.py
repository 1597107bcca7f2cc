"""Setting attributes of stored samples: first in the root of each group, then in the manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from typing import Any

from noether.data.zarr_store.core import CHECKSUM_KEY, ROOT_KEY, ZERO_CHECKSUM, with_checksum
from noether.data.zarr_store.errors import (
    ArgumentError,
    UnknownNameError,
    nearest_names,
)
from noether.data.zarr_store.manifest import OwnManifest, SampleEntry, StoreManifest, damaged_root, own_manifest_of
from noether.data.zarr_store.stores import Storage, is_remote, normalize_root, open_storage
from noether.data.zarr_store.writing import check_attributes, node_document

__all__ = ["set_attributes"]

# Number of samples between two saves of the manifest: the time of a save grows with the store.
_SAMPLES_A_SAVE = 1000
# Number of concurrent requests to remote storage, which mostly wait.
_REMOTE_WORKERS = 16
_SHOWN = 5


def set_attributes(
    store_root: str | os.PathLike[str],
    attributes: Mapping[str, Mapping[str, Any]],
    *,
    replace: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Set attributes of samples of a store; neither chunks nor metadata of arrays are read or written.

    The root ``zarr.json`` of each group is replaced atomically; the manifest is saved afterwards. After a kill at any
    moment, the same call completes the work, and `repair_store` makes groups and manifest agree.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    attributes : mapping of str to mapping of str to JSON value
        Attributes by sample id. NumPy scalars, arrays and tensors become numbers and nested lists.
    replace : bool
        Whether the new attributes replace all attributes of a sample. By default, they are added, and replace only
        attributes of the same names.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    list of str
        Ids of the samples whose attributes changed.

    Raises
    ------
    ArgumentError
        `attributes` has no sample.
    UnknownNameError
        The store lacks one of the samples. Nothing was changed.
    SampleDataError
        JSON cannot hold a value, such as NaN, or `attributes` has too many values for a sample: nothing was changed. If
        the values are too many only together with stored ones, samples that were changed before it stay changed.
    ManifestError
        There is no store.
    CorruptDataError
        The root of a group is damaged or missing. Samples that were changed before it stay changed.
    StorageError
        The store cannot be reached or changed, or a link leads out of it.
    """
    root = normalize_root(store_root)
    storage = open_storage(root, storage_options)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    given = _checked(manifest, attributes)
    for sample_id in given:
        storage.require_changeable(_root_key(manifest.sample(sample_id)))
    storage.recover_own(_root_key(manifest.sample(sample_id)) for sample_id in given)
    setter = _Setter(root, storage, storage_options, manifest, replace)
    workers, ids = _REMOTE_WORKERS if is_remote(root) else 1, list(given)
    with ThreadPoolExecutor(workers, "noether-attributes") as pool:
        for first in range(0, len(ids), _SAMPLES_A_SAVE):
            setter.set({sample_id: given[sample_id] for sample_id in ids[first : first + _SAMPLES_A_SAVE]}, pool)
    return sorted(setter.changed)


def _checked(manifest: StoreManifest, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    if not attributes:
        raise ArgumentError("attributes: expected at least one sample, got none; pass {sample_id: {name: value}}")
    unknown = [sample_id for sample_id in attributes if sample_id not in manifest.samples]
    if unknown:
        shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")
        raise UnknownNameError(
            f"{len(unknown):,} of {len(attributes):,} samples are not in the store: {shown}; nothing was changed; "
            f"{nearest_names(unknown[0], manifest.samples)}"
        )
    return {sample_id: check_attributes(sample_id, values) for sample_id, values in attributes.items()}


def _root_key(entry: SampleEntry) -> str:
    return f"{entry.relpath}/{ROOT_KEY}"


@dataclass(slots=True)
class _Setter:
    """Sets attributes of samples, in batches.

    Attributes
    ----------
    root : str
        Path or URL of the store.
    storage : Storage
        Storage of the store.
    storage_options : mapping or None
        Options of the file system.
    manifest : StoreManifest
        The manifest at the beginning.
    replace : bool
        Whether the new attributes replace all attributes of a sample.
    changed : set of str
        Ids of the samples whose attributes changed.
    """

    root: str
    storage: Storage
    storage_options: Mapping[str, Any] | None
    manifest: StoreManifest
    replace: bool
    changed: set[str] = field(default_factory=set)

    def set(self, given: Mapping[str, dict[str, Any]], pool: ThreadPoolExecutor) -> None:
        """Set attributes in the groups of samples, and then in the manifest, even if one of the groups fails."""
        done: list[str] = []
        try:
            for sample_id, _ in zip(given, pool.map(self._set_root, given.items()), strict=True):
                done.append(sample_id)
        finally:
            if done:
                self._save(done, given, pool)

    def _set_root(self, item: tuple[str, dict[str, Any]]) -> None:
        sample_id, values = item
        key = _root_key(self.manifest.sample(sample_id))

        def change(current: bytes | None) -> bytes:
            own = self._own_manifest(sample_id, current)
            if own is None or current is None:
                return current or b""
            return _with_attributes(current, self._merged(sample_id, own.entry.attributes, values), sample_id)

        current = self.storage.read_if_there(key)
        if change(current) != (current or b""):
            self.storage.update(key, change)
            self.changed.add(sample_id)

    def _save(self, sample_ids: Sequence[str], given: Mapping[str, dict[str, Any]], pool: ThreadPoolExecutor) -> None:
        """Copy the present attributes of the groups to the manifest: another process may set attributes, too."""

        def change(current: StoreManifest) -> StoreManifest:
            listed = [sample_id for sample_id in sample_ids if sample_id in current.samples]
            for sample_id, attributes in zip(listed, pool.map(self._stored_attributes, listed), strict=True):
                entry = current.sample(sample_id)
                if attributes is None:  # a group of another program, which has no attributes of its sample
                    attributes = self._merged(sample_id, entry.attributes, given[sample_id])
                if attributes != entry.attributes:
                    current.samples[sample_id] = with_changes(entry, attributes=attributes)
                    self.changed.add(sample_id)
            return current

        StoreManifest.update(self.root, change, storage_options=self.storage_options)

    def _stored_attributes(self, sample_id: str) -> dict[str, Any] | None:
        """Return the attributes in the group of a sample, or None if another program wrote the group."""
        own = self._own_manifest(sample_id, self.storage.read_if_there(_root_key(self.manifest.sample(sample_id))))
        return None if own is None else own.entry.attributes

    def _own_manifest(self, sample_id: str, document: bytes | None) -> OwnManifest | None:
        return own_manifest_of(self.manifest, self.root, sample_id, document)

    def _merged(self, sample_id: str, former: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        # The old and new attributes together may be too many.
        return given if self.replace else check_attributes(sample_id, {**former, **given})


def _with_attributes(document: bytes, attributes: Mapping[str, Any], sample_id: str) -> bytes:
    """Return the root ``zarr.json`` of a group with new attributes of its sample, and otherwise unchanged."""
    try:
        root = json.loads(document)
        root["attributes"]["attributes"] = attributes
        if CHECKSUM_KEY not in root["attributes"]:
            return node_document(root)
        root["attributes"] |= ZERO_CHECKSUM
        return with_checksum(node_document(root))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged_root(sample_id, str(error)) from error
