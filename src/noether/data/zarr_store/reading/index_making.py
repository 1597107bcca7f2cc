"""Building of the chunk index of a store, from the index of every shard."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MISSING
from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError, TooLargeError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading.chunk_index import NOT_INDEXED, arrays_of, promised_array
from noether.data.zarr_store.reading.index_cache import forget_copy, index_name
from noether.data.zarr_store.reading.index_layouts import checksum_of, encode_index
from noether.data.zarr_store.reading.open_sample import OpenSample
from noether.data.zarr_store.reading.sharded_array import ShardAccess, ShardedArray
from noether.data.zarr_store.stores import Storage, normalize_root, open_storage

__all__ = ["drop_chunk_index", "gather_fields", "write_chunk_index"]

_logger = logging.getLogger(__name__)

_MissingFields: TypeAlias = dict[str, tuple[str, ...]]

# The threads spend almost all their time waiting for the storage.
_THREADS = 16
_TRIES = 3
# The limit protects the memory: a wrong manifest may claim any number of chunks. This many lengths make a file of
# 4 GiB, and describe about 50 TB of values in chunks of the default size.
_MAX_LENGTHS = 1 << 30


def write_chunk_index(
    root: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    on_missing: Callable[[dict[str, tuple[str, ...]]], None] | None = None,
) -> str:
    """Read the index of every shard of a store, write the chunk index, and name it in the manifest.

    If another process adds or replaces samples at the same time, the index is built up to three times. Samples that
    it still does not describe are read with their own metadata, until the index is rebuilt.

    Every store that can be read can be indexed, also the stores of other programs. Arrays that have other codecs, a
    different order of chunks, or damage are not described: they are read with their shard indexes.

    Parameters
    ----------
    root : str or path
        Local path or URL of the store.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    on_missing : callable of dict of str to tuple of str, optional
        Called if groups lack arrays that the manifest lists, with the missing fields by sample id. Without it, a
        warning is logged. All other arrays are indexed.

    Returns
    -------
    str
        Name of the file in the store.

    Raises
    ------
    ManifestError
        There is no store.
    TooLargeError
        The manifest claims more than 1,073,741,824 chunks, or the lengths do not fit in memory.
    StorageError
        The storage fails.
    """
    root = normalize_root(root)
    storage = open_storage(root, storage_options)
    for _ in range(_TRIES):
        manifest = StoreManifest.load(root, storage_options=storage_options)
        try:
            gathered = dict(zip(manifest.samples, _gather(storage, manifest), strict=True))
            lengths = {sample_id: words for sample_id, (words, _) in gathered.items()}
            data = encode_index(lengths)
        except TooLargeError:
            raise
        except MemoryError as error:
            raise TooLargeError(
                f"{root}: the chunk index does not fit in memory ({error}); index the store on a machine with more "
                "memory, or convert with larger chunks"
            ) from error
        name = index_name(data)
        forget_copy(name)  # else a damaged local copy would stay in use
        storage.write(name, data)
        checksums = {sample_id: checksum_of(words) for sample_id, words in lengths.items()}
        if _name_in_manifest(root, storage, storage_options, manifest, name, checksums):
            break
    _report_missing(root, {sample_id: fields for sample_id, (_, fields) in gathered.items() if fields}, on_missing)
    return name


def _report_missing(root: str, missing: _MissingFields, on_missing: Callable[[_MissingFields], None] | None) -> None:
    """Pass the missing fields of each sample to the callback; log a warning without a callback."""
    if missing and on_missing is not None:
        on_missing(missing)
    elif missing:
        sample_id, (field, *_) = next(iter(missing.items()))
        _logger.warning(
            "%s: the groups of %s samples lack arrays that the manifest lists, such as %s of sample %r; "
            "list them with noether-zarr verify %s --level census",
            *(root, f"{len(missing):,}", field, sample_id, root),
        )


def drop_chunk_index(root: str, sample_id: str, *, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Delete the chunk index of a store if it describes a sample that is about to be replaced.

    Returns True if the store has no chunk index afterwards.
    """
    storage = open_storage(root, storage_options)
    there = StoreManifest.load_if_there(root, storage_options=storage_options)
    if there is None or not there.index_names:
        return True
    if sample_id not in there.samples or (there.chunk_index is None and there.sample(sample_id).lengths_crc32c is None):
        return False

    def change(current: StoreManifest) -> StoreManifest:
        storage.delete(current.index_names)
        return current.model_copy(update={"chunk_index": None, "sample_index": None})

    StoreManifest.update(root, change, storage_options=storage_options)
    return True


def _name_in_manifest(
    root: str,
    storage: Storage,
    storage_options: Mapping[str, Any] | None,
    indexed: StoreManifest,
    name: str,
    checksums: Mapping[str, str],
) -> bool:
    """Delete the former index, and name the new index in the manifest; return whether it describes all samples.

    The new index does not describe samples that were added or written again since `indexed` was read.
    """
    is_whole = True

    def change(current: StoreManifest) -> StoreManifest:
        nonlocal is_whole
        # Delete first. A process that is killed in between leaves the name of a deleted file, and the next indexing
        # rebuilds that. In the other order it would leave a file that no manifest names.
        storage.delete([one for one in current.index_names if one != name])
        named, is_whole = current.with_index(name, checksums, indexed)
        return named

    StoreManifest.update(root, change, storage_options=storage_options)
    return is_whole


def _gather(storage: Storage, manifest: StoreManifest) -> list[tuple[NDArray[np.uint32], tuple[str, ...]]]:
    """Return the lengths of each sample's chunks and the fields that its group lacks, in the order of the manifest."""
    entries = (manifest.sample(sample_id) for sample_id in manifest.samples)
    n_lengths = sum(n_chunks for entry in entries for _, _, n_chunks in arrays_of(manifest, entry))
    if n_lengths > _MAX_LENGTHS:
        raise TooLargeError(
            f"{storage.root}: expected at most {_MAX_LENGTHS:,} chunks in a chunk index, the manifest claims "
            f"{n_lengths:,}; convert with larger chunks, unless the manifest is wrong"
        )
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="noether-index") as pool:
        return list(pool.map(lambda sample_id: _gather_sample(storage, manifest, sample_id), manifest.samples))


def _gather_sample(
    storage: Storage, manifest: StoreManifest, sample_id: str
) -> tuple[NDArray[np.uint32], tuple[str, ...]]:
    found = gather_fields(storage, manifest, sample_id, [layout.field for layout in _layouts_of(manifest, sample_id)])
    parts = [words for words, _ in found.values()]
    missing = tuple(field for field, (_, is_missing) in found.items() if is_missing)
    return np.concatenate(parts) if parts else np.empty(0, np.uint32), missing


def _layouts_of(manifest: StoreManifest, sample_id: str) -> list[ArrayLayout]:
    return [layout for _, layout, _ in arrays_of(manifest, manifest.sample(sample_id))]


def gather_fields(
    storage: Storage, manifest: StoreManifest, sample_id: str, fields: Collection[str]
) -> dict[str, tuple[NDArray[np.uint32], bool]]:
    """Return, by field, the lengths of a sample's chunks and whether its group lacks the array."""
    entry = manifest.sample(sample_id)
    access = ShardAccess(storage)
    sample = OpenSample(access, sample_id, entry.relpath, manifest.promises_all_chunks)
    found = {}
    for domain, layout, n_chunks in arrays_of(manifest, entry):
        if layout.field not in fields:
            continue
        where = f"sample {sample_id!r}, field {layout.field}"
        grid = entry.domains[domain].grid
        lengths = None
        # The reader reports damage when it reads the array.
        with suppress(CorruptDataError):
            array = sample.sharded_array(layout.array_name, (grid.n_points, layout.dim), grid.chunk_points, where)
            promised = promised_array(manifest, sample_id, entry, domain, layout, access)
            if array is not None and array == promised:
                lengths = _lengths_of_array(array, n_chunks)
        # An array without chunks has only fill values, or is missing although the root of the group still lists it.
        node = f"{entry.relpath}/{layout.array_name}/{ROOT_KEY}"
        is_missing = (lengths is None or not lengths.any()) and storage.read_tail(node, 1) is None
        if lengths is None or is_missing:
            lengths = np.full(n_chunks, NOT_INDEXED, np.uint32)
        found[layout.field] = lengths, is_missing
    return found


def _lengths_of_array(array: ShardedArray, n_chunks: int) -> NDArray[np.uint32] | None:
    """Return the lengths of an array's chunks; None unless they are contiguous from the start of each shard."""
    parts = []
    for shard in range(-(-n_chunks // array.chunks_per_shard)):
        index = array.read_index(shard)
        stored = index.lengths != MISSING
        lengths = np.where(stored, index.lengths, 0)
        starts = np.cumsum(lengths) - lengths
        if np.any(index.offsets[stored] != starts[stored]) or np.any(lengths >= NOT_INDEXED):
            return None
        parts.append(lengths.astype(np.uint32))
    return np.concatenate(parts)[:n_chunks]
