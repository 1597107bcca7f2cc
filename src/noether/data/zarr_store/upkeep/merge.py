"""Merging the groups below a root into the manifest, after conversions on several machines or a lost manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import (
    OwnManifest,
    SampleEntry,
    SeenManifest,
    StoreManifest,
    entry_of_group,
    knowing_groups,
    list_store,
    read_own_manifests,
    unfinished_removals,
)
from noether.data.zarr_store.reading import has_whole_index, join_fields, write_chunk_index
from noether.data.zarr_store.stores import join, normalize_root, open_storage

__all__ = ["MergeReport", "merge_groups"]


@dataclass(slots=True)
class MergeReport:
    """The result of a merge.

    Attributes
    ----------
    added, updated, unchanged : list of str
        Ids of the samples with a complete group: new in the manifest, with a changed entry, or with the same entry.
    missing : list of str
        Ids of samples that the manifest lists, but whose group is missing. They stay in the manifest.
    refused : dict of str to str
        By path of a group, the reason why it does not belong to this store.
    removing : list of str
        Ids of samples whose removal has not ended; their groups are skipped.
    is_new : bool
        Whether there was no manifest, so that one was made, which has no splits.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    removing: list[str] = field(default_factory=list)
    is_new: bool = False


def merge_groups(
    store_root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> MergeReport:
    """Add every complete group below a root to the manifest, and write the chunk index.

    A missing manifest is created. No sample is removed from the manifest, and no group is changed.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Raises
    ------
    ManifestError
        There is neither a manifest nor a complete group.
    """
    root = normalize_root(store_root)
    storage = open_storage(root, storage_options)
    manifest = StoreManifest.load_if_there(root, storage_options=storage_options)
    removing = {} if manifest is None else unfinished_removals(manifest)
    listing = list_store(storage.objects(), removing.keys())
    paths = [path for path in listing.complete if path not in removing]
    if manifest is None and not paths:
        raise ManifestError(f"{root}: expected a manifest or a complete group, got neither; check the path")
    report = MergeReport(removing=sorted(removing.values()))
    found, settings = dict[str, SampleEntry](), manifest
    own_manifests: dict[str, OwnManifest] = {}
    for path, own in read_own_manifests(storage, paths):
        try:
            own = _require_intact(own, join(root, path))
            settings = settings or own.alone
            settings.require_same_settings(own.alone, join(root, path), of_group=True)
        except ManifestError as error:
            report.refused[path] = str(error)
        else:
            own_manifests[own.sample_id] = own
    if settings is not None:
        settings = knowing_groups(settings, own_manifests.values(), all_pending=manifest is None)
    known = {} if manifest is None else manifest.samples
    for sample_id, own in own_manifests.items():
        found[sample_id] = entry_of_group(settings or own.alone, own.alone.domains, own.entry)
        former = known.get(sample_id)
        is_same = former == found[sample_id]
        kind = report.added if former is None else report.unchanged if is_same else report.updated
        kind.append(sample_id)
    report.missing = [sample_id for sample_id in known if sample_id not in found]
    changed = {sample_id: found[sample_id] for sample_id in report.added + report.updated}
    if settings is not None and changed:
        # `seen` keeps a sample from being added again if its removal begins at this moment.
        seen = SeenManifest(frozenset(changed), frozenset())
        added = settings.model_copy(update={"samples": changed, "splits": {}})
        added.save(root, seen=seen, storage_options=storage_options)
        report.is_new = manifest is None
        join_fields(root, storage_options=storage_options)
    if changed or (manifest is not None and not has_whole_index(root, manifest, storage_options=storage_options)):
        write_chunk_index(root, storage_options=storage_options)
    return report


def _require_intact(own: OwnManifest | ManifestError, origin: str) -> OwnManifest:
    """Return the group's own manifest; raise `ManifestError` if it cannot be read or fails its checksum."""
    if isinstance(own, ManifestError):
        raise own
    if own.checksum_state == "broken":
        raise ManifestError(
            f"{origin}: the metadata of the group are damaged; find the damage with noether-zarr verify STORE, and "
            "repair it with noether-zarr repair STORE"
        )
    return own
