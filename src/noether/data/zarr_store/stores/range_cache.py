"""A cache on this machine for byte ranges of a remote store's shards, in the view of one process.

An error of the cache is logged once, and reads continue without the cache.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Self

from noether.data.zarr_store.core import BoundedCache
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.stores.base import LocalFile
from noether.data.zarr_store.stores.cache_directory import BLOCK_BYTES, CacheDirectory, store_name
from noether.data.zarr_store.stores.cache_settings import CacheSettings

__all__ = ["RangeCache"]

_logger = logging.getLogger("noether.data.zarr_store.cache")

_MAX_OPEN_FILES = 128
# Interval between updates of the time of last use of a file; the order of files need not be exact.
_TOUCH_SECONDS = 60.0
# Pause of writes after a failure, since a full disk can have free space again later.
_PAUSE_SECONDS = 60.0


class _OpenFile:
    """A file descriptor that is closed when no thread references this object any more; see `LocalFile`."""

    __slots__ = ("descriptor", "touched")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.touched = -_TOUCH_SECONDS

    def __del__(self) -> None:
        os.close(self.descriptor)

    @property
    def is_removed(self) -> bool:
        try:
            return os.fstat(self.descriptor).st_nlink == 0
        except OSError:  # the disk fails; opening the file again raises the error
            return True


class RangeCache:
    """The cached byte ranges of one remote store, for one process. Safe to use from many threads.

    A cached shard is a sparse file with the cached chunks at their offsets, and zeros elsewhere. No list records the
    cached chunks: the checksum of a chunk shows whether it is there.

    Parameters
    ----------
    directory : CacheDirectory
        Directory of the files.
    limit : int
        Largest number of bytes of the files of all stores.
    root : str
        Root of the store.

    Attributes
    ----------
    hits, misses : int
        Number of chunks that this process has read from the cache, and from the store.
    hit_bytes, missed_bytes, stored_bytes : int
        Bytes of these chunks, and bytes that were written to the cache.
    failure : str or None
        Reason of the latest failed read or write.
    """

    def __init__(self, directory: CacheDirectory, limit: int, root: str) -> None:
        self.directory = directory
        self.limit = limit
        self.hits = self.misses = self.hit_bytes = self.missed_bytes = self.stored_bytes = 0
        self.failure: str | None = None
        self._root = root
        self._store = store_name(root)
        self._files: BoundedCache[_OpenFile] = BoundedCache(_MAX_OPEN_FILES)
        self._lock, self._writing = Lock(), Lock()
        self._paused_until = 0.0
        self._is_claimed = False
        self._noted: set[str] = set()

    @classmethod
    def open(cls, settings: CacheSettings, root: str) -> Self:
        """Open the cache of a store.

        Raises
        ------
        ArgumentError
            The directory is neither a cache nor empty.
        """
        cache = cls(CacheDirectory(Path(settings.directory)), settings.limit, root)
        try:
            cache._claim()
        except OSError as error:
            cache._give_up(error)
        return cache

    def _claim(self) -> None:
        self.directory.claim()
        self._is_claimed = True

    def room_for(self, n_bytes: int) -> int:
        """Return the share of a byte range in the limit: its bytes, and one more block at each end."""
        return n_bytes + 2 * BLOCK_BYTES

    def note_once(self, text: str) -> None:
        """Log a warning, once for this store and process."""
        with self._lock:
            is_new = text not in self._noted
            self._noted.add(text)
        if is_new:
            _logger.warning("%s: %s", self._root, text)

    def count(self, *, hits: int = 0, hit_bytes: int = 0, misses: int = 0, missed_bytes: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.hits += hits
            self.hit_bytes += hit_bytes
            self.misses += misses
            self.missed_bytes += missed_bytes

    def files(self, name: str) -> Iterator[LocalFile]:
        """Yield the open file of this name. If it was removed in between, also yield its replacement."""
        file = self._files.get(name)
        if file is not None:
            self._touch(file)
            yield file
            if not file.is_removed:
                return
        file = self._open(name)
        if file is not None:
            self._files.put(name, file)
            self._touch(file)
            yield file

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return a byte range of a file. If the cache lacks a part of it, the bytes are too few or arbitrary."""
        data = b""
        try:
            for file in self.files(name):
                data = os.pread(file.descriptor, length, start)
        except OSError as error:
            self._give_up(error)
        return data

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size. They match the shard if its index was stored."""
        try:
            for file in self.files(name):
                size = os.fstat(file.descriptor).st_size
                if size >= length:
                    return os.pread(file.descriptor, length, size - length), size
        except OSError as error:
            self._give_up(error)
        return b"", 0

    def store(self, name: str, start: int, data: bytes | memoryview) -> None:
        """Write a byte range of a file, if the cache has room for it."""
        with self._writing:  # otherwise the threads of this process would wait for each other's file lock
            if time.monotonic() < self._paused_until:
                return
            try:
                if not self._is_claimed:
                    self._claim()
                with self.directory.locked():
                    if self.directory.make_room(len(data), self.limit):
                        self._write(name, start, data)
                    else:
                        self.note_once(f"{len(data):,} bytes are not cached: the cache_limit is {self.limit:,}")
            except (OSError, ArgumentError) as error:
                self._give_up(error)

    def _write(self, name: str, start: int, data: bytes | memoryview) -> None:
        self.directory.add_store(self._root)
        descriptor = self.directory.open_file(self._store, name, writes=True)
        try:
            view = memoryview(data)
            while view:
                n_written = os.pwrite(descriptor, view, start)
                start, view = start + n_written, view[n_written:]
        finally:
            os.close(descriptor)
        with self._lock:
            self.stored_bytes += len(data)

    def _open(self, name: str) -> _OpenFile | None:
        try:
            return _OpenFile(self.directory.open_file(self._store, name))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                self.note_once(f"cache {self.directory.path}: a link in it is not followed; remove it")
            else:
                self._give_up(error)
            return None

    def _touch(self, file: _OpenFile) -> None:
        now = time.monotonic()
        if now - file.touched >= _TOUCH_SECONDS:
            file.touched = now
            try:
                os.utime(file.descriptor)
            except OSError:  # the file of another user, or a read-only disk
                return

    def _give_up(self, error: OSError | ArgumentError) -> None:
        self._is_claimed = False  # the directory may be gone
        self.failure = getattr(error, "strerror", None) or str(error)
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        self.note_once(
            f"cache {self.directory.path}: {self.failure}; reads continue without the cache, which is tried again "
            "every minute; free space on the disk, or use another cache_dir or cache_limit"
        )
