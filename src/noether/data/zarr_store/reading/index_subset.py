"""The chunk index of a part of a store's samples, from that of all: no shard is read."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.reading.index_cache import fetch_copy, has_named_hash, index_name
from noether.data.zarr_store.reading.index_layouts import checksum_of, encode_index
from noether.data.zarr_store.stores import Storage, is_remote

__all__ = ["write_index_without"]


def write_index_without(
    storage: Storage, manifest: StoreManifest, sample_ids: Set[str]
) -> tuple[str, dict[str, str]] | None:
    """Write the chunk index of a store without some samples.

    Returns its name, which no manifest has yet, and the checksums of the lengths that it has, by sample id. Returns
    None where the store has no chunk index, where that is damaged or was written by another program, and where it
    describes none of the samples that stay.
    """
    try:
        index = open_chunk_index(storage, manifest)
        # What is damaged would pass for sound in a file whose name has the right hash.
        if index is None or not _has_named_hash(storage, str(manifest.index_name)):
            return None
        kept = ((sample_id, index.words_of(sample_id)) for sample_id in manifest.samples if sample_id not in sample_ids)
        lengths = {sample_id: words for sample_id, words in kept if words is not None}
        data = encode_index(lengths)
    except (CorruptDataError, MemoryError, FileNotFoundError):
        return None
    if not lengths:
        return None
    name = index_name(data)
    if name not in manifest.index_names:
        storage.write(name, data)
    return name, {sample_id: checksum_of(words) for sample_id, words in lengths.items()}


def _has_named_hash(storage: Storage, name: str) -> bool:
    file = fetch_copy(storage, name) if is_remote(storage.root) else Path(storage.root, name)
    data = b"" if file is None else file.read_bytes() if isinstance(file, Path) else file.read()
    return has_named_hash(name, data)
