"""The chunk index of a store: one file with the lengths of all chunks, which all processes of a machine memory-map.

With a chunk index, a draw sends only its range requests, and reads neither metadata nor shard indexes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import ChunkCodec
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.reading.index_cache import fetch_copy, forget_copy
from noether.data.zarr_store.reading.index_layouts import IndexLayout, LengthsById, LengthsInOrder
from noether.data.zarr_store.reading.sharded_array import ShardAccess, ShardedArray
from noether.data.zarr_store.stores import Storage, is_remote, open_storage

__all__ = [
    "NOT_INDEXED",
    "ChunkIndex",
    "arrays_of",
    "has_whole_index",
    "load_words",
    "open_chunk_index",
    "promised_array",
]

NOT_INDEXED = 0xFFFFFFFF
"""Placeholder for the length of each chunk of an array that is not described. Its reads use the shard indexes."""

# Errors of NumPy for a file whose header is not the text of a Python dict.
_NO_ARRAY = (ValueError, TypeError, EOFError, SyntaxError, TokenError, OverflowError, MemoryError, RecursionError)


class ChunkIndex:
    """The lengths of the chunks of a store's samples.

    The lengths of a sample are in the order of the manifest: domains, arrays, chunks. A chunk that is not stored has
    length 0. Every chunk of an array that is not described has the largest uint32 as its length.

    Parameters
    ----------
    words : ndarray of uint32
        The content of the file `manifest.index_name`; see `index_layouts` for the two layouts.
    manifest : StoreManifest
        The manifest of the store, which lists the samples that the index describes.

    Raises
    ------
    CorruptDataError
        The file is not the index of the store, or is truncated.
    """

    def __init__(self, words: NDArray[np.uint32], manifest: StoreManifest) -> None:
        self._manifest = manifest
        self._layout: IndexLayout = (
            LengthsById(words, manifest.sample_index)
            if manifest.chunk_index is None
            else LengthsInOrder(words, manifest)
        )

    def words_of(self, sample_id: str) -> NDArray[np.uint32] | None:
        """Return the lengths of all chunks of a sample as in the file; None if the file does not describe it."""
        return self._layout.words_of(sample_id, self._manifest.sample(sample_id))

    def describes_all(self) -> bool:
        """Return whether the index describes all samples of the store."""
        return self._layout.describes_all(self._manifest)

    def require_sound(self) -> None:
        """Read the whole file, and raise `CorruptDataError` if its content is inconsistent."""
        self._layout.require_sound()

    def lengths(self, sample_id: str) -> dict[str, NDArray[np.uint32]]:
        """Return the lengths of a sample's chunks by canonical field name, without the arrays that are not indexed.

        Raises
        ------
        CorruptDataError
            The index does not fit the sample.
        """
        return self._lengths(sample_id, self._manifest.sample(sample_id))

    def arrays(self, sample_id: str, access: ShardAccess) -> dict[str, ShardedArray]:
        """Return the indexed arrays of a sample by canonical field name; errors are those of `lengths`."""
        entry = self._manifest.sample(sample_id)
        lengths = self._lengths(sample_id, entry)
        return {
            layout.field: promised_array(
                self._manifest, sample_id, entry, domain, layout, access, lengths[layout.field]
            )
            for domain, layout, _ in arrays_of(self._manifest, entry)
            if layout.field in lengths
        }

    def _lengths(self, sample_id: str, entry: SampleEntry) -> dict[str, NDArray[np.uint32]]:
        words = self._layout.words_of(sample_id, entry)
        if words is None:
            return {}
        found, at = {}, 0
        for _, layout, n_chunks in arrays_of(self._manifest, entry):
            lengths = words[at : at + n_chunks]
            at += n_chunks
            if len(lengths) == n_chunks and lengths[0] != NOT_INDEXED:
                found[layout.field] = lengths
        if at != len(words):
            raise CorruptDataError(
                f"sample {sample_id!r}: the chunk index does not fit the manifest: expected the lengths of {at:,} "
                f"chunks, got {len(words):,}; rebuild it with noether-zarr index STORE"
            )
        return found


def open_chunk_index(storage: Storage, manifest: StoreManifest) -> ChunkIndex | None:
    """Memory-map the chunk index that a manifest names; return None if it names no index, or the file is missing.

    The index of a remote store is fetched into a cache directory of the user, once for all processes of the machine.
    """
    name = manifest.index_name
    if name is None:
        return None
    if not is_remote(storage.root):
        local = Path(storage.root, name)
        try:
            return ChunkIndex(load_words(local), manifest) if local.is_file() else None
        except FileNotFoundError:  # another process has just replaced it
            return None
    # The local copy may be damaged, or another process may have deleted it for that reason. Then fetch it again.
    with suppress(CorruptDataError, FileNotFoundError):
        return _open_copy(storage, name, manifest)
    forget_copy(name)
    return _open_copy(storage, name, manifest)


def _open_copy(storage: Storage, name: str, manifest: StoreManifest) -> ChunkIndex | None:
    file = fetch_copy(storage, name)
    return None if file is None else ChunkIndex(load_words(file), manifest)


def load_words(file: Path | BinaryIO) -> NDArray[np.uint32]:
    """Read the array of a chunk index from an open file, or memory-map it from a path.

    Raises
    ------
    CorruptDataError
        The file holds no array.
    """
    try:
        # np.load is not used, because it opens archives as well.
        words: NDArray[np.uint32] = (
            np.lib.format.open_memmap(file, mode="r")
            if isinstance(file, Path)
            else np.lib.format.read_array(file, allow_pickle=False)
        )
    except _NO_ARRAY as error:
        raise CorruptDataError(
            f"the chunk index {file} is damaged ({error}); rebuild it with noether-zarr index STORE"
        ) from error
    return words


def has_whole_index(root: str, manifest: StoreManifest, *, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Return whether the manifest of a store names a chunk index that exists and describes all samples."""
    try:
        index = open_chunk_index(open_storage(root, storage_options), manifest)
        return index is not None and index.describes_all()
    except CorruptDataError:
        return False


def arrays_of(manifest: StoreManifest, entry: SampleEntry) -> Iterator[tuple[str, ArrayLayout, int]]:
    """Yield `(domain, layout, n_chunks)` of each array of a sample, in the order of the index."""
    for domain, layout in manifest.domains.items():
        if domain in entry.domains:
            for array in layout.arrays.values():
                yield domain, array, entry.domains[domain].n_chunks


def promised_array(
    manifest: StoreManifest,
    sample_id: str,
    entry: SampleEntry,
    domain: str,
    layout: ArrayLayout,
    access: ShardAccess,
    lengths: NDArray[np.uint32] | None = None,
) -> ShardedArray:
    """Return an array as the manifest promises it. A stored array that differs from it is not indexed."""
    grid = entry.domains[domain].grid
    dtype = np.dtype(layout.dtype).newbyteorder("<")
    return ShardedArray(
        f"{entry.relpath}/{layout.array_name}",
        ChunkCodec(dtype, grid.chunk_points, layout.dim, manifest.checksum),
        grid.shard_points // grid.chunk_points,
        f"sample {sample_id!r}, field {layout.field}",
        manifest.promises_all_chunks,
        access,
        lengths,
    )
