"""Storage of a store's bytes: a local directory, object storage, or any fsspec file system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from obstore.exceptions import BaseError
from zarr.abc.store import Store

from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.stores.base import Buffer, LocalFile, Storage, StoredObject, StoreFactory
from noether.data.zarr_store.stores.cache_directory import CachedFile, CacheDirectory, store_name
from noether.data.zarr_store.stores.cache_settings import CACHE_DIR_VARIABLE, CacheSettings, cache_settings
from noether.data.zarr_store.stores.counting import CountingStore, Traffic
from noether.data.zarr_store.stores.fsspec_store import FsspecStorage
from noether.data.zarr_store.stores.local import LocalStorage
from noether.data.zarr_store.stores.object_store import OBSTORE_PROTOCOLS, ObstoreStorage
from noether.data.zarr_store.stores.range_cache import RangeCache
from noether.data.zarr_store.stores.request_log import from_to, log_request, logs_requests
from noether.data.zarr_store.stores.staging import StagedWrite, staged_name
from noether.data.zarr_store.stores.weaknesses import StorageWarning

__all__ = [
    "CACHE_DIR_VARIABLE",
    "STORAGE_ERRORS",
    "Buffer",
    "CacheDirectory",
    "CacheSettings",
    "CachedFile",
    "CountingStore",
    "LocalFile",
    "LocalStorage",
    "RangeCache",
    "StagedWrite",
    "Storage",
    "StorageWarning",
    "StoreFactory",
    "StoredObject",
    "Traffic",
    "cache_settings",
    "from_to",
    "is_remote",
    "join",
    "log_request",
    "logs_requests",
    "make_store",
    "normalize_root",
    "open_storage",
    "staged_name",
    "store_name",
]

# The errors of reads through a zarr Store that are due to the storage, not to damaged bytes.
STORAGE_ERRORS = (OSError, BaseError)

DRIVERS = ("obstore", "fsspec")


def is_remote(root: str | os.PathLike[str]) -> bool:
    """Return whether `root` is a URL outside of the local file system."""
    return "://" in str(root) and not str(root).startswith("file://")


def normalize_root(root: str | os.PathLike[str]) -> str:
    """Return a root in its normal form: an absolute local path, or a URL without a slash at its end.

    Raises
    ------
    ArgumentError
        `root` is empty, or its text cannot be a path or URL.
    """
    text = os.fspath(root)
    if not text:
        raise ArgumentError("store root: expected a path or URL, got an empty string; name a directory or URL")
    try:
        os.fsencode(text)
        if "://" in text:
            urlsplit(text)
    except ValueError as error:
        raise ArgumentError(f"store root: expected a path or URL, got {text!r} ({error}); correct it") from error
    if "\0" in text:
        raise ArgumentError(f"store root: expected a path or URL, got {text!r}, which holds a NUL; remove the NUL")
    if is_remote(text):
        return text.rstrip("/") if not text.endswith("://") else text
    if text.startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    return str(Path(text).absolute())


def join(root: str | os.PathLike[str], relpath: str) -> str:
    """Return the path or URL of `relpath` below `root`."""
    base = normalize_root(root)
    return f"{base}/{relpath}" if is_remote(base) else str(Path(base, relpath))


def open_storage(root: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Storage:
    """Open the storage at the root of a store, which need not exist. Nothing is read or written yet.

    Parameters
    ----------
    root : str or path
        Local path, ``file://``, or any URL that obstore or fsspec knows.
    storage_options : mapping, optional
        Options for obstore (``s3://``, ``gs://``, ``az://``, ``http(s)://``) or fsspec (all other URLs). The key
        ``driver`` chooses between the two: ``{"driver": "fsspec", "key": …}`` uses s3fs for ``s3://``.

    Raises
    ------
    ArgumentError
        There are options for a local path, or an unknown option.
    StorageError
        The URL cannot be opened.
    """
    base, options = normalize_root(root), dict(storage_options or {})
    if not is_remote(base):
        if options:
            raise ArgumentError(
                f"storage_options: a local path takes no options, got {sorted(options)}; leave them out"
            )
        return LocalStorage(base)
    default = "obstore" if urlsplit(base).scheme in OBSTORE_PROTOCOLS else "fsspec"
    driver = options.pop("driver", default)
    require_one_of("storage_options['driver']", driver, DRIVERS)
    return ObstoreStorage(base, options) if driver == "obstore" else FsspecStorage(base, options)


def make_store(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Store:
    """Open the group at `path`, a path or URL, as a zarr Store."""
    base = normalize_root(path)
    parent, _, name = base.rpartition("/")
    return open_storage(parent, storage_options).zarr_store(name, read_only=read_only)
