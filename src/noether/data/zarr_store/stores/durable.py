"""Durable changes of a directory, which survive a loss of power, and atomic replacement of groups."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.stores.staging import FORMER_SUFFIX

__all__ = [
    "SyncedFiles",
    "make_directory",
    "put_in_place",
    "remove_durably",
    "sync_directory",
    "sync_tree",
    "write_durably",
]

# From <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Each file that waits for its sync is open.
_MAX_WAITING = 64


def write_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file durably. After `sync_directory` on its directory, it survives a loss of power."""
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


class SyncedFiles:
    """Files that survive a loss of power once `wait` has returned. A file is synced while the next ones are written.

    Use it as a context manager. Its exit waits for the syncs too, but raises none of their errors.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="noether-sync")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def write(self, path: Path, parts: Iterable[bytes]) -> None:
        """Write a file; it is synced later, in a thread."""
        with path.open("wb") as file:
            file.writelines(parts)
            file.flush()
            descriptor = os.dup(file.fileno())
        self._waiting.append(self._pool.submit(_sync_and_close, descriptor))
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until all files are synced; raise `OSError` if a sync failed."""
        while self._waiting:
            self._waiting.popleft().result()


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    with suppress(PermissionError):  # a user who can add to a directory cannot always list it, and so cannot open it
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Sync the names in a directory to the disk. No-op on Windows, where directories cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync directories; they promise nothing.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Sync a directory and all directories below it."""
    for directory, _, _ in os.walk(path, topdown=False):
        sync_directory(Path(directory))


def put_in_place(staged: Path, path: Path) -> None:
    """Rename a directory to `path`, and remove any former directory there, even if it appears during the call.

    If the system can exchange two directories, `path` exists at every moment. Otherwise, the former directory is moved
    aside first.
    """
    former = staged.with_name(staged.name + FORMER_SUFFIX)
    while not _renamed(staged, path):
        if _exchanged(staged, path):
            _remove(staged)
            return
        with suppress(FileNotFoundError):
            path.rename(former)
        _remove(former)


def remove_durably(path: Path) -> None:
    """Remove a group. Neither a kill nor a loss of power leaves a root ``zarr.json`` whose objects are missing.

    A link is removed, and its target stays. A new group that another process writes there during the call can stay.
    """
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        with suppress(FileNotFoundError):
            (path / ROOT_KEY).unlink()
            sync_directory(path)
        _remove_tree(path)
    with suppress(FileNotFoundError, PermissionError):  # a user who can change a directory cannot always list it
        sync_directory(path.parent)


def _remove_tree(path: Path) -> None:
    while True:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            # Another process removes the same directory, and was faster at this file.
            if path.is_dir():
                continue
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        return


def _renamed(staged: Path, path: Path) -> bool:
    try:
        staged.rename(path)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST} or path.is_symlink():
            return False
        raise
    return True


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two directories, and return whether it worked. It works on Linux, on most of its file systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, TypeError, OSError):  # not Linux, or an old libc
        return False
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _remove(path: Path) -> None:
    # A link is removed, and its target stays.
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
