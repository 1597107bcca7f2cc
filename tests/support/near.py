"""Remote stores that need no server, and the requests that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.stores.cache_directory import CacheDirectory
from noether.data.zarr_store.stores.fsspec_store import FsspecStorage

__all__ = ["as_remote", "disk_bytes", "requests_made"]


def as_remote(root: Path) -> str:
    """Return the URL of a directory that is read like a remote store, by any process of this machine."""
    return f"local://{root}"


@contextmanager
def requests_made() -> Iterator[list[str]]:
    """Yield a list that takes the requests of this process, each as its kind and key."""
    made: list[str] = []

    def listed(name: str) -> Any:
        original = getattr(FsspecStorage, name)

        def call(self: FsspecStorage, key: str = "", *args: Any) -> Any:
            made.append(f"{name} {key}")
            return original(self, key, *args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_range", "read_tail", "_read", "objects"):
            patch.setattr(FsspecStorage, name, listed(name))
        yield made


def disk_bytes(cache_dir: Path) -> int:
    """Return what the chunks in a cache take on the disk."""
    return sum(file.n_bytes for file in CacheDirectory(cache_dir).files())
