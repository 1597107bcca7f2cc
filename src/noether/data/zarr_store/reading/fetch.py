"""Reading of fields: by byte ranges where possible, else through zarr-python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import BoundedCache
from noether.data.zarr_store.errors import TooLargeError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.reading.chunk_index import ChunkIndex, open_chunk_index
from noether.data.zarr_store.reading.io_meter import IoMeter, IoRow
from noether.data.zarr_store.reading.near import NearSample
from noether.data.zarr_store.reading.open_sample import OpenSample
from noether.data.zarr_store.reading.read_threads import ReadThreads
from noether.data.zarr_store.reading.readable import ReadableArray, ReadRequest
from noether.data.zarr_store.reading.result_dtypes import ResultDtypes
from noether.data.zarr_store.reading.sharded_array import ShardAccess, ShardedArray, index_cache
from noether.data.zarr_store.sampling import PlannedRead, ReadPlan
from noether.data.zarr_store.stores import CacheSettings, RangeCache, StoreFactory, open_storage

__all__ = ["Fetcher", "FieldRead", "empty_rows", "flat_if_scalar", "row_dtype", "too_large"]

# An open sample holds the metadata of its arrays: a few kilobytes. A shard index takes 16 bytes per chunk.
_MAX_OPEN_SAMPLES = 512
# This cache is small: a shard index is rebuilt from the chunk index in microseconds, and each worker of a loader has
# its own cache.
_MAX_MADE_INDEX_BYTES = 8 << 20


class FieldRead(NamedTuple):
    """One field that is about to be read.

    Attributes
    ----------
    domain : str
        Domain of the field.
    layout : ArrayLayout
        Layout of the field.
    plan : ReadPlan
        Rows to read.
    array : ReadableArray
        Array that reads them.
    requests : sequence of ReadRequest
        Steps of the read.
    are_candidates : bool
        Whether only some of the rows are taken for the result; see `PlannedRead`.
    """

    domain: str
    layout: ArrayLayout
    plan: ReadPlan
    array: ReadableArray[Any]
    requests: Sequence[ReadRequest]
    are_candidates: bool = False


@dataclass(slots=True)
class _Handles:
    """Open files, caches and threads. They belong to one process: a forked process opens its own."""

    access: ShardAccess
    indexed_access: ShardAccess
    chunk_index: ChunkIndex | None
    cache: RangeCache | None
    pid: int = field(default_factory=os.getpid)
    entries: BoundedCache[SampleEntry] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    samples: BoundedCache[OpenSample] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    near: BoundedCache[NearSample] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    arrays: BoundedCache[dict[str, ShardedArray]] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    lock: Lock = field(default_factory=Lock)
    threads: ReadThreads | None = None


class Fetcher:
    """Reads fields of samples. Safe to use from many threads. A pickled copy opens its own files and caches.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        Manifest of the store.
    storage_options : mapping
        Options of the file system.
    store_factory : callable of str to zarr Store or None
        Function that opens a zarr Store, through which all bytes are read; None uses the storage of this library.
    concurrency : int
        Maximum number of requests in flight.
    verify : bool
        Whether to compare checksums.
    cache : CacheSettings or None
        Settings of the cache on this machine; None for no cache.

    Raises
    ------
    ArgumentError
        The directory of the cache is neither empty nor a cache.
    """

    def __init__(
        self,
        root: str,
        manifest: StoreManifest,
        storage_options: Mapping[str, Any],
        store_factory: StoreFactory | None,
        concurrency: int,
        verify: bool,
        cache: CacheSettings | None = None,
    ) -> None:
        self._root = root
        self._manifest = manifest
        self._storage_options = dict(storage_options)
        self._store_factory = store_factory
        self._concurrency = concurrency
        self._verify = verify
        self._cache = cache
        if cache is not None:
            RangeCache.open(cache, root)  # a wrong directory is refused now, not at the first read
        self._opened: _Handles | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def entry(self, sample_id: str) -> SampleEntry:
        """Return the manifest entry of a sample, cached: the manifest parses it on every call."""
        entries = self._handles().entries
        entry = entries.get(sample_id)
        if entry is None:
            entry = self._manifest.sample(sample_id)
            entries.put(sample_id, entry)
        return entry

    @property
    def meter(self) -> IoMeter | None:
        """Counter of the reads of this process; None before its first read."""
        handles = self._opened
        return None if handles is None or handles.pid != os.getpid() else handles.access.meter

    def count_into(self, row: IoRow) -> None:
        """Count the reads of this process in `row` from now on."""
        self._handles().access.meter.count_into(row)

    def prepare(self, planned: Sequence[PlannedRead]) -> list[list[FieldRead]]:
        """Return the field reads of each planned read, after reading the metadata and indexes that are not cached.

        If several requests may be in flight, this takes two rounds: first the roots of all samples, then the shard
        indexes of all fields.
        """
        if self._concurrency > 1 and self._store_factory is None:
            self._read_ahead(planned)
        handles = self._handles()
        return [self._prepare(handles, one) for one in planned]

    def _read_ahead(self, planned: Sequence[PlannedRead]) -> None:
        handles = self._handles()
        unknown = [
            (one, layout)
            for one in planned
            for layout in one.layouts
            if layout.field not in self._sharded_arrays(handles, one.sample_id)
        ]
        samples = {one.sample_id: self._open_sample(handles, one.sample_id) for one, _ in unknown}
        self._do_all(handles, [sample.nodes for sample in samples.values() if not sample.is_read])
        indexes: dict[tuple[str, int], Callable[[], object]] = {}
        for one, layout in unknown:
            array = self._open_array(handles, one, layout)
            for shard in array.unread_indexes(one.plan):
                indexes[array.where, shard] = partial(array.read_index, shard)
        self._do_all(handles, list(indexes.values()))

    def _do_all(self, handles: _Handles, tasks: Sequence[Callable[[], object]]) -> None:
        """Run tasks in parallel, up to the concurrency, and raise the first of their errors."""
        if self._concurrency == 1 or len(tasks) == 1:
            for task in tasks:
                task()
        elif tasks:
            self._threads(handles).run_all(tasks)

    def _prepare(self, handles: _Handles, planned: PlannedRead) -> list[FieldRead]:
        arrays, domain, plan = self._sharded_arrays(handles, planned.sample_id), planned.domain, planned.plan
        reads = []
        for layout in planned.layouts:
            array = arrays.get(layout.field) or self._open_array(handles, planned, layout)
            reads.append(FieldRead(domain, layout, plan, array, array.requests(plan), planned.are_candidates))
        return reads

    def read(
        self,
        reads: Sequence[FieldRead],
        dtypes: ResultDtypes,
        places: Sequence[NDArray[Any]] | None = None,
    ) -> list[NDArray[Any]]:
        """Read fields, with all their requests in parallel up to the concurrency.

        Parameters
        ----------
        reads : sequence of FieldRead
            Fields to read.
        dtypes : ResultDtypes
            The dtypes of the result.
        places : sequence of ndarray, shape (plan.n_points, width), optional
            Output array of each read, of its dtype, in C order; by default new arrays.

        Returns
        -------
        list of ndarray, shape (plan.n_points, width)
            The rows of each read, in the order of `reads`.

        Raises
        ------
        TooLargeError
            The rows, or a chunk, do not fit in memory.
        """
        arrays = [empty_rows(one, dtypes) for one in reads] if places is None else list(places)
        if self._concurrency == 1 and self._cache is None:
            for one, out in zip(reads, arrays, strict=True):
                _read_requests(one, one.requests, out)
            return arrays
        tasks = [
            partial(_read_requests, one, (request,), out)
            for one, out in zip(reads, arrays, strict=True)
            # Cache hits are read here: to hand them to a thread would take longer than the read.
            for request in (one.requests if self._cache is None else _cache_misses(one, out))
        ]
        self._do_all(self._handles(), tasks)
        return arrays

    def keep_near(self, reads: Sequence[FieldRead]) -> None:
        """Store the bytes of reads in the cache on this machine, unless it has them; see `ReadableArray.keep_near`."""
        tasks = [partial(one.array.keep_near, request) for one in reads for request in one.requests]
        self._do_all(self._handles(), tasks)

    @property
    def cache(self) -> RangeCache | None:
        """Cache on this machine, opened by this process."""
        return self._handles().cache

    def _handles(self) -> _Handles:
        handles = self._opened
        # After a fork, the locks and threads of the parent must not be used.
        if handles is None or handles.pid != os.getpid():
            storage = open_storage(self._root, self._storage_options)
            index = None if self._store_factory else open_chunk_index(storage, self._manifest)
            access = ShardAccess(storage, verify=self._verify, meter=IoMeter(lambda: storage.n_retries))
            indexed_access = replace(access, indexes=index_cache(_MAX_MADE_INDEX_BYTES))
            cache = None if self._cache is None else RangeCache.open(self._cache, self._root)
            self._opened = handles = _Handles(access, indexed_access, index, cache)
        return handles

    def _threads(self, handles: _Handles) -> ReadThreads:
        with handles.lock:
            if handles.threads is None:
                handles.threads = ReadThreads(self._concurrency)
            return handles.threads

    def _sharded_arrays(self, handles: _Handles, sample_id: str) -> dict[str, ShardedArray]:
        """Return the arrays of a sample that are indexed or already open, by canonical field name."""
        arrays = handles.arrays.get(sample_id)
        if arrays is None:
            index = handles.chunk_index
            arrays = {} if index is None else index.arrays(sample_id, handles.indexed_access)
            near = self._near_sample(handles, sample_id)
            if near is not None:
                arrays = {field: _with_cache(array, near, field) for field, array in arrays.items()}
            arrays = handles.arrays.setdefault(sample_id, arrays)
        return arrays

    def _open_array(self, handles: _Handles, planned: PlannedRead, layout: ArrayLayout) -> ReadableArray[Any]:
        sample, grid = self._open_sample(handles, planned.sample_id), planned.plan.grid
        shape = grid.n_points, layout.dim
        where = f"sample {planned.sample_id!r}, field {layout.field}"
        if self._store_factory is None:
            array = sample.sharded_array(layout.array_name, shape, grid.chunk_points, where)
            if array is not None:
                near = self._near_sample(handles, planned.sample_id)
                if near is not None:
                    array = _with_cache(array, near, layout.field)
                self._sharded_arrays(handles, planned.sample_id)[layout.field] = array
                return array
        return sample.zarr_array(layout.array_name, shape, where)

    def _open_sample(self, handles: _Handles, sample_id: str) -> OpenSample:
        sample = handles.samples.get(sample_id)
        if sample is None:
            relpath, missing_is_error = self.entry(sample_id).relpath, self._manifest.promises_all_chunks
            near = self._near_sample(handles, sample_id)
            opened = OpenSample(handles.access, sample_id, relpath, missing_is_error, self._store_factory, near)
            sample = handles.samples.setdefault(sample_id, opened)
        return sample

    def _near_sample(self, handles: _Handles, sample_id: str) -> NearSample | None:
        """Return the cache entries of a sample on this machine; None without a cache."""
        if handles.cache is None:
            return None
        near = handles.near.get(sample_id)
        if near is None:
            made = NearSample(handles.cache, handles.access.storage, self.entry(sample_id))
            near = handles.near.setdefault(sample_id, made)
        return near


def _with_cache(array: ShardedArray, near: NearSample, canonical: str) -> ShardedArray:
    """Return a copy of the array that uses the cache on this machine."""
    return replace(array, near=near.array(array.key, array.codec, array.chunks_per_shard, canonical))


def _cache_misses(one: FieldRead, out: NDArray[Any]) -> list[ReadRequest]:
    """Read the requests of a field that are cache hits, and return the others."""
    return [request for request in one.requests if not one.array.read_near(request, out)]


def _read_requests(one: FieldRead, requests: Iterable[ReadRequest], out: NDArray[Any]) -> None:
    try:
        for request in requests:
            one.array.read(request, out)
    except MemoryError as error:
        raise too_large(one, error) from error


def row_dtype(one: FieldRead, dtypes: ResultDtypes) -> np.dtype[Any]:
    """Return the dtype of the rows of a read."""
    if one.are_candidates:
        return np.promote_types(one.array.dtype, np.float32)
    return dtypes.of_field(one.layout.field, one.array)


def empty_rows(one: FieldRead, dtypes: ResultDtypes, n_before: int = 0) -> NDArray[Any]:
    """Return an uninitialized array for `n_before` rows and the rows of a read.

    It uses memory only where chunks fill it, so a wrong manifest alone cannot exhaust the memory.

    Raises
    ------
    TooLargeError
        The rows do not fit in memory.
    """
    try:
        return np.empty((n_before + one.plan.n_points, one.layout.dim), row_dtype(one, dtypes))
    except (MemoryError, ValueError) as error:
        raise too_large(one, error) from error


def flat_if_scalar(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as a flat array if each has one value, else unchanged."""
    return rows[:, 0] if rows.shape[1] == 1 else rows


def too_large(one: FieldRead, error: Exception) -> TooLargeError:
    """Return the error of a field that does not fit in memory."""
    return TooLargeError(
        f"{one.array.where}: {one.plan.n_points:,} points of {one.layout.dim:,} values each, read in chunks of "
        f"{one.plan.grid.chunk_points:,}, do not fit in memory ({error}); draw fewer points, or convert with smaller "
        "chunks, unless the manifest is wrong"
    )
