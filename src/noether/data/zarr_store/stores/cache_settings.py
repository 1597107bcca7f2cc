"""The settings of the cache on this machine for reads of remote stores, from arguments and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from noether.data.zarr_store.core import parse_byte_size
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.stores.weaknesses import warn_once

__all__ = ["CACHE_DIR_VARIABLE", "CACHE_LIMIT_VARIABLE", "DEFAULT_CACHE_LIMIT", "CacheSettings", "cache_settings"]

CACHE_DIR_VARIABLE, CACHE_LIMIT_VARIABLE = "NOETHER_ZARR_CACHE_DIR", "NOETHER_ZARR_CACHE_LIMIT"
DEFAULT_CACHE_LIMIT = "100 GB"


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The directory and the limit of a cache.

    Attributes
    ----------
    directory : str
        Absolute path of the directory.
    limit : int
        Largest number of bytes that all files of the cache take.
    """

    directory: str
    limit: int


def cache_settings(
    cache_dir: str | os.PathLike[str] | None,
    cache_limit: int | str | None,
    *,
    is_remote: bool,
    has_factory: bool = False,
) -> CacheSettings | None:
    """Return the settings of the cache of a store, from arguments or the environment; None without a cache.

    Parameters
    ----------
    cache_dir : str or path, optional
        A directory of this machine. The default is the value of ``NOETHER_ZARR_CACHE_DIR``.
    cache_limit : int or str, optional
        Largest size of all files, such as ``"200 GB"``. The default is the value of ``NOETHER_ZARR_CACHE_LIMIT``, or
        else 100 GB.
    is_remote : bool
        Whether the store is remote. A local store is not cached.
    has_factory : bool
        Whether the caller passed a `store_factory`. It then reads all bytes, and nothing is cached.

    Raises
    ------
    ArgumentError
        A size is malformed, a limit has no directory, or a directory is combined with a `store_factory`.

    Warns
    -----
    StorageWarning
        `cache_dir` is given for a local store.
    """
    of_environment = os.environ.get(CACHE_DIR_VARIABLE) or None
    directory = of_environment if cache_dir is None else os.fspath(cache_dir)
    if cache_limit is not None:
        limit = parse_byte_size(cache_limit, "cache_limit")
        if directory is None:
            raise ArgumentError(
                f"cache_limit: expected a directory for the cache, got none; set cache_dir or {CACHE_DIR_VARIABLE}"
            )
    else:
        limit = parse_byte_size(os.environ.get(CACHE_LIMIT_VARIABLE) or DEFAULT_CACHE_LIMIT, CACHE_LIMIT_VARIABLE)
    if directory is None:
        return None
    if not directory:
        raise ArgumentError("cache_dir: expected a path, got an empty string; name a directory of this machine")
    if "://" in directory:
        raise ArgumentError(f"cache_dir: expected a directory of this machine, got {directory!r}; use a local path")
    if has_factory:
        if cache_dir is not None:
            raise ArgumentError("cache_dir, store_factory: expected one of the two, got both; leave one out")
        return None
    if not is_remote:
        if cache_dir is not None:
            warn_once(f"cache_dir {directory}: a local store is not cached; leave cache_dir out")
        return None
    return CacheSettings(str(Path(directory).expanduser().absolute()), limit)
