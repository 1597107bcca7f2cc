"""An open sample: the metadata of its arrays, read lazily and once."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import zarr

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import Metadata, parse_array, parse_group, require_array
from noether.data.zarr_store.reading.metered_store import MeteredStore
from noether.data.zarr_store.reading.near import NearSample
from noether.data.zarr_store.reading.sharded_array import ShardAccess, ShardedArray
from noether.data.zarr_store.reading.zarr_array import ZarrArray, open_array, open_group
from noether.data.zarr_store.stores import StoreFactory, join

__all__ = ["OpenSample"]


@dataclass(slots=True)
class OpenSample:
    """Opens the arrays of one sample. Safe to use from many threads.

    Attributes
    ----------
    access : ShardAccess
        Access to the shards of the store.
    sample_id, relpath : str
        Id of the sample, and path of its group in the store.
    missing_is_error : bool
        Whether a chunk that is not stored is an error; otherwise it has fill values.
    store_factory : callable of str to zarr Store or None
        Function that opens the group for zarr-python; None uses the storage of this library.
    near : NearSample or None
        Cache entries of the sample on this machine; None without a cache.
    """

    access: ShardAccess
    sample_id: str
    relpath: str
    missing_is_error: bool
    store_factory: StoreFactory | None = None
    near: NearSample | None = None
    _lock: Lock = field(default_factory=Lock)
    _nodes: Metadata | None = None
    _is_consolidated: bool = False
    _group: zarr.Group | None = None
    _arrays: dict[str, ShardedArray | None] = field(default_factory=dict)

    def sharded_array(self, path: str, shape: tuple[int, int], chunk_points: int, where: str) -> ShardedArray | None:
        """Return the array at `path`; None if zarr-python must read it.

        Raises
        ------
        CorruptDataError
            There is no such array, or its shape is not `shape`.
        """
        if path not in self._arrays:
            metadata = require_array(self.metadata(path, where), shape, where)
            self._arrays[path] = ShardedArray.of_metadata(
                f"{self.relpath}/{path}",
                metadata,
                chunk_points,
                where,
                self.access,
                missing_is_error=self.missing_is_error,
            )
        return self._arrays[path]

    def zarr_array(self, path: str, shape: tuple[int, int], where: str) -> ZarrArray:
        """Open the array at `path` with zarr-python; errors are those of `sharded_array`."""
        with self._lock:  # threads that read fields in parallel open the group once
            if self._group is None:
                store = (
                    self.store_factory(join(self.access.storage.root, self.relpath))
                    if self.store_factory
                    else self.access.storage.zarr_store(self.relpath, read_only=True)
                )
                self._group = open_group(
                    MeteredStore(store, self.access.meter),
                    missing_is_error=self.missing_is_error,
                    where=f"sample {self.sample_id!r}",
                )
        return open_array(self._group, path, shape, where, self.access.meter)

    @property
    def is_read(self) -> bool:
        """True once the metadata of the group were read."""
        return self._nodes is not None

    def nodes(self) -> Metadata:
        """Return the metadata of the nodes that the root of the group lists, by path; reads the root once."""
        with self._lock:  # threads that read fields in parallel read the root once
            if self._nodes is None:
                self._nodes = self._read_nodes()
            return self._nodes

    def metadata(self, path: str, where: str) -> Any:
        """Return the metadata of a node as stored; raise `CorruptDataError` if there is no such node."""
        nodes = self.nodes()
        if path not in nodes:
            # Consolidated metadata list all nodes. Without them, read the metadata of each array.
            key = f"{self.relpath}/{path}/{ROOT_KEY}"
            document = None if self._is_consolidated else self._read(key)
            if document is None:
                raise CorruptDataError(f"{where}: the group has no array {path}; convert the sample again")
            nodes[path] = parse_array(document, where)
        return nodes[path]

    def _read_nodes(self) -> Metadata:
        where = f"sample {self.sample_id!r}"
        document = self._read_root()
        if document is None:
            place = join(self.access.storage.root, self.relpath)
            raise CorruptDataError(
                f"{where}: the manifest lists it, but there is no group at {place}; convert the sample again"
            )
        nodes = parse_group(document, where)
        self._is_consolidated = nodes is not None
        return nodes or {}

    def _read_root(self) -> bytes | None:
        document = None if self.near is None else self.near.read_root()
        if document is None:
            document = self._read(f"{self.relpath}/{ROOT_KEY}")
            if document is not None and self.near is not None:
                self.near.keep_root(document)
        return document

    def _read(self, key: str) -> bytes | None:
        return self.access.meter.of_metadata(
            lambda: self.access.storage.read_if_there(key), lambda document: len(document or b"")
        )
