"""Changes of a directory that outlast a loss of power, and groups that take one another's place in one step."""

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

# Of <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Each is an open file.
_MAX_WAITING = 64


def write_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that outlasts a loss of power, once its name in the directory does."""
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


class SyncedFiles:
    """Files that outlast a loss of power once `wait` has returned: the disk takes one while the next ones are made.

    To be left, as a context, when no more files come; that waits as well, and does not say what has failed.
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
        """Write a file, which is not on the disk yet."""
        with path.open("wb") as file:
            file.writelines(parts)
            file.flush()
            descriptor = os.dup(file.fileno())
        self._waiting.append(self._pool.submit(_sync_and_close, descriptor))
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until all files are on the disk; `OSError` where one of them did not get there."""
        while self._waiting:
            self._waiting.popleft().result()


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, so that they outlast a loss of power."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    with suppress(PermissionError):  # who may add to a directory may not always list it, and so not open it
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory outlast a loss of power, where directories can be opened (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems of networks and other machines cannot, and promise nothing.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Do so for a directory and all below it."""
    for directory, _, _ in os.walk(path, topdown=False):
        sync_directory(Path(directory))


def put_in_place(staged: Path, path: Path) -> None:
    """Rename a directory to a place where another may be, or may come to be meanwhile; the other is removed.

    Where the system can exchange two directories, there is one in that place at every moment. Elsewhere the former one
    is moved aside first.
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
    """Remove a group with all that it holds, so that neither a kill nor a loss of power leaves a root without objects.

    A link is removed, and its target stays. Where another process has put a new group in this place meanwhile, that
    group may stay.
    """
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        with suppress(FileNotFoundError):
            (path / ROOT_KEY).unlink()
            sync_directory(path)
        _remove_tree(path)
    with suppress(FileNotFoundError, PermissionError):  # who may change a directory may not always list it
        sync_directory(path.parent)


def _remove_tree(path: Path) -> None:
    while True:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            # Another process removes the same directory: one of the two comes first at each file.
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
    """Have two names change places, and say whether they did: Linux can, and most of its file systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, TypeError, OSError):  # another system, or an old one
        return False
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _remove(path: Path) -> None:
    # A link is taken away, and what it leads to stays as it is.
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
