"""The order in which a store is looked at."""

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

# Requests to object storage wait far more than they work.
_REMOTE_WORKERS = 16

_LIMITS_OF_LEVELS: dict[Level, str] = {
    "census": "only names, sizes and the roots of groups were looked at: --level data reads all",
    "index": "no chunk was read: --level data reads all",
}
_LIMIT_OF_SAMPLES = "only the samples that were named, and the manifest, were looked at"


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
    """Find out whether every byte of a store is what it should be. Nothing is changed.

    Each level does what the ones before it do:

    - ``"census"``: manifest, groups and objects agree; none is missing, left over, half written or of a wrong size.
    - ``"index"``: the metadata of all nodes agree, and the index of every shard is sound, without gaps or overlaps.
    - ``"data"``: every chunk matches its checksum and can be decompressed, and holds NaN and infinity only where that
      was allowed when it was written.
    - ``"source"``: positions and values are those of the source, after the stored cast, in the original order.

    Memory holds a few chunks a thread and, where there is one, the chunk index; with a source, a sample of it as well.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    level : {"census", "index", "data", "source"}
        How closely to look.
    source : SampleSource, optional
        Where the samples came from, for the level ``"source"``.
    sample_ids : iterable of str, optional
        Which samples; without it all, and what lies beside them.
    workers : int, optional
        Threads; by default one for each core, and 16 for a URL.
    progress : callable of (int, int) to None, optional
        Is told how many bytes of shards were read, and how many there are.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Returns
    -------
    VerifyReport
        What was found, and what could not have been.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    UnknownNameError
        The store has no such sample.
    ManifestError
        There is no store, or one of a version that this release does not know.
    OriginalOrderError
        A source is given, but the store was shuffled elsewhere.
    StorageError
        The store cannot be reached.

    Notes
    -----
    A store that is written to at the same time may be found to be damaged where it is only being changed.
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
        given = "none" if source is None else "one"
        raise ArgumentError(
            f"source: the level 'source' compares with one, and no other does; got level {level!r} and {given}"
        )


def _workers(root: str, workers: int | None) -> int:
    if workers is None:
        return _REMOTE_WORKERS if is_remote(root) else default_threads()
    return positive_int(workers, "workers")


def _open(
    storage: Storage, findings: Findings, level: Level, sample_ids: Iterable[str] | None
) -> tuple[Context, Listing, list[ListedSample]]:
    """Read what a store says of itself, and list what there is; check what is no sample, unless samples are named."""
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
