"""The directory of a cache: its marker, its files, and its limit.

The processes of a machine share the directory. Writes and removals hold its lock, so that the written bytes fit and no
process writes to a removed file. A killed process leaves the lock free. The recorded number of bytes can then be too
high, never too low. Only files whose names match the patterns below are removed, and no link is followed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["BLOCK_BYTES", "CacheDirectory", "CachedFile", "store_name"]

MARKER = "noether-zarr-cache"
_MARKER_TEXT = b"A cache of noether-zarr. It may be deleted at any time; put nothing else here.\n"
_LOCK, _USAGE = f"{MARKER}.lock", f"{MARKER}.usage"
_STORE = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(r"[0-9a-f]{32}\.part")
# Name of the file with the root of a store, for human readers.
_NAME = "store"

# A process that holds the lock for longer is stopped, or its disk hangs. Then other processes work without the cache.
_LOCK_SECONDS = 2.0
_POLL_SECONDS = 0.001
# Above the limit, files are removed down to this share of it, so that the next removal is not needed at once.
_KEPT_SHARE = 0.9
BLOCK_BYTES = 4096
"""The block size of most file systems."""
_USAGE_DIGITS = 20


class CachedFile(NamedTuple):
    """Some chunks of one shard, at their own offsets.

    Attributes
    ----------
    store, name : str
        Name of its directory in the cache, and its name in that directory.
    n_bytes : int
        Allocated bytes on the disk; byte ranges that were never written take none.
    used_at : int
        Time of its last write or read, in nanoseconds; reads update it once a minute.
    """

    store: str
    name: str
    n_bytes: int
    used_at: int


class CacheDirectory:
    """A directory with the marker of a cache. Safe to use from many threads and processes.

    Parameters
    ----------
    path : path
        Path of the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> None:
        """Create the directory, or take an empty one, and write the marker.

        Raises
        ------
        ArgumentError
            The directory holds other files, or is not a directory.
        OSError
            The directory cannot be created or written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ArgumentError(f"cache_dir: {self.path} is not a directory; name another path")
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_cache():
            return
        # Another process can claim it at the same time; its marker is the first file that it writes.
        if any(self.path.iterdir()) and not self.is_cache():
            raise ArgumentError(
                f"cache_dir: {self.path} is not empty, and no cache of this library (it has no file {MARKER}), and a "
                "cache removes files; name an empty directory"
            )
        with suppress(FileExistsError):
            descriptor = os.open(self.path / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MARKER_TEXT)

    def is_cache(self) -> bool:
        """Return whether the directory has the marker."""
        try:
            return stat.S_ISREG((self.path / MARKER).lstat().st_mode)
        except OSError:
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. Raise `TimeoutError` if another process or thread holds it for over 2 s."""
        import fcntl  # only here, since Windows has no such module

        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            _wait_for_lock(descriptor)
            yield
        finally:
            # Closing is not enough: a process that was forked in between still has the file open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def open_file(self, store: str, name: str, *, writes: bool = False) -> int:
        """Open a file and return its descriptor; raise `OSError` on failure. A writer must hold the lock."""
        flags = os.O_RDWR | os.O_CREAT if writes else os.O_RDONLY
        directory = os.open(self.path / store, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=directory)
        finally:
            os.close(directory)

    def add_store(self, root: str) -> str:
        """Create the directory of a store if it is missing, and return its name."""
        store = store_name(root)
        directory = self.path / store
        if not directory.is_dir():
            directory.mkdir(exist_ok=True)
            descriptor = os.open(directory / _NAME, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_without_password(root).encode())
        return store

    def stores(self) -> dict[str, str]:
        """Return the roots of the stores by the names of their directories. An unknown root is replaced by the name."""
        roots = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if _STORE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    with suppress(OSError, UnicodeDecodeError):
                        roots[entry.name] = entry.name
                        descriptor = self.open_file(entry.name, _NAME)
                        with os.fdopen(descriptor, "rb") as file:
                            roots[entry.name] = file.read(1 << 16).decode() or entry.name
        return dict(sorted(roots.items(), key=lambda item: item[1]))

    def files(self) -> Iterator[CachedFile]:
        """Yield the files of all stores, in no particular order."""
        for store in self.stores():
            with suppress(FileNotFoundError), os.scandir(self.path / store) as entries:
                for entry in entries:
                    if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        with suppress(FileNotFoundError):
                            found = entry.stat(follow_symlinks=False)
                            yield CachedFile(store, entry.name, found.st_blocks * 512, found.st_mtime_ns)

    def make_room(self, n_bytes: int, limit: int) -> bool:
        """Reserve bytes for a write, and return whether they fit. If needed, remove the least recently used files.

        The caller must hold the lock.
        """
        needed = n_bytes + BLOCK_BYTES
        used = self._usage()
        if used is None or used + needed > limit:
            used = self._shrink(limit, needed)
        fits = used + needed <= limit
        self._set_usage(used + needed if fits else used)
        return fits

    def _shrink(self, limit: int, needed: int) -> int:
        """Remove files until `needed` bytes fit, and some more; return the bytes of the remaining files."""
        files = sorted(self.files(), key=lambda file: file.used_at)
        used = sum(file.n_bytes for file in files)
        if used + needed <= _KEPT_SHARE * limit:  # the recorded number of bytes was too high
            return used
        for file in files:
            if used + needed <= _KEPT_SHARE * limit:
                break
            self._remove(file)
            used -= file.n_bytes
        return used

    def clear(self, store: str | None = None) -> int:
        """Remove the files of one store, or of all; return their number."""
        with self.locked():
            files = [file for file in self.files() if store in (None, file.store)]
            for file in files:
                self._remove(file)
            for one in self.stores():
                if store in (None, one):
                    (self.path / one / _NAME).unlink(missing_ok=True)
                    with suppress(OSError):  # there are other files in it
                        (self.path / one).rmdir()
            self._set_usage(sum(file.n_bytes for file in self.files()))
        return len(files)

    def _remove(self, file: CachedFile) -> None:
        """Remove a file. Its blocks become free at once, even if other processes have it open."""
        with suppress(FileNotFoundError):
            descriptor = self.open_file(file.store, file.name, writes=True)
            try:
                if os.fstat(descriptor).st_nlink == 1:  # else it has a hard link outside of the cache
                    os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)
            (self.path / file.store / file.name).unlink()

    def _usage(self) -> int | None:
        """Return the recorded number of bytes; None if there is no record."""
        try:
            return int((self.path / _USAGE).read_bytes()[:_USAGE_DIGITS])
        except (OSError, ValueError):
            return None

    def _set_usage(self, n_bytes: int) -> None:
        descriptor = os.open(self.path / _USAGE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            os.pwrite(descriptor, b"%0*d\n" % (_USAGE_DIGITS, n_bytes), 0)
        finally:
            os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    """Take a lock by polling. `filelock` polls as well; this loop takes a tenth of its time."""
    import fcntl

    give_up_at = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"another process holds its lock for over {_LOCK_SECONDS:.0f} s") from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def store_name(root: str) -> str:
    """Return the name of the directory of a store."""
    return hashlib.sha256(root.encode()).hexdigest()[:16]


def _without_password(root: str) -> str:
    user, at, _ = urlsplit(root).netloc.rpartition("@")
    return root.replace(f"{user}{at}", "", 1) if at else root
