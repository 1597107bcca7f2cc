"""Storage on any fsspec file system: ``memory://``, ``sftp://``, ``hdfs://``, …, and s3fs on request."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from zarr.abc.store import Store
from zarr.storage import FsspecStore

from noether.data.zarr_store.errors import ArgumentError, StorageError, StoreError
from noether.data.zarr_store.stores.base import Buffer, StorageByObjects, StoredObject, require_size
from noether.data.zarr_store.stores.forks import keep_in_forks
from noether.data.zarr_store.stores.request_log import from_to, logged
from noether.data.zarr_store.stores.staging import StagedWrite, staged_name, target_of

__all__ = ["FsspecStorage"]

# File systems whose writes are atomic and that need no directories. On all others, a file is written under a staged
# name and moved into place, if the file system can move files.
_OBJECT_PROTOCOLS = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "hf"})

# The keys of file systems for an entity tag, then for the time of the last change.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified", "created")

# Larger objects are written piece by piece, not from memory at once.
_WHOLE_BYTES = 8 << 20

# fsspec has no conditional put. This lock replaces it within a process; between processes nothing does.
_update_lock = threading.Lock()


def _renew_update_lock() -> None:
    """Create a new lock in a forked process: a thread of its parent can have held the lock at the fork."""
    global _update_lock
    _update_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_update_lock)


class FsspecStorage(StorageByObjects):
    """The files below one fsspec URL; see `Storage`.

    Parameters
    ----------
    root : str
        Any URL that fsspec opens.
    options : mapping
        Keyword arguments of the file system.

    Notes
    -----
    Concurrent updates by several processes can lose changes, since fsspec has no conditional put.
    """

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self.root = root
        self._options = dict(options)
        self._pid = os.getpid()
        with _reported(f"cannot open {root}"):
            self._opened, self._path = self._open()
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        # The inherited `mv` copies the file, which is as unsafe as a write in place.
        moves = type(self._fs).mv is not AbstractFileSystem.mv
        self._has_directories = not protocols & _OBJECT_PROTOCOLS
        self._stages = moves and self._has_directories

    @property
    def _fs(self) -> Any:
        # File systems with their own thread refuse to work in a forked process, so that process opens a new one.
        if self._pid != os.getpid():
            self._opened, _ = self._open()
            self._pid = os.getpid()
        return self._opened

    def _open(self) -> tuple[Any, str]:
        fs, path = url_to_fs(self.root, **self._options)
        _require_address(self.root, getattr(fs, "endpoint_url", None))
        keep_in_forks(fs)
        return fs, path

    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        return logged(f"read {key}", lambda: self._read_whole(key, max_bytes), lambda data: len(data or b""))

    def _read_whole(self, key: str, max_bytes: int | None) -> bytes | None:
        with _reported(f"cannot read {self.root}/{key}"):
            try:
                size = None if max_bytes is None else self._fs.size(self._at(key))
                if size is not None and max_bytes is not None:  # some servers report no sizes
                    require_size(size, max_bytes, f"{self.root}/{key}")
                return bytes(self._fs.cat_file(self._at(key)))
            except FileNotFoundError:
                return None

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a byte range of a file; see `Storage`."""
        with _reported(f"cannot read {self.root}/{key}"):
            return logged(
                f"read {key}, {from_to(start, length)}",
                lambda: bytes(self._fs.cat_file(self._at(key), start=start, end=start + length)),
                len,
            )

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Read the end of a file; see `Storage`."""
        what = f"read {key}, its last {length} bytes"
        return logged(what, lambda: self._read_tail(key, length), lambda found: 0 if found is None else len(found[0]))

    def _read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        with _reported(f"cannot read {self.root}/{key}"):
            try:
                size = int(self._fs.size(self._at(key)))
                return bytes(self._fs.cat_file(self._at(key), start=max(size - length, 0), end=size)), size
            except FileNotFoundError:
                return None

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a file; see `Storage`. Unlike there, updates by other processes can get lost."""
        with _update_lock:
            new = change(self.read_if_there(key))
            try:
                self._put(key, [new])
            except StorageError:
                self._require_bucket(key)
                raise

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List files; see `Storage`."""
        top = self._at("")
        with _reported(f"cannot list {self.root}/{prefix}"):
            self._fs.invalidate_cache()
            found = logged(f"list {prefix or 'the root'}", lambda: self._fs.find(self._at(prefix), detail=True))
        for path, info in found.items():
            if info["type"] == "file":  # s3fs lists a directory that has become empty
                yield StoredObject(path.removeprefix(top).lstrip("/"), int(info["size"]), _version(info))

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open a group as a zarr Store; see `Storage`."""
        store = FsspecStore.from_url(f"{self.root}/{relpath}", storage_options=self._options, read_only=read_only)
        keep_in_forks(store.fs)
        return store

    def _at(self, key: str) -> str:
        return f"{self._path}/{key}" if key else self._path

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        logged(f"write {key}", lambda: self._put_parts(key, parts))

    def _put_parts(self, key: str, parts: Iterable[bytes]) -> None:
        path = self._at(key)
        with _reported(f"cannot write {self.root}/{key}"):
            if not self._stages:
                self._write(path, parts)
                return
            parent, _, name = path.rpartition("/")
            staged = f"{parent}/{staged_name(name)}"
            self._fs.makedirs(parent, exist_ok=True)
            try:
                self._write(staged, parts)
                self._fs.mv(staged, path)
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    self._fs.rm_file(staged)
                raise

    def _write(self, path: str, parts: Iterable[bytes]) -> None:
        """Write a small object at once, and a large one piece by piece."""
        parts, head = iter(parts), bytearray()
        for part in parts:
            head += part
            if len(head) > _WHOLE_BYTES:
                break
        else:
            self._fs.pipe_file(path, bytes(head))
            return
        with self._fs.open(path, "wb") as file:
            file.write(head)
            for part in parts:
                file.write(part)

    def abandoned(self) -> list[StagedWrite]:
        """List the staged writes of killed writers; see `Storage`."""
        if not self._stages:
            return []
        staged = ((item.key, target_of(item.key)) for item in self.objects())
        return [StagedWrite(key, target[0]) for key, target in staged if target is not None]

    def remove_group(self, relpath: str) -> None:
        """Remove a group, and the directories that become empty; see `Storage`."""
        super().remove_group(relpath)
        if not self._has_directories:
            return
        with _reported(f"cannot remove {self.root}/{relpath}"):
            self._fs.invalidate_cache()
            below = [path for path, _, _ in self._fs.walk(self._at(relpath), topdown=False)]
            above = [self._at(str(parent)) for parent in PurePosixPath(relpath).parents][:-1]
            for directory in (*below, *above):
                # Some file systems remove a directory with its content in `rmdir`, so an empty one is required.
                if self._fs.isdir(directory) and not self._fs.ls(directory, detail=False):
                    self._fs.rmdir(directory)
                    self._fs.invalidate_cache()

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Storage`."""
        with _reported(f"cannot delete in {self.root}"):
            for key in keys:
                # One by one: `rm` takes names such as "run_[1]" for patterns, and deletes all matches.
                with suppress(FileNotFoundError):
                    logged(f"delete {key}", partial(self._fs.rm_file, self._at(key)))


def _require_address(root: str, endpoint: object) -> None:
    """Raise `StorageError` if the host of an endpoint does not resolve: s3fs would retry for a long time."""
    url = urlsplit(endpoint) if isinstance(endpoint, str) else None
    if url is None or not url.hostname:
        return
    if url.scheme in getproxies() and not proxy_bypass(url.hostname):
        return  # the proxy resolves names
    try:
        _look_up(url.hostname)
    except socket.gaierror as error:
        if error.errno != socket.EAI_AGAIN:  # the name server did not answer, but can answer the next request
            raise StorageError(
                f"cannot open {root}: the host name {url.hostname} does not resolve; check endpoint_url in "
                "storage_options"
            ) from error


@lru_cache
def _look_up(host: str) -> None:
    """Resolve a host name; a name that has resolved once is not resolved again."""
    socket.getaddrinfo(host, None)


def _version(info: Mapping[str, Any]) -> str:
    return next((str(info[key]).strip('"') for key in _VERSION_KEYS if info.get(key)), "")


@contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        # File systems raise the errors of their clients; those of botocore or paramiko are not OSErrors.
        if isinstance(error, TypeError) and "keyword argument" in str(error):
            raise ArgumentError(f"storage_options: {what}: {error}; use the options of this file system") from error
        raise StorageError(f"{what}: {str(error) or type(error).__name__}") from error
