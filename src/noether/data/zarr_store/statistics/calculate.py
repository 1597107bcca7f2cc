"""One pass over a store, or over as many of its chunks as a tolerance asks for."""

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
from noether.data.zarr_store.stores import is_remote, normalize_root

__all__ = ["calculate_store_statistics"]

_Part: TypeAlias = tuple[PlannedRead, RunningStats]

# Requests to object storage wait far more than they work.
_REMOTE_WORKERS = 16
# Blocks per thread that are under way, or wait for the one whose turn it is to be merged.
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
) -> dict[str, RunningStats]:
    """Compute the statistics of the fields of a store, over all points of all its samples.

    Chunks are read and decoded in threads, a few at a time, so memory does not grow with the size of a sample. The
    result does not depend on the number of threads.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    fields : iterable of str, optional
        Canonical names of the fields; without it, all.
    exclude_fields : iterable of str
        Fields to leave out.
    sample_ids : iterable of str, optional
        Which samples; without it, or `split`, all.
    split : str, optional
        The samples of a split of the store.
    limit : int, optional
        Take only the first so many samples.
    max_workers : int, optional
        Threads; by default one for each core, and 16 for a URL.
    progress : bool or callable of (int, int) to None, optional
        True shows the progress on stderr: a line that is rewritten on a terminal, ten lines at most elsewhere. A
        function is told, after every few chunks, how many values were read and how many will be.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    tolerance : float, optional
        Read no more chunks than needed for half the width of the 95 % confidence interval of every mean, and of every
        log-scale mean, to be at most this part of the field's standard deviation. At least one chunk of every sample
        is read. Extremes, which need all points, are NaN then.
    seed : int
        Chooses the chunks where there is a tolerance.

    Returns
    -------
    dict of str to RunningStats
        By canonical field name, in the order of the store; fields that none of the samples has are left out. Those of
        positions are relative to the origin of the store.

    Raises
    ------
    UnknownNameError
        The store has no such field, sample or split.
    ArgumentError
        A parameter is out of its range, or there is nothing to compute.
    ManifestError
        There is no store at `store_root`.
    CorruptDataError
        The bytes in the store are not what they should be.
    StorageError
        The store cannot be reached.

    Notes
    -----
    The interval of a mean rests on the points of a store being shuffled, and on the central limit theorem, so on
    thousands of points. Its errors are those of the choice of chunks.
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

    parts = _map_in_order(summarize, selection.blocks(shares, seed), workers)
    totals: dict[str, RunningStats] = {}
    with shown_progress(progress) as tell:
        if tell is not None:
            parts = _told(tell, selection.count_values(shares), parts)
        for (sample_id, domain, (layout,)), blocks in groupby(parts, _sample_and_field):
            of_points_read = reduce(RunningStats.merge, (stats for _, stats in blocks))
            of_sample = extrapolate(of_points_read, selection.grids[sample_id][domain].n_points)
            totals[layout.field] = totals[layout.field].merge(of_sample) if layout.field in totals else of_sample
    fields_in_order = (layout.field for layouts in selection.layouts.values() for layout in layouts)
    return {field: totals[field] for field in fields_in_order if field in totals}


def _sample_and_field(part: _Part) -> tuple[str, str, tuple[ArrayLayout, ...]]:
    block, _ = part
    return block.sample_id, block.domain, block.layouts


def _told(progress: Progress, n_values: int, parts: Iterable[_Part]) -> Iterator[_Part]:
    done = 0
    for block, stats in parts:
        done += stats.count * stats.width
        progress(done, n_values)
        yield block, stats


def _map_in_order(
    summarize: Callable[[PlannedRead], RunningStats], blocks: Iterable[PlannedRead], workers: int
) -> Iterator[_Part]:
    """Summarize blocks in threads, and yield them in their order; only so many are under way or waiting."""
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
            # After an error, or Ctrl-C, only what has begun is waited for.
            for _, future in pending:
                future.cancel()
