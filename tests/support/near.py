"""Remote stores that need no server, and the requests to them."""

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
    """Return a URL of a directory, which any process of this machine reads as a remote store."""
    return f"local://{root}"


@contextmanager
def requests_made() -> Iterator[list[str]]:
    """Yield a list to which the requests of this process are appended, each as its kind and key."""
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
    """Return the bytes that the chunks in a cache take on the disk."""
    return sum(file.n_bytes for file in CacheDirectory(cache_dir).files())
