"""What to read of a sample, and reading it: by byte ranges where possible, else through zarr-python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from noether.data.zarr_store.cache import BoundedCache
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.metadata import Metadata, parse_array, parse_group, require_array
from noether.data.zarr_store.names import ROOT_KEY
from noether.data.zarr_store.ranges import RangeRequest
from noether.data.zarr_store.sampling import ReadPlan
from noether.data.zarr_store.sharded import IndexCache, ShardedArray
from noether.data.zarr_store.stores import Storage, join, open_storage
from noether.data.zarr_store.zarr_arrays import open_array, open_group, read_rows_of_plan

__all__ = ["Fetcher", "FieldRead", "StoreFactory"]

StoreFactory = Callable[[str], Store]

# An open sample is the metadata of its arrays, a few kilobytes; a shard index has 16 bytes a chunk.
_MAX_OPEN_SAMPLES = 512
_MAX_INDEX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FieldRead:
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
class _OpenSample:
    """The metadata of a sample's nodes by path; the group, once zarr-python is needed for one of them."""

    sample_id: str
    relpath: str
    nodes: Metadata = field(default_factory=dict)
    consolidated: bool = False
    group: zarr.Group | None = None


@dataclass(slots=True)
class _Handles:
    """What belongs to the process that opened it."""

    storage: Storage
    pid: int = field(default_factory=os.getpid)
    indexes: IndexCache = field(default_factory=lambda: BoundedCache(_MAX_INDEX_BYTES, lambda index: index.n_bytes))
    samples: BoundedCache[_OpenSample] = field(default_factory=lambda: BoundedCache(_MAX_OPEN_SAMPLES))
    lock: Lock = field(default_factory=Lock)
    pool: ThreadPoolExecutor | None = None


class Fetcher:
    """Reads fields of samples. Safe to use from many threads; can be pickled, without what it has opened.

    Parameters
    ----------
    root : str
        Of the store.
    storage_options : mapping
        Options of the file system.
    store_factory : callable of str to zarr Store or None
        If given, carries every byte.
    concurrency : int
        Requests in flight.
    verify : bool
        Whether to compare checksums.
    complete : bool
        Whether a chunk that is not stored is a lost one, and not one of fill values.
    """

    def __init__(
        self,
        root: str,
        storage_options: Mapping[str, Any],
        store_factory: StoreFactory | None,
        concurrency: int,
        verify: bool,
        complete: bool,
    ) -> None:
        self._root = root
        self._storage_options = dict(storage_options)
        self._store_factory = store_factory
        self._concurrency = concurrency
        self._verify = verify
        self._complete = complete
        self._opened: _Handles | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def prepare(
        self,
        sample_id: str,
        entry: SampleEntry,
        fields: Mapping[str, Sequence[ArrayLayout]],
        plans: Mapping[str, ReadPlan],
    ) -> list[FieldRead]:
        """Find out which ranges the plans need of each field; reads metadata and indexes that are not known yet."""
        handles = self._handles()
        sample = self._open_sample(handles, sample_id, entry)
        reads = []
        for domain, layouts in fields.items():
            plan = plans[domain]
            for layout in layouts:
                where = f"sample {sample_id!r}, field {layout.field}"
                array = self._open_array(handles, sample, f"{domain}/{layout.array_name}", layout, plan, where)
                requests = (
                    array.requests(plan, handles.storage, handles.indexes) if isinstance(array, ShardedArray) else []
                )
                reads.append(FieldRead(domain, layout, plan, array, requests, where))
        return reads

    def read(self, reads: Iterable[FieldRead], dtype: np.dtype[Any] | None) -> list[NDArray[Any]]:
        """Read fields, all requests of all of them at once as far as the concurrency goes.

        Returns
        -------
        list of ndarray, shape (plan.n_points, width)
            In the order of `reads`; of dtype `dtype`, or the stored one where that is None.
        """
        handles = self._handles()
        arrays: list[NDArray[Any]] = []
        tasks: list[tuple[FieldRead, RangeRequest | None, NDArray[Any]]] = []
        for one in reads:
            stored = one.array.codec.dtype if isinstance(one.array, ShardedArray) else one.array.dtype
            out = np.empty((one.plan.n_points, one.layout.dim), stored.newbyteorder("=") if dtype is None else dtype)
            arrays.append(out)
            if isinstance(one.array, ShardedArray):
                tasks += [(one, request, out) for request in one.requests]
            else:
                tasks.append((one, None, out))

        def run(task: tuple[FieldRead, RangeRequest | None, NDArray[Any]]) -> None:
            one, request, out = task
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
            self._opened = handles = _Handles(open_storage(self._root, self._storage_options))
        return handles

    def _pool(self, handles: _Handles) -> ThreadPoolExecutor:
        with handles.lock:
            if handles.pool is None:
                handles.pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="noether-read")
            return handles.pool

    def _open_sample(self, handles: _Handles, sample_id: str, entry: SampleEntry) -> _OpenSample:
        sample = handles.samples.get(sample_id)
        if sample is not None:
            return sample
        sample = _OpenSample(sample_id, entry.relpath)
        if self._store_factory is None:
            self._read_metadata(handles, sample)
        handles.samples.put(sample_id, sample)
        return sample

    def _read_metadata(self, handles: _Handles, sample: _OpenSample) -> None:
        document = handles.storage.read_if_there(f"{sample.relpath}/{ROOT_KEY}")
        if document is None:
            raise CorruptDataError(
                f"sample {sample.sample_id!r}: the manifest lists it, but there is no group at "
                f"{join(self._root, sample.relpath)}; convert the sample again"
            )
        nodes = parse_group(document, f"sample {sample.sample_id!r}")
        sample.nodes, sample.consolidated = nodes or {}, nodes is not None

    def _open_array(
        self, handles: _Handles, sample: _OpenSample, path: str, layout: ArrayLayout, plan: ReadPlan, where: str
    ) -> ShardedArray | zarr.Array[Any]:
        shape = (plan.grid.n_points, layout.dim)
        if self._store_factory is None:
            metadata = require_array(self._array_metadata(handles, sample, path, where), shape, where)
            array = ShardedArray.of_metadata(
                f"{sample.relpath}/{path}", metadata, plan.grid.chunk_points, where, complete=self._complete
            )
            if array is not None:
                return array
        if sample.group is None:
            sample.group = self._open_group(handles, sample)
        return open_array(sample.group, path, shape, where)

    def _array_metadata(self, handles: _Handles, sample: _OpenSample, path: str, where: str) -> Any:
        if path not in sample.nodes:
            key = f"{sample.relpath}/{path}/{ROOT_KEY}"
            document = None if sample.consolidated else handles.storage.read_if_there(key)
            if document is None:
                raise CorruptDataError(f"{where}: the group has no array {path}; convert the sample again")
            sample.nodes[path] = parse_array(document, where)
        return sample.nodes[path]

    def _open_group(self, handles: _Handles, sample: _OpenSample) -> zarr.Group:
        store = (
            self._store_factory(join(self._root, sample.relpath))
            if self._store_factory
            else handles.storage.zarr_store(sample.relpath, read_only=True)
        )
        return open_group(store, complete=self._complete, where=f"sample {sample.sample_id!r}")
