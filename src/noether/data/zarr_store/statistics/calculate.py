"""Statistics from one pass over a store, or over the part of its chunks that a tolerance requires."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from itertools import groupby
from typing import Any, TypeAlias

from noether.data.zarr_store.core import default_threads, positive_int
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import Fetcher, ResultDtypes
from noether.data.zarr_store.sampling import PlannedRead
from noether.data.zarr_store.statistics.estimates import check_tolerance, extrapolate
from noether.data.zarr_store.statistics.moments import RunningStats
from noether.data.zarr_store.statistics.planning import select
from noether.data.zarr_store.statistics.progress import Progress, shown_progress
from noether.data.zarr_store.statistics.store_statistics import StoreStatistics
from noether.data.zarr_store.stores import is_remote, normalize_root

__all__ = ["calculate_store_statistics"]

_BlockStats: TypeAlias = tuple[PlannedRead, RunningStats]

# Threads that read object storage mostly wait.
_REMOTE_WORKERS = 16
# Blocks per thread that are being read, or wait to be merged in order.
_BLOCKS_AHEAD = 2


def calculate_store_statistics(
    store_root: str | os.PathLike[str],
    *,
    fields: Iterable[str] | None = None,
    exclude_fields: Iterable[str] = (),
    sample_ids: Iterable[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    max_workers: int | None = None,
    progress: Progress | bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> StoreStatistics:
    """Compute the statistics of the fields of a store, over all points of all its samples.

    Chunks are read and decoded in threads, a few at a time, so memory does not grow with the size of a sample. The
    result does not depend on the number of threads.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    fields : iterable of str, optional
        Canonical names of the fields; by default all fields.
    exclude_fields : iterable of str
        Fields to leave out.
    sample_ids : iterable of str, optional
        Ids of the samples; by default all samples, or the samples of `split`.
    split : str, optional
        Name of a split of the store, to use only its samples.
    limit : int, optional
        Maximum number of samples; the first ones are used.
    max_workers : int, optional
        Number of threads; by default one for each core, and 16 for a URL.
    progress : bool or callable of (int, int) to None, optional
        True shows the progress on stderr: one line that is rewritten on a terminal, and at most ten lines elsewhere. A
        function is called after every few chunks, with the number of values read so far and the total number to read.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    tolerance : float, optional
        Maximum error of the means: chunks are read only until the 95 % confidence interval of every mean, and of every
        log-scale mean, is within ± `tolerance` standard deviations of the field. At least one chunk of every sample is
        read. The extremes, which need all points, are then NaN.
    seed : int
        Seed of the choice of chunks, if there is a tolerance.

    Returns
    -------
    StoreStatistics
        A dict of statistics by canonical field name, in the order of the store, without fields that none of the samples
        has.
        Statistics of positions are relative to the origin of the store.

    Raises
    ------
    UnknownNameError
        The store has no such field, sample or split.
    ArgumentError
        A parameter is out of its range, or no field or sample is left.
    ManifestError
        There is no store at `store_root`.
    CorruptDataError
        The bytes in the store are damaged.
    StorageError
        The store cannot be reached.

    Notes
    -----
    The confidence interval of a mean relies on the shuffle of the store's points, and on the central limit theorem, so
    it needs thousands of points. It covers the error from the choice of chunks only.
    """
    root = normalize_root(store_root)
    if max_workers is None:
        max_workers = _REMOTE_WORKERS if is_remote(root) else default_threads()
    workers = positive_int(max_workers, "max_workers")
    manifest = StoreManifest.load(root, storage_options=storage_options)
    selection = select(manifest, sample_ids, split, limit, fields, exclude_fields)
    shares = {} if tolerance is None else selection.shares(check_tolerance(tolerance))
    fetcher = Fetcher(root, manifest, storage_options or {}, None, concurrency=1, verify=True)

    def summarize(block: PlannedRead) -> RunningStats:
        (reads,) = fetcher.prepare([block])
        (rows,) = fetcher.read(reads, ResultDtypes())
        return RunningStats.of(rows)

    all_stats = _map_in_order(summarize, selection.blocks(shares, seed), workers)
    totals: dict[str, RunningStats] = {}
    with shown_progress(progress) as report:
        if report is not None:
            all_stats = _with_progress(report, selection.count_values(shares), all_stats)
        for (sample_id, domain, (layout,)), blocks in groupby(all_stats, _sample_and_field):
            of_points_read = reduce(RunningStats.merge, (stats for _, stats in blocks))
            of_sample = extrapolate(of_points_read, selection.grids[sample_id][domain].n_points)
            totals[layout.field] = totals[layout.field].merge(of_sample) if layout.field in totals else of_sample
    fields_in_order = (layout.field for layouts in selection.layouts.values() for layout in layouts)
    return StoreStatistics({field: totals[field] for field in fields_in_order if field in totals})


def _sample_and_field(block_stats: _BlockStats) -> tuple[str, str, tuple[ArrayLayout, ...]]:
    block, _ = block_stats
    return block.sample_id, block.domain, block.layouts


def _with_progress(report: Progress, n_values: int, all_stats: Iterable[_BlockStats]) -> Iterator[_BlockStats]:
    done = 0
    for block, stats in all_stats:
        done += stats.count * stats.width
        report(done, n_values)
        yield block, stats


def _map_in_order(
    summarize: Callable[[PlannedRead], RunningStats], blocks: Iterable[PlannedRead], workers: int
) -> Iterator[_BlockStats]:
    """Yield each block and its statistics in order. Threads compute them, a limited number of blocks ahead."""
    if workers == 1:
        yield from ((block, summarize(block)) for block in blocks)
        return
    pending: deque[tuple[PlannedRead, Future[RunningStats]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="noether-statistics") as pool:
        try:
            for block in blocks:
                pending.append((block, pool.submit(summarize, block)))
                if len(pending) > _BLOCKS_AHEAD * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            # After an error or Ctrl-C, wait only for the blocks that have begun.
            for _, future in pending:
                future.cancel()
