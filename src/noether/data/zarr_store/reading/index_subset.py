"""Chunk indexes of fewer samples or of other fields, derived from the existing chunk index."""

from __future__ import annotations

from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading.chunk_index import ChunkIndex, arrays_of, open_chunk_index
from noether.data.zarr_store.reading.index_cache import fetch_copy, has_named_hash, index_name
from noether.data.zarr_store.reading.index_layouts import checksum_of, encode_index
from noether.data.zarr_store.reading.index_making import gather_fields
from noether.data.zarr_store.stores import Storage, is_remote

__all__ = ["write_index_of_fields", "write_index_without"]

Words = NDArray[np.uint32]

# The threads spend almost all their time waiting for the storage.
_THREADS = 16


def write_index_without(
    storage: Storage, manifest: StoreManifest, sample_ids: Set[str]
) -> tuple[str, dict[str, str]] | None:
    """Write the chunk index of a store without some samples.

    Returns the name of the file, which no manifest names yet, and the checksums of its lengths by sample id. Returns
    None if the store has no chunk index, if the index is damaged or was written by another program, or if it describes
    none of the remaining samples.
    """

    def kept(index: ChunkIndex) -> dict[str, Words]:
        found = (
            (sample_id, index.words_of(sample_id)) for sample_id in manifest.samples if sample_id not in sample_ids
        )
        return {sample_id: words for sample_id, words in found if words is not None}

    return _write_changed(storage, manifest, kept)


def write_index_of_fields(
    storage: Storage, manifest: StoreManifest, changed: StoreManifest
) -> tuple[str, dict[str, str]] | None:
    """Write the chunk index of a store with other fields, reading only the shards of the new fields.

    Parameters
    ----------
    storage : Storage
        Storage of the store.
    manifest : StoreManifest
        The manifest that names the existing index.
    changed : StoreManifest
        A manifest of the same samples with the new fields.

    Returns
    -------
    tuple of (str, dict of str to str) or None
        See `write_index_without`. The new index describes only samples that the former index describes.
    """

    def with_fields(index: ChunkIndex) -> dict[str, Words]:
        described = [sample_id for sample_id in manifest.samples if index.words_of(sample_id) is not None]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="noether-index") as pool:
            words = pool.map(lambda sample_id: _changed_words(storage, index, changed, sample_id), described)
            return dict(zip(described, words, strict=True))

    return _write_changed(storage, manifest, with_fields)


def _changed_words(storage: Storage, index: ChunkIndex, changed: StoreManifest, sample_id: str) -> Words:
    known = index.lengths(sample_id)
    arrays = list(arrays_of(changed, changed.sample(sample_id)))
    # Arrays that the former index does not describe are read again too, with the same result.
    unknown = {layout.field for _, layout, _ in arrays} - known.keys()
    gathered = gather_fields(storage, changed, sample_id, unknown) if unknown else {}
    parts = [known[one.field] if one.field in known else gathered[one.field][0] for _, one, _ in arrays]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def _write_changed(
    storage: Storage, manifest: StoreManifest, change: Callable[[ChunkIndex], dict[str, Words]]
) -> tuple[str, dict[str, str]] | None:
    try:
        index = open_chunk_index(storage, manifest)
        # A copy of a damaged index would pass for intact: its name would have the right hash.
        if index is None or not _has_named_hash(storage, str(manifest.index_name)):
            return None
        lengths = change(index)
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
