"""Local caches of remote stores: fill, show and clear them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.manifest import StoreManifest, select_samples
from noether.data.zarr_store.reading import Fetcher, fields_by_domain
from noether.data.zarr_store.sampling import PlannedRead, plan_whole
from noether.data.zarr_store.stores import (
    CACHE_DIR_VARIABLE,
    CacheDirectory,
    RangeCache,
    cache_settings,
    is_remote,
    normalize_root,
    store_name,
)

__all__ = ["CachedStore", "FilledCache", "clear_cache", "fill_cache", "show_cache"]

# Usable share of the limit: at the limit, the cache removes files until it is at nine tenths.
_FILLED_SHARE = 0.9
_CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class FilledCache:
    """The result of `fill_cache`.

    Attributes
    ----------
    samples : tuple of str
        Ids of the samples that the cache has now.
    left_out : tuple of str
        Ids of the samples that the cache has no room for.
    n_bytes : int
        Bytes of the chunks of `samples`.
    n_fetched : int
        Bytes that were fetched; the cache had the others before.
    """

    samples: tuple[str, ...]
    left_out: tuple[str, ...]
    n_bytes: int
    n_fetched: int


@dataclass(frozen=True, slots=True)
class CachedStore:
    """The content of a cache for one store.

    Attributes
    ----------
    store_root : str
        URL of the store.
    n_bytes, n_files : int
        Bytes and number of the files with its chunks.
    """

    store_root: str
    n_bytes: int
    n_files: int


def fill_cache(
    store_root: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    split: str | None = None,
    sample_ids: Iterable[str] | None = None,
    fields: Iterable[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_sample: Callable[[str, int], None] | None = None,
) -> FilledCache:
    """Fetch chunks of a remote store into a cache on this machine, so that reads of them need no request.

    Samples are fetched in the order of the store. Samples that the cache has no room for are left out; files of other
    stores are removed to make room. The same call again fetches only the missing chunks.

    Parameters
    ----------
    store_root : str
        URL of the store.
    cache_dir, cache_limit
        The directory of the cache, and its largest size; see `ZarrChunkReader`.
    split, sample_ids : str, iterable of str, optional
        The samples to fetch: those of a split, or these ids; all by default.
    fields : iterable of str, optional
        Canonical names of the fields to fetch; all by default.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    on_sample : callable of (str, int), optional
        Callback for each finished sample, called with its id and the bytes of its chunks.

    Raises
    ------
    ArgumentError
        The store is local, no directory is specified, the directory is not a cache, or a parameter is out of its range.
    UnknownNameError
        The store has no such split, sample or field.
    CorruptDataError
        A chunk of the remote store does not match its checksum.
    StorageError
        The store cannot be reached, or the cache cannot be written.
    """
    root = normalize_root(store_root)
    if not is_remote(root):
        raise ArgumentError(
            f"store_root: expected a URL, got the local path {root}; read a local store without a cache"
        )
    settings = cache_settings(cache_dir, cache_limit, is_remote=True)
    if settings is None:
        raise ArgumentError(f"cache_dir: expected a directory, got none; set cache_dir or {CACHE_DIR_VARIABLE}")
    _require_sound(RangeCache.open(settings, root))
    manifest = StoreManifest.load(root, storage_options=storage_options)
    chosen = select_samples(manifest, split, sample_ids)
    fetcher = Fetcher(root, manifest, storage_options or {}, None, _CONCURRENCY, verify=True, cache=settings)
    cache = _require_sound(fetcher.cache)
    filler = _Filler(fetcher, manifest, None if fields is None else list(fields), cache)
    for sample_id in chosen:
        filler.fill(sample_id, on_sample)
    return FilledCache(tuple(filler.samples), tuple(filler.left_out), filler.n_bytes, cache.missed_bytes)


class _Filler:
    """Fills a cache sample by sample."""

    def __init__(
        self, fetcher: Fetcher, manifest: StoreManifest, fields: Sequence[str] | None, cache: RangeCache
    ) -> None:
        self.samples: list[str] = []
        self.left_out: list[str] = []
        self.n_bytes = 0
        self._fetcher = fetcher
        self._manifest = manifest
        self._fields = fields
        self._cache = cache
        self._room = 0

    def fill(self, sample_id: str, on_sample: Callable[[str, int], None] | None) -> None:
        """Fetch a sample if the cache has room for it in addition to the samples fetched before."""
        reads = [one for reads in self._fetcher.prepare(self._planned(sample_id)) for one in reads]
        lengths = [request.length or 0 for one in reads for request in one.requests]
        n_bytes, room = sum(lengths), sum(map(self._cache.room_for, lengths))
        if self._room + room > _FILLED_SHARE * self._cache.limit:
            self.left_out.append(sample_id)
            return
        self._fetcher.keep_near(reads)
        _require_sound(self._cache)
        self.samples.append(sample_id)
        self.n_bytes += n_bytes
        self._room += room
        if on_sample is not None:
            on_sample(sample_id, n_bytes)

    def _planned(self, sample_id: str) -> list[PlannedRead]:
        entry = self._fetcher.entry(sample_id)
        wanted = fields_by_domain(self._manifest, sample_id, entry, self._fields)
        return [
            PlannedRead(sample_id, domain, tuple(layouts), plan_whole(entry.domains[domain].grid))
            for domain, layouts in wanted.items()
        ]


def _require_sound(cache: RangeCache | None) -> RangeCache:
    if cache is None or cache.failure is not None:
        reason = "" if cache is None else f" {cache.directory.path}: {cache.failure}"
        raise StorageError(f"cannot write the cache{reason}; choose another cache_dir, or make room there")
    return cache


def show_cache(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedStore]:
    """Return the content of a cache for each store.

    Raises
    ------
    ArgumentError
        No directory is specified, or the directory is not a cache.
    """
    directory = _existing(cache_dir)
    files = list(directory.files())
    return [
        CachedStore(
            root,
            sum(file.n_bytes for file in files if file.store == store),
            sum(file.store == store for file in files),
        )
        for store, root in directory.stores().items()
    ]


def clear_cache(cache_dir: str | os.PathLike[str] | None = None, store_root: str | None = None) -> int:
    """Remove the files of one store, or of all stores, from a cache, and return their number.

    Processes that read through the cache fetch the chunks again.

    Raises
    ------
    ArgumentError
        No directory is specified, the directory is not a cache, or it has nothing of the store.
    StorageError
        A file cannot be removed.
    """
    directory = _existing(cache_dir)
    store = None
    if store_root is not None:
        store = store_name(normalize_root(store_root))
        roots = directory.stores()
        if store not in roots:
            known = ", ".join(roots.values()) or "none"
            raise ArgumentError(
                f"store_root: expected a store in the cache {directory.path} ({known}), got {store_root}; use the URL "
                "with which the store was read"
            )
    try:
        return directory.clear(store)
    except OSError as error:
        raise StorageError(
            f"cannot clear the cache {directory.path} ({error.strerror or error}); check the permissions of its files"
        ) from error


def _existing(cache_dir: str | os.PathLike[str] | None) -> CacheDirectory:
    settings = cache_settings(cache_dir, None, is_remote=True)
    if settings is None:
        raise ArgumentError(f"cache_dir: expected a directory, got none; set cache_dir or {CACHE_DIR_VARIABLE}")
    directory = CacheDirectory(Path(settings.directory))
    if not directory.is_cache():
        raise ArgumentError(f"cache_dir: {directory.path} is not a cache of this library; check the path")
    return directory
