"""The kinds of storage of a store, and direct access to their files, without the library."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from support.s3_server import S3Server

LOCK_FILE = ".manifest.json.lock"

# "staged" is an fsspec file system that is not an object store, so files are moved into place.
KINDS = ("local", "memory", "s3-obstore", "s3-s3fs", "staged")
PLACES = tuple(pytest.param(kind, marks=pytest.mark.s3 if kind.startswith("s3") else ()) for kind in KINDS)


@dataclass(frozen=True)
class Place:
    """A root with its storage options, and the file system below it."""

    root: str | Path
    options: dict[str, Any] | None
    fs: Any
    path: str

    def files(self) -> dict[str, bytes]:
        """Return all files by key, with hidden files and without the lock of the manifest."""
        self.fs.invalidate_cache()
        found = self.fs.find(self.path, detail=True)
        paths = sorted(path for path, info in found.items() if info["type"] == "file")
        keys = {path.removeprefix(f"{self.path}/"): path for path in paths}
        return {key: self.fs.cat_file(path) for key, path in keys.items() if key != LOCK_FILE}

    def replace(self, key: str, data: bytes) -> None:
        """Replace the bytes of a file."""
        self.fs.pipe_file(f"{self.path}/{key}", data)

    def remove(self, key: str) -> None:
        """Delete a file."""
        self.fs.rm_file(f"{self.path}/{key}")


def local_place(path: Path, root: str | Path | None = None) -> Place:
    return Place(path if root is None else root, None, LocalFileSystem(), str(path))


def make_place(kind: str, request: pytest.FixtureRequest) -> Place:
    """Return an empty place of this kind, which no other test uses."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
    path = tmp_path / "store"
    if kind == "local":
        return local_place(path)
    if kind == "local str":
        return local_place(path, str(path))
    if kind == "file URL":
        return local_place(path, path.as_uri())
    if kind == "staged":
        return local_place(path, f"local://{path}")
    if kind == "memory":
        root = f"/{tmp_path.name}"
        memory = MemoryFileSystem()
        if memory.exists(root):
            memory.rm(root, recursive=True)
        return Place(f"memory:/{root}", None, memory, root)
    server: S3Server = request.getfixturevalue("s3_server")
    root = request.getfixturevalue("s3_root")
    driver = {key: value for key, value in server.s3fs_options.items() if key != "driver"}
    s3 = fsspec.filesystem("s3", **driver)
    options = {"s3-obstore": server.obstore_options, "s3-s3fs": server.s3fs_options}[kind]
    return Place(root, options, s3, root.removeprefix("s3://"))


class _SmallDisk:
    """A file system with space for `budget` bytes. A write that exceeds them is cut and raises `OSError`."""

    budget: int

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        fits = value[: self.budget]
        self.budget -= len(fits)
        super().pipe_file(path, fits, mode=mode, **kwargs)  # type: ignore[misc]  # of the file system it is mixed into
        if len(fits) < len(value):
            raise OSError(errno.ENOSPC, "No space left on device")


class SmallDisk(_SmallDisk, LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A small local disk, on which files are moved into place."""

    protocol = "smalldisk"
    cachable = False

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.budget = budget


class SmallMemory(_SmallDisk, MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A small memory file system, on which files are written in place."""

    protocol = "smallmemory"
    cachable = False

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.budget = budget

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("smallmemory://")))


fsspec.register_implementation("smalldisk", SmallDisk, clobber=True)
fsspec.register_implementation("smallmemory", SmallMemory, clobber=True)
