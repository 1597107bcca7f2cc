"""Whether reads of a store go through a cache on this machine, and through which."""

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
    """Where a cache lies, and the most bytes that all its files take.

    Attributes
    ----------
    directory : str
        Absolute path.
    limit : int
        In bytes.
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
    """Return the cache of a store, by arguments or environment; None without one.

    Parameters
    ----------
    cache_dir : str or path, optional
        A directory of this machine; that of the environment unless it is given.
    cache_limit : int or str, optional
        Most bytes of all its files, such as ``"200 GB"``; that of the environment unless it is given.
    is_remote : bool
        Whether the store is remote. A local one is not cached.
    has_factory : bool
        Whether a caller's zarr Store carries every byte.

    Raises
    ------
    ArgumentError
        A size is malformed, a limit has no directory, or a directory comes with a `store_factory`.

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
            raise ArgumentError(f"cache_limit: expected cache_dir (or {CACHE_DIR_VARIABLE}) beside it")
    else:
        limit = parse_byte_size(os.environ.get(CACHE_LIMIT_VARIABLE) or DEFAULT_CACHE_LIMIT, CACHE_LIMIT_VARIABLE)
    if directory is None:
        return None
    if not directory:
        raise ArgumentError("cache_dir: expected a path, got an empty string")
    if "://" in directory:
        raise ArgumentError(f"cache_dir: expected a directory of this machine, got the URL {directory!r}")
    if has_factory:
        if cache_dir is not None:
            raise ArgumentError("cache_dir: with a store_factory, that carries every byte; leave one of the two out")
        return None
    if not is_remote:
        if cache_dir is not None:
            warn_once(f"cache_dir {directory}: the store is local, so it is not cached; leave cache_dir out")
        return None
    return CacheSettings(str(Path(directory).expanduser().absolute()), limit)
