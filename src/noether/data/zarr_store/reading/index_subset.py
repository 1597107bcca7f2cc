"""The chunk index of a part of a store's samples, from that of all: no shard is read."""

from __future__ import annotations

from collections.abc import Set

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.reading.index_cache import index_name
from noether.data.zarr_store.reading.index_making import encode_index
from noether.data.zarr_store.stores import Storage

__all__ = ["write_index_without"]


def write_index_without(storage: Storage, manifest: StoreManifest, sample_ids: Set[str]) -> str | None:
    """Write the chunk index of a store without some samples, and return its name, which no manifest has yet.

    Returns None where the store has no chunk index, where that is damaged or was written by another program, and where
    no sample is left.
    """
    kept = [sample_id for sample_id in manifest.samples if sample_id not in sample_ids]
    try:
        index = open_chunk_index(storage, manifest)
        if index is None or not kept:
            return None
        # What is damaged would pass for sound in a file whose name has the right hash.
        if index_name(encode_index([index.words_of(one) for one in manifest.samples])) != manifest.chunk_index:
            return None
        data = encode_index([index.words_of(sample_id) for sample_id in kept])
    except (CorruptDataError, MemoryError):
        return None
    name = index_name(data)
    if name != manifest.chunk_index:
        storage.write(name, data)
    return name
