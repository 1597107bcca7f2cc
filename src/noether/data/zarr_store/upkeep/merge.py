"""The groups below a root united with the manifest: what several runs wrote, on machines that may have been lost."""

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
    """What uniting the groups with the manifest changed.

    Attributes
    ----------
    added, updated, unchanged : list of str
        Ids of samples whose group is there: new in the manifest, with another entry than before, or as before.
    missing : list of str
        Ids of samples that the manifest lists, but whose group is not there. They stay listed.
    refused : dict of str to str
        By path of a group, why it is none of this store.
    removing : list of str
        Ids of samples whose removal has not ended: their groups are passed over.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    removing: list[str] = field(default_factory=list)


def merge_groups(
    store_root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> MergeReport:
    """Add every complete group below a root to the manifest, which need not be there, and make the chunk index.

    Nothing is taken out of the manifest, and no group is changed.

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
        raise ManifestError(f"{root}: neither a manifest nor a complete group is there; check the path")
    report, found, settings = MergeReport(removing=sorted(removing.values())), dict[str, SampleEntry](), manifest
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
        # A sample whose removal begins meanwhile is not added again.
        seen = SeenManifest(frozenset(changed), frozenset())
        added = settings.model_copy(update={"samples": changed, "splits": {}})
        added.save(root, seen=seen, storage_options=storage_options)
        join_fields(root, storage_options=storage_options)
    if changed or (manifest is not None and not has_whole_index(root, manifest, storage_options=storage_options)):
        write_chunk_index(root, storage_options=storage_options)
    return report


def _require_intact(own: OwnManifest | ManifestError, origin: str) -> OwnManifest:
    """Return what a group says of itself; raise why it says nothing that can be believed."""
    if isinstance(own, ManifestError):
        raise own
    if own.checksum_state == "broken":
        raise ManifestError(f"{origin}: its metadata are damaged; see what can be done: noether-zarr verify STORE")
    return own
