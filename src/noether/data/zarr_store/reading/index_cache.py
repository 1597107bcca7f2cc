"""Local copies of the chunk indexes of remote stores, shared by all processes of a machine."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from noether.data.zarr_store.stores import Storage

__all__ = ["fetch_copy", "forget_copy", "has_named_hash", "index_name"]


def index_name(data: bytes, form: str = "sample_index") -> str:
    """Return the file name of a chunk index: its form, and a hash of its content."""
    return f"{form}-{hashlib.sha256(data).hexdigest()[:16]}.npy"


def has_named_hash(name: str, data: bytes) -> bool:
    """Return whether the content of a chunk index matches the hash in its name."""
    return name == index_name(data, name.partition("-")[0])


def fetch_copy(storage: Storage, name: str) -> Path | BinaryIO | None:
    """Return the path of the local copy of a remote store's index, fetching the index if there is no copy yet.

    Returns the content in memory if it cannot be kept on disk, and None if the store has no such index.
    """
    path = _cached(name)
    if path is not None and path.is_file():
        return path
    data = storage.read_if_there(name)
    if data is None:
        return None
    if path is not None and has_named_hash(name, data):
        with suppress(OSError):  # a full disk, or a read-only home as in containers
            _keep(path, data)
            return path
    return io.BytesIO(data)


def forget_copy(name: str) -> None:
    """Delete the local copy of an index, if there is one."""
    path = _cached(name)
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _cached(name: str) -> Path | None:
    """Return the path of the local copy of a remote index; None if the user has no home."""
    try:
        directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    # The name has a hash of the content, so a copy is never outdated, and never belongs to another store.
    return directory / "noether-zarr-store" / name


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        staged = Path(directory, path.name)
        staged.write_bytes(data)
        staged.replace(path)
