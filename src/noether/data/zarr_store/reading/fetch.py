"""What to read of a sample, and reading it: by byte ranges where possible, else through zarr-python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from noether.data.zarr_store.core import BoundedCache
from noether.data.zarr_store.errors import TooLargeError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.reading.chunk_index import ChunkIndex, open_chunk_index
from noether.data.zarr_store.reading.open_sample import OpenSample
from noether.data.zarr_store.reading.ranges import ChunkRun, RangeRequest, chunk_runs
from noether.data.zarr_store.reading.sharded_array import IndexCache, ShardedArray
from noether.data.zarr_store.reading.zarr_array import read_rows_of_plan
from noether.data.zarr_store.sampling import PlannedRead, ReadPlan
from noether.data.zarr_store.stores import Storage, StoreFactory, open_storage

__all__ = ["Fetcher", "FieldRead", "too_large"]

# An open sample is the metadata of its arrays, a few kilobytes; a shard index has 16 bytes a chunk.
_MAX_OPEN_SAMPLES = 512
_MAX_INDEX_BYTES = 64 << 20
# Those that the chunk index gives are made again in microseconds, and each worker of a loader has its own.
_MAX_MADE_INDEX_BYTES = 8 << 20


class FieldRead(NamedTuple):
    """One field that is about to be read.

    Attributes
    ----------
    domain : str
        Its domain.
    layout : ArrayLayout
        Which field.
    plan : ReadPlan
        Which rows.
    array : ShardedArray or zarr.Array
        What reads them.
    requests : list of RangeRequest
        The ranges that will be fetched; empty where zarr-python decides on that.
    where : str
        Names sample and field, to begin an error with.
    """

    domain: str
    layout: ArrayLayout
    plan: ReadPlan
    array: ShardedArray | zarr.Array[Any]
    requests: list[RangeRequest]
    where: str


@dataclass(slots=True)
class _Handles:
    """What belongs to the process that opened it."""

    storage: Storage
    chunk_index: ChunkIndex | None
    pid: int = field(default_factory=os.getpid)
    indexes: IndexCache = field(init=False)
    entries: BoundedCache[SampleEntry] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    samples: BoundedCache[OpenSample] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    indexed: BoundedCache[dict[str, ShardedArray]] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    lock: Lock = field(default_factory=Lock)
    pool: ThreadPoolExecutor | None = None

    def __post_init__(self) -> None:
        limit = _MAX_INDEX_BYTES if self.chunk_index is None else _MAX_MADE_INDEX_BYTES
        self.indexes = BoundedCache(limit, lambda index: index.n_bytes)


class Fetcher:
    """Reads fields of samples. Safe to use from many threads; can be pickled, without what it has opened.

    Parameters
    ----------
    root : str
        Of the store.
    manifest : StoreManifest
        What it holds.
    storage_options : mapping
        Options of the file system.
    store_factory : callable of str to zarr Store or None
        If given, carries every byte.
    concurrency : int
        Requests in flight.
    verify : bool
        Whether to compare checksums.
    """

    def __init__(
        self,
        root: str,
        manifest: StoreManifest,
        storage_options: Mapping[str, Any],
        store_factory: StoreFactory | None,
        concurrency: int,
        verify: bool,
    ) -> None:
        self._root = root
        self._manifest = manifest
        self._storage_options = dict(storage_options)
        self._store_factory = store_factory
        self._concurrency = concurrency
        self._verify = verify
        self._opened: _Handles | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def entry(self, sample_id: str) -> SampleEntry:
        """Give the entry of a sample; the manifest parses it anew each time it is asked."""
        entries = self._handles().entries
        entry = entries.get(sample_id)
        if entry is None:
            entry = self._manifest.sample(sample_id)
            entries.put(sample_id, entry)
        return entry

    def prepare(
        self,
        sample_id: str,
        fields: Mapping[str, Sequence[ArrayLayout]],
        plans: Mapping[str, ReadPlan],
    ) -> list[FieldRead]:
        """Find out which ranges the plans need of each field; reads metadata and indexes that are not known yet."""
        handles = self._handles()
        indexed = self._indexed_arrays(handles, sample_id)
        reads = []
        for domain, layouts in fields.items():
            plan = plans[domain]
            runs: dict[int, list[ChunkRun]] = {}  # by chunks of a shard, which is one number but in foreign stores
            for layout in layouts:
                where = f"sample {sample_id!r}, field {layout.field}"
                array = indexed.get(layout.field) or self._open_array(handles, sample_id, domain, layout, plan, where)
                requests: list[RangeRequest] = []
                if isinstance(array, ShardedArray):
                    capacity = array.chunks_per_shard
                    if capacity not in runs:
                        runs[capacity] = chunk_runs(plan, capacity)
                    requests = array.requests(plan, runs[capacity], handles.storage, handles.indexes)
                reads.append(FieldRead(domain, layout, plan, array, requests, where))
        return reads

    def prepare_all(self, samples: Sequence[Sequence[PlannedRead]]) -> list[list[list[FieldRead]]]:
        """Prepare the reads of several samples, as far as the concurrency goes at once."""

        def prepare(planned: Sequence[PlannedRead]) -> list[list[FieldRead]]:
            return [self.prepare(one.sample_id, {one.domain: one.layouts}, {one.domain: one.plan}) for one in planned]

        if self._concurrency == 1 or len(samples) == 1:
            return [prepare(planned) for planned in samples]
        return list(self._pool(self._handles()).map(prepare, samples))

    def read(
        self,
        reads: Sequence[FieldRead],
        dtype: np.dtype[Any] | None,
        places: Sequence[NDArray[Any]] | None = None,
    ) -> list[NDArray[Any]]:
        """Read fields, all requests of all of them at once as far as the concurrency goes.

        Parameters
        ----------
        reads : sequence of FieldRead
            What to read.
        dtype : numpy.dtype or None
            Of the result; None for the stored one.
        places : sequence of ndarray, shape (plan.n_points, width), optional
            Where each goes, of dtype `dtype`, in C order; by default new arrays.

        Returns
        -------
        list of ndarray, shape (plan.n_points, width)
            In the order of `reads`.

        Raises
        ------
        TooLargeError
            There is no memory for them, or for a chunk.
        """
        handles = self._handles()
        arrays = [_empty_rows(one, dtype) for one in reads] if places is None else list(places)
        tasks: list[tuple[FieldRead, RangeRequest | None, NDArray[Any]]] = []
        for one, out in zip(reads, arrays, strict=True):
            if isinstance(one.array, ShardedArray):
                tasks += [(one, request, out) for request in one.requests]
            else:
                tasks.append((one, None, out))

        def run(task: tuple[FieldRead, RangeRequest | None, NDArray[Any]]) -> None:
            one, request, out = task
            try:
                decode(one, request, out)
            except MemoryError as error:
                raise too_large(one, error) from error

        def decode(one: FieldRead, request: RangeRequest | None, out: NDArray[Any]) -> None:
            if isinstance(one.array, ShardedArray) and request is not None:
                one.array.read(request, handles.storage, out, verify=self._verify)
            elif isinstance(one.array, zarr.Array):
                read_rows_of_plan(one.array, one.plan, out, one.where)

        if self._concurrency == 1 or len(tasks) == 1:
            for task in tasks:
                run(task)
        else:
            for _ in self._pool(handles).map(run, tasks):
                pass
        return arrays

    def _handles(self) -> _Handles:
        handles = self._opened
        # After a fork, locks and threads of the parent are not to be touched.
        if handles is None or handles.pid != os.getpid():
            storage = open_storage(self._root, self._storage_options)
            index = None if self._store_factory else open_chunk_index(storage, self._manifest)
            self._opened = handles = _Handles(storage, index)
        return handles

    def _pool(self, handles: _Handles) -> ThreadPoolExecutor:
        with handles.lock:
            if handles.pool is None:
                handles.pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="noether-read")
            return handles.pool

    def _indexed_arrays(self, handles: _Handles, sample_id: str) -> dict[str, ShardedArray]:
        if handles.chunk_index is None:
            return {}
        arrays = handles.indexed.get(sample_id)
        if arrays is None:
            arrays = handles.chunk_index.arrays(sample_id)
            handles.indexed.put(sample_id, arrays)
        return arrays

    def _open_array(
        self, handles: _Handles, sample_id: str, domain: str, layout: ArrayLayout, plan: ReadPlan, where: str
    ) -> ShardedArray | zarr.Array[Any]:
        sample = self._open_sample(handles, sample_id)
        path, shape = f"{domain}/{layout.array_name}", (plan.grid.n_points, layout.dim)
        array = None
        if self._store_factory is None:
            array = sample.sharded_array(path, shape, plan.grid.chunk_points, where)
        return array or sample.zarr_array(path, shape, where)

    def _open_sample(self, handles: _Handles, sample_id: str) -> OpenSample:
        sample = handles.samples.get(sample_id)
        if sample is None:
            relpath, complete = self.entry(sample_id).relpath, self._manifest.promises_all_chunks
            opened = OpenSample(handles.storage, sample_id, relpath, complete, self._store_factory)
            sample = handles.samples.setdefault(sample_id, opened)
        return sample


def _empty_rows(one: FieldRead, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Give room for what is read. It takes memory only as it is filled, from chunks that are there."""
    stored = one.array.codec.dtype if isinstance(one.array, ShardedArray) else one.array.dtype
    try:
        return np.empty((one.plan.n_points, one.layout.dim), stored.newbyteorder("=") if dtype is None else dtype)
    except (MemoryError, ValueError) as error:
        raise too_large(one, error) from error


def too_large(one: FieldRead, error: Exception) -> TooLargeError:
    """Give the error of a field for which there is no memory."""
    return TooLargeError(
        f"{one.where}: {one.plan.n_points:,} points of {one.layout.dim:,} values each, read in chunks of "
        f"{one.plan.grid.chunk_points:,}, do not fit in memory ({error}); draw fewer points, or convert with smaller "
        "chunks, unless the manifest is wrong"
    )
