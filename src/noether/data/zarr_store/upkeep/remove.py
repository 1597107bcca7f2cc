"""Removal of samples: first from the manifest, then their groups, beginning with the root of each group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from noether.data.zarr_store.convert import REPORT_NAME, ReportFile
from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, StorageError
from noether.data.zarr_store.manifest import (
    StoreManifest,
    begin_removal,
    end_removal,
    groups_of,
    require_apart,
    unfinished_removals,
)
from noether.data.zarr_store.reading import join_fields, update_with_index, write_chunk_index, write_index_without
from noether.data.zarr_store.stores import Storage, is_remote, normalize_root, open_storage

__all__ = ["RemovedGroup", "finish_removals", "remove_samples"]

# Number of tries; a new try is needed if a writer has written one of the groups again.
_TRIES = 3
# Requests to remote storage consist almost only of waiting.
_REMOTE_WORKERS = 16


@dataclass(frozen=True, slots=True)
class RemovedGroup:
    """The removed group of a sample.

    Attributes
    ----------
    sample_id : str
        Id of the sample.
    relpath : str
        Path of the group, relative to the root.
    n_objects, n_bytes : int
        Number of objects in the group, and their bytes.
    """

    sample_id: str
    relpath: str
    n_objects: int
    n_bytes: int


def remove_samples(
    store_root: str | os.PathLike[str],
    sample_ids: Iterable[str],
    *,
    dry_run: bool = False,
    on_group: Callable[[RemovedGroup], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[RemovedGroup, ...]:
    """Remove samples from a store: their groups, and their lines in the manifest, the splits and the chunk index.

    The samples are removed from the manifest before the first object is deleted. After a kill at any moment, the same
    call finishes the removal; so does `repair_store`. A group that was deleted by hand before is not an error. A later
    conversion converts a removed sample again if the source still has it.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    sample_ids : iterable of str
        Ids of the samples, at most 65,536. Either all samples are removed, or none.
    dry_run : bool
        Whether to change nothing, and only return the groups that would be removed.
    on_group : callable of RemovedGroup, optional
        Callback after the removal of each group.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    tuple of RemovedGroup
        The groups that were removed, or would be.

    Raises
    ------
    ArgumentError
        `sample_ids` is empty, one str, or more than 65,536 samples.
    UnknownNameError
        The store lacks one of the samples. Nothing was changed.
    ManifestError
        There is no store, or a group shares objects with that of another sample. Nothing was changed.
    StorageError
        The store cannot be reached or changed, a link leads out of it, or a writer writes a sample at the same time.
    """
    root, ids = normalize_root(store_root), _checked_ids(sample_ids)
    storage = open_storage(root, storage_options)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    groups = _changeable(storage, groups_of(manifest, ids))
    found = {path: _found(storage, path, sample_id) for path, sample_id in groups.items()}
    if dry_run:
        return tuple(found.values())
    # A kill of an earlier call may have left a staged manifest or report.
    storage.recover_own(groups)
    needs_index = _begin(storage, storage_options, manifest, ids)
    _finish(root, storage, storage_options, groups, found if on_group else {}, on_group, needs_index=needs_index)
    return tuple(found.values())


def finish_removals(
    store_root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Finish interrupted removals, and return the ids of their samples; for errors see `remove_samples`.

    A sample that was written again in the meantime is kept.
    """
    root = normalize_root(store_root)
    storage = open_storage(root, storage_options)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    groups = unfinished_removals(manifest)
    require_apart(manifest, groups)
    _finish(root, storage, storage_options, _changeable(storage, groups))
    return sorted(groups.values())


def _checked_ids(sample_ids: Iterable[str]) -> list[str]:
    if isinstance(sample_ids, str):
        raise ArgumentError(f"sample_ids: expected a list of ids, got the str {sample_ids!r}; write [{sample_ids!r}]")
    ids = list(dict.fromkeys(sample_ids))
    if not ids:
        raise ArgumentError("sample_ids: expected at least one sample to remove, got none; name the samples to remove")
    return ids


def _changeable(storage: Storage, groups: dict[str, str]) -> dict[str, str]:
    for path in groups:
        storage.require_changeable(path)
    return groups


def _found(storage: Storage, path: str, sample_id: str) -> RemovedGroup:
    sizes = [item.size for item in storage.objects(path)]
    return RemovedGroup(sample_id, path, len(sizes), sum(sizes))


def _begin(
    storage: Storage,
    storage_options: Mapping[str, Any] | None,
    manifest: StoreManifest,
    sample_ids: list[str],
) -> bool:
    """Remove samples from the manifest atomically, and record there that their removal has begun.

    Returns whether the chunk index must be rebuilt, because another process changed the manifest or the index was
    damaged.
    """
    made = write_index_without(storage, manifest, frozenset(sample_ids))

    def begun(current: StoreManifest) -> StoreManifest:
        return begin_removal(current, sample_ids)

    return update_with_index(storage, manifest, made, manifest, begun, storage_options=storage_options)


def _finish(
    root: str,
    storage: Storage,
    storage_options: Mapping[str, Any] | None,
    groups: Mapping[str, str],
    found: Mapping[str, RemovedGroup] | None = None,
    on_group: Callable[[RemovedGroup], None] | None = None,
    *,
    needs_index: bool = False,
) -> None:
    """Remove the groups of removals that the manifest records, and then delete the records."""
    left = dict(groups)
    for _ in range(_TRIES):
        with ThreadPoolExecutor(_REMOTE_WORKERS if is_remote(root) else 1, "noether-remove") as pool:
            for path, _ in zip(left, pool.map(storage.remove_group, left), strict=True):
                if on_group is not None and found:
                    on_group(found[path])
        _forget_conversions(storage, set(groups.values()))
        if needs_index:
            write_chunk_index(root, storage_options=storage_options)
        left, needs_index = _end(root, storage, storage_options, left)
        if needs_index:
            write_chunk_index(root, storage_options=storage_options)
        if not left:
            join_fields(root, storage_options=storage_options)  # all remaining samples may have a field now
            return
        on_group, needs_index = None, False
    raise StorageError(
        f"{root}: a writer wrote the group {next(iter(left))} again during each of {_TRIES} removals; end the process "
        "that writes it, and remove the sample again"
    )


def _end(
    root: str, storage: Storage, storage_options: Mapping[str, Any] | None, groups: Mapping[str, str]
) -> tuple[dict[str, str], bool]:
    """Delete the records of removals from the manifest.

    Returns the groups that were written again, and whether the chunk index was removed.
    """
    again: dict[str, str] = {}
    is_dropped = False

    def has_root(path: str) -> bool:
        return storage.read_tail(f"{path}/{ROOT_KEY}", 1) is not None

    def change(current: StoreManifest) -> StoreManifest:
        nonlocal again, is_dropped
        ended, again = end_removal(current, groups, has_root)
        dropped = [one for one in current.index_names if one not in ended.index_names]
        is_dropped = bool(dropped)
        storage.delete(dropped)
        return ended

    StoreManifest.update(root, change, storage_options=storage_options)
    return again, is_dropped


def _forget_conversions(storage: Storage, sample_ids: set[str]) -> None:
    """Remove samples from the conversion report, if there is a valid report."""

    def change(current: bytes | None) -> bytes:
        return ReportFile.parse(current, REPORT_NAME).without_samples(sample_ids).to_json()

    data = storage.read_if_there(REPORT_NAME)
    try:
        report = ReportFile.parse(data, REPORT_NAME)
        if report.without_samples(sample_ids) != report:
            storage.update(REPORT_NAME, change)
    except CorruptDataError:
        return  # `repair_store` repairs a damaged report
