"""File locks of the operating system. On a file system without them, the existence of a lock file replaces them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores.weaknesses import warn_once

__all__ = ["locked"]

_LOCK_SECONDS = 60.0

# EOPNOTSUPP inside the Linux kernel; some file systems, such as NFS, return it to programs.
_ENOTSUPP = 524
# The errors of NFS without a lock daemon and of Lustre mounted without flock.
_HAS_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, _ENOTSUPP})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file. If the file does not exist in the end, its lock file is deleted too.

    Raises
    ------
    StorageError
        Another process holds the lock for over a minute.
    """
    lock_file = path.with_name(f".{path.name}.lock")
    lock = _acquire(path, lock_file)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no file that is open
            if not path.exists():
                # Under the lock: a process that waits for it notices the deletion, and creates a new lock file.
                lock_file.unlink()
        lock.release()


def _acquire(path: Path, lock_file: Path) -> BaseFileLock:
    lock = FileLock(lock_file, timeout=_LOCK_SECONDS, fallback_to_soft=False)  # its fallback is for ENOSYS only
    try:
        return _acquired(lock, path, "wait for it to end")
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in _HAS_NO_LOCKS:
            raise
        marker = lock_file.with_name(f"{lock_file.name}-file")
        reason = f"errno {_ENOTSUPP}" if error.errno == _ENOTSUPP else error.strerror
        warn_once(
            f"{lock_file.parent}: this file system has no locks ({reason}). Files named .*.lock-file replace them "
            "during changes of the store. If a killed process leaves such a file, delete it."
        )
        way_out = f"wait for it to end, or delete {marker} if it was killed"
        return _acquired(SoftFileLock(marker, timeout=_LOCK_SECONDS), path, way_out)


def _acquired(lock: BaseFileLock, path: Path, way_out: str) -> BaseFileLock:
    try:
        lock.acquire()
    except Timeout:
        raise StorageError(f"{path}: locked by another process for over {_LOCK_SECONDS:.0f} s; {way_out}") from None
    return lock
