"""Samples taken out of a store: the manifest says so first, then their groups go, the root of each first."""

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

# Each time, a writer has written one of the groups again.
_TRIES = 3
# Almost all the time goes into waiting for the storage.
_REMOTE_WORKERS = 16


@dataclass(frozen=True, slots=True)
class RemovedGroup:
    """The group of a sample that is removed.

    Attributes
    ----------
    sample_id : str
        The sample.
    relpath : str
        The path of the group, relative to the root.
    n_objects, n_bytes : int
        The objects that were there, and their bytes.
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
    """Remove samples from a store: their groups, their lines in the manifest and splits, their part of the chunk index.

    The manifest lists the samples no more before the first object goes. After a kill at any moment, the same call
    finishes the removal; so does `repair_store`. A group that was removed by hand already is no error. A conversion
    from a source that still has a sample converts it again.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    sample_ids : iterable of str
        The samples, at most 65,536. Either all of them are removed, or none.
    dry_run : bool
        Whether to change nothing, and only return what would be removed.
    on_group : callable of RemovedGroup, optional
        Called after each group is removed.
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
    # What a kill of an earlier call left of the manifest and the report that it was writing.
    storage.recover_own(groups)
    needs_index = _begin(storage, storage_options, manifest, ids)
    _finish(root, storage, storage_options, groups, found if on_group else {}, on_group, needs_index=needs_index)
    return tuple(found.values())


def finish_removals(
    store_root: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Finish the removals that were interrupted; return the ids of their samples. Errors are those of `remove_samples`.

    A sample that was written again in the meantime stays.
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
        raise ArgumentError("sample_ids: expected at least one sample to remove, got none")
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
    """Take samples out of the manifest in one step, and say there what is being removed.

    Returns whether the chunk index has to be made anew: another process changed the manifest, or it was damaged.
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
    """Remove groups that the manifest says are being removed; it forgets them in the end."""
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
            join_fields(root, storage_options=storage_options)  # these may have been the ones that lacked a field
            return
        on_group, needs_index = None, False
    raise StorageError(
        f"{root}: {next(iter(left))} is written again and again while it is removed; end the process that writes it, "
        "and remove the sample again"
    )


def _end(
    root: str, storage: Storage, storage_options: Mapping[str, Any] | None, groups: Mapping[str, str]
) -> tuple[dict[str, str], bool]:
    """Have the manifest forget groups; return those that are there again, and whether the chunk index was dropped."""
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
    """Take samples out of the report of conversions, if there is one that can be read."""

    def change(current: bytes | None) -> bytes:
        return ReportFile.parse(current, REPORT_NAME).without_samples(sample_ids).to_json()

    data = storage.read_if_there(REPORT_NAME)
    try:
        report = ReportFile.parse(data, REPORT_NAME)
        if report.without_samples(sample_ids) != report:
            storage.update(REPORT_NAME, change)
    except CorruptDataError:
        return  # `repair_store` mends it
