"""Cache on this machine for remote samples, with names that are unique to the content.

The cache names of a sample's fields are hashes of the checksums of their content in the manifest, so a sample that was
written again has other names. Stores of earlier releases have no such checksums. Their names are hashes of the versions
of the objects instead, which takes one listing per sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

from noether.data.zarr_store.codec import ChunkCodec
from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.manifest import SampleEntry, checksum_state_of_root
from noether.data.zarr_store.reading.ranges import RangeRequest
from noether.data.zarr_store.stores import LocalFile, RangeCache, Storage

__all__ = ["NOT_CACHED", "NearArray", "NearSample"]

NOT_CACHED = "its chunks carry no checksums, or the storage does not list the versions of objects"
"""Reason why a sharded array cannot be cached."""

Buffer = bytes | memoryview


class NearSample:
    """The cache entries of one sample. Safe to use from many threads.

    Parameters
    ----------
    cache : RangeCache
        The cache of the store.
    storage : Storage
        Storage of the store.
    entry : SampleEntry
        Entry of the sample in the manifest.
    """

    def __init__(self, cache: RangeCache, storage: Storage, entry: SampleEntry) -> None:
        self._cache = cache
        self._storage = storage
        self._entry = entry
        self._lock = Lock()
        self._versions: dict[str, str] | None = None

    def array(self, key: str, codec: ChunkCodec, chunks_per_shard: int, canonical: str) -> NearArray | None:
        """Return the cache entries of a field; None if its chunks have no checksums to detect damage.

        Parameters
        ----------
        key : str
            Key of the array, relative to the root of the store.
        codec, chunks_per_shard
            Codec of the array, and number of chunks that its shards have room for.
        canonical : str
            Name of the field.
        """
        if not codec.checksum:
            self._cache.note_once(
                "the chunks of this store have no checksums and are not cached; convert it again with checksums"
            )
            return None
        content = self._entry.content_crc32c.get(canonical)
        form = [key, codec.dtype.str, codec.rows, codec.width, chunks_per_shard]

        def identify(shard: int) -> str | None:
            version = self._version(f"{key}/c/{shard}/0") if content is None else f"content {content}"
            return None if version is None else _name(*form, shard, version)

        return NearArray(self._cache, identify)

    def read_root(self) -> bytes | None:
        """Return the root ``zarr.json`` of the sample; None if the cache has no intact copy."""
        name = self._root_name()
        data = b"" if name is None else self._cache.read(name, 0, 1 << 30)
        return data if data and checksum_state_of_root(data) == "intact" else None

    def keep_root(self, document: bytes) -> None:
        """Store the root ``zarr.json`` if it has a valid checksum, and if its name is unique to its content."""
        name = self._root_name()
        if name is not None and checksum_state_of_root(document) == "intact":
            self._cache.store(name, 0, document)

    def _root_name(self) -> str | None:
        content = self._entry.content_crc32c
        return _name(self._entry.relpath, ROOT_KEY, sorted(content.items())) if content else None

    def _version(self, key: str) -> str | None:
        """Return a text that changes when an object is replaced; None if the storage lists no versions."""
        with self._lock:
            if self._versions is None:
                self._versions = self._list_versions()
            return self._versions.get(key)

    def _list_versions(self) -> dict[str, str]:
        try:
            found = list(self._storage.objects(self._entry.relpath))
        except StorageError as error:
            self._cache.note_once(
                "samples of earlier releases are not cached: the storage does not list the versions of objects "
                f"({error}); convert them again"
            )
            return {}
        return {one.key: f"version {one.version} {one.size}" for one in found if one.version}


@dataclass(frozen=True, slots=True)
class NearArray:
    """The cache entries of one field of one sample. Safe to use from many threads.

    Attributes
    ----------
    cache : RangeCache
        The cache of the store.
    identify : callable of int to str or None
        Returns the name of a shard in the cache; None if no name is unique to the shard's content.
    """

    cache: RangeCache
    identify: Callable[[int], str | None]
    _names: dict[int, str | None] = field(default_factory=dict)

    def _name(self, shard: int) -> str | None:
        if shard not in self._names:
            self._names[shard] = self.identify(shard)
        return self._names[shard]

    def can_cache(self, shard: int) -> bool:
        """Return whether the cache has a name that is unique to a shard's content."""
        return self._name(shard) is not None

    def files(self, shard: int) -> Iterator[LocalFile]:
        """Yield the cache file of a shard; if it was deleted, also its replacement. Chunks keep their offsets."""
        name = self._name(shard)
        return iter(()) if name is None else self.cache.files(name)

    def read_tail(self, shard: int, length: int) -> tuple[bytes, int]:
        """Return the cached last bytes of a shard, which the caller must verify, and the size of the shard."""
        name = self._name(shard)
        return (b"", 0) if name is None else self.cache.read_tail(name, length)

    def store(self, shard: int, start: int, data: Buffer) -> None:
        """Store a byte range of a shard in the cache."""
        name = self._name(shard)
        if name is not None:
            self.cache.store(name, start, data)

    def fetch(
        self, request: RangeRequest, check: Callable[[Buffer], None], fetch: Callable[[int, int], Buffer]
    ) -> tuple[memoryview, int, int]:
        """Return the bytes of a request, and the numbers of chunks that were cache hits and cache misses.

        Chunks that match their checksums come from the cache. One call of `fetch` reads the range from the first to the
        last of all other chunks.

        Parameters
        ----------
        request : RangeRequest
            Byte range to read.
        check : callable of bytes
            Raises `CorruptDataError` for a chunk that does not match its checksum.
        fetch : callable of (int, int) to bytes
            Takes an offset in the shard and a length, and returns these bytes. Called at most once.
        """
        name, bounds = self._name(request.shard), request.bounds
        cached = b"" if name is None else self.cache.read(name, request.start, request.length)
        chunks = [(start, stop) for start, stop in pairwise(bounds) if start < stop]
        missing = [one for one in chunks if not _is_sound(cached[one[0] : one[1]], one, check)]
        if not missing:
            self.cache.count(hits=len(chunks), hit_bytes=request.length)
            return memoryview(cached), len(chunks), 0
        first, stop = missing[0][0], missing[-1][1]
        fetched = fetch(request.start + first, stop - first)
        # Bytes that are already damaged in the store do no harm: they fail their checksum, so they are a miss again.
        self.store(request.shard, request.start + first, fetched)
        n_misses = sum(first <= one[0] < stop for one in chunks)
        self.cache.count(
            hits=len(chunks) - n_misses,
            hit_bytes=request.length - len(fetched),
            misses=n_misses,
            missed_bytes=len(fetched),
        )
        data = memoryview(b"".join((cached[:first], fetched, cached[stop:])))
        return data, len(chunks) - n_misses, n_misses


def _is_sound(chunk: Buffer, bounds: tuple[int, int], check: Callable[[Buffer], None]) -> bool:
    """Return whether a chunk is not truncated, and matches its checksum."""
    if len(chunk) != bounds[1] - bounds[0]:
        return False
    try:
        check(chunk)
    except CorruptDataError:
        return False
    return True


def _name(*identity: object) -> str:
    return f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.part"
