"""The order of the checks of a verification."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from noether.data.zarr_store.core import default_threads, positive_int
from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.manifest import Listing, SampleEntry, list_store, select_samples
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.stores import Storage, is_remote, normalize_root, open_storage
from noether.data.zarr_store.upkeep.verify.context import Context, ListedSample
from noether.data.zarr_store.upkeep.verify.findings import LEVELS, Findings, Level, VerifyReport
from noether.data.zarr_store.upkeep.verify.sample_check import SampleCheck
from noether.data.zarr_store.upkeep.verify.source_check import SourceCheck, require_known_order
from noether.data.zarr_store.upkeep.verify.store_check import (
    check_around,
    find_unlisted,
    open_index,
    read_manifest,
    require_manifest,
)
from noether.data.zarr_store.upkeep.verify.tasks import Task, run_tasks

__all__ = ["Progress", "verify_store"]

Progress: TypeAlias = Callable[[int, int], None]

# Requests to object storage consist almost only of waiting.
_REMOTE_WORKERS = 16

_LIMITS_OF_LEVELS: dict[Level, str] = {
    "census": "only names, sizes and the roots of groups were checked; use --level data to read all chunks",
    "index": "no chunk was read; use --level data to read all chunks",
}
_LIMIT_OF_SAMPLES = "only the named samples and the manifest were checked"


def verify_store(
    store_root: str | os.PathLike[str],
    *,
    level: Level = "data",
    source: SampleSource | None = None,
    sample_ids: Iterable[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Check every byte of a store. Nothing is changed.

    Each level includes the levels before it:

    - ``"census"``: manifest, groups and objects agree; no object is missing, surplus or of a wrong size.
    - ``"index"``: the metadata of all nodes agree, and the index of every shard is valid, without gaps or overlaps.
    - ``"data"``: every chunk matches its checksum and can be decompressed, and the number of NaN and infinite values
      is the number at the time of writing.
    - ``"source"``: positions and values equal those of the source, after the stored cast, in the original order.

    Memory holds a few chunks per thread and the chunk index, if there is one; with a source, also one of its samples.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    level : {"census", "index", "data", "source"}
        Level of the verification.
    source : SampleSource, optional
        Source of the samples, for the level ``"source"``.
    sample_ids : iterable of str, optional
        Ids of the samples to check. By default, all samples and all other objects of the store are checked.
    workers : int, optional
        Number of threads. The default is one per core, or 16 for a URL.
    progress : callable of (int, int) to None, optional
        Callback with the number of shard bytes that were read, and their total number.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    VerifyReport
        The findings, and the limits of the verification.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    UnknownNameError
        The store has no such sample.
    ManifestError
        There is no store, or this release does not know its version.
    OriginalOrderError
        There is a source, but the store was shuffled by another program or holds a subset of the points.
    StorageError
        The store cannot be reached.

    Notes
    -----
    If a writer changes the store at the same time, its unfinished changes may be reported as damage.
    """
    root = normalize_root(store_root)
    _check_level(level, source)
    n_workers = _workers(root, workers)
    start = time.monotonic()
    findings = Findings(root)
    context, listing, samples = _open(open_storage(root, storage_options), findings, level, sample_ids)
    n_bytes = sum(size for one in samples for inside, size in one.sizes.items() if "/c/" in inside)

    def run(tasks: Iterable[Task]) -> None:
        run_tasks(tasks, n_workers, lambda: None if progress is None else progress(context.n_bytes, n_bytes))

    comparison = None
    if source is not None:
        algorithm = require_known_order(context.manifest, root)
        comparison = SourceCheck(context, source, algorithm, n_workers, run)
    checks = [SampleCheck(context, sample) for sample in samples]
    run(checks)
    if comparison is not None:
        for check in checks:
            if check.is_readable:
                comparison.compare(check)
        if sample_ids is None:
            comparison.note_unconverted(sample.sample_id for sample in samples)
    if progress is not None:
        progress(n_bytes, n_bytes)
    limits = [_LIMITS_OF_LEVELS[level]] if level in _LIMITS_OF_LEVELS else []
    return VerifyReport(
        root,
        level,
        n_samples=len(samples),
        n_objects=listing.n_objects,
        n_bytes=context.n_bytes,
        seconds=time.monotonic() - start,
        findings=findings.sorted(),
        limits=(*limits, *([] if sample_ids is None else [_LIMIT_OF_SAMPLES]), *findings.limits()),
    )


def _check_level(level: Level, source: SampleSource | None) -> None:
    require_one_of("level", level, LEVELS)
    if (source is None) == (level == "source"):
        given = "no source" if source is None else "a source"
        raise ArgumentError(
            f"source: expected a source with the level 'source', and none with other levels, got {given} with "
            f"the level {level!r}; use both or neither"
        )


def _workers(root: str, workers: int | None) -> int:
    if workers is None:
        return _REMOTE_WORKERS if is_remote(root) else default_threads()
    return positive_int(workers, "workers")


def _open(
    storage: Storage, findings: Findings, level: Level, sample_ids: Iterable[str] | None
) -> tuple[Context, Listing, list[ListedSample]]:
    """Read the manifest and the chunk index, and list the objects; without named samples, check all others, too."""
    found = read_manifest(storage)
    known = {} if found.manifest is None else dict(found.manifest.samples)
    prefixes = [""]
    if sample_ids is not None and found.manifest is not None and not found.problem:
        sample_ids = select_samples(found.manifest, None, sample_ids)
        prefixes = [known[sample_id].relpath for sample_id in sample_ids]
    objects = (item for prefix in prefixes for item in storage.objects(prefix))
    removing = {} if found.manifest is None else found.manifest.removing
    listing = list_store(objects, {entry.relpath for entry in known.values()} | removing.keys())
    manifest = require_manifest(storage, found, listing, findings)
    entries = dict(manifest.samples)
    named = list(entries) if sample_ids is None else select_samples(manifest, None, sample_ids)
    samples = [_listed(sample_id, entries[sample_id], listing) for sample_id in named]
    if sample_ids is None:
        check_around(storage, manifest, found, listing, findings)
        samples += find_unlisted(storage, manifest, listing, findings)
    index = open_index(storage, manifest, findings)
    return Context(storage, manifest, found.checksum_state == "intact", findings, level, index), listing, samples


def _listed(sample_id: str, entry: SampleEntry, listing: Listing) -> ListedSample:
    return ListedSample(sample_id, entry, listing.groups.get(entry.relpath, {}))
