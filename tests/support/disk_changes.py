"""The changes that a program makes to a disk, one after the other, and what is left of them after a loss of power."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from noether.data.zarr_store.stores import durable
from support.forks import PATIENCE_SECONDS

__all__ = ["Disk", "States", "changes_seen", "count_changes", "killed_before", "put_files"]

# In a directory: inodes by name, and whether they are directories.
Names = dict[str, tuple[int, bool]]

_CHANGES = ("fsync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir")


@contextmanager
def changes_seen(before: Callable[[], object], after_sync: Callable[[int], object] = int) -> Iterator[None]:
    """Have `before` called before each change of the disk, and `after_sync` with each descriptor that was synced."""

    def seen(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            before()
            result = change(*args, **kwargs)
            if change is fsync:
                after_sync(*args)
            return result

        return changed

    fsync = os.fsync
    with ExitStack() as patched:
        for name in _CHANGES:
            patched.enter_context(patch.object(os, name, seen(getattr(os, name))))
        patched.enter_context(patch.object(durable, "_exchanged", seen(durable._exchanged)))
        yield


def count_changes(work: Callable[[], object]) -> int:
    """Do work, and count the changes that it makes to disks."""
    numbers = itertools.count()  # threads may share it
    with changes_seen(lambda: next(numbers)):
        work()
    return next(numbers)


def killed_before(number: int, work: Callable[[], object]) -> None:
    """Do work in a forked process that is killed before a change of a disk: the first has the number 0."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_SECONDS)
        numbers = itertools.count()

        def count() -> None:
            if next(numbers) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with changes_seen(count):
                work()
        except BaseException:  # noqa: BLE001 - nothing of pytest's is to go on in this process
            traceback.print_exc()
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


class Disk:
    """What a disk is sure to hold after a loss of power: bytes of files, and names in directories, that were synced.

    Parameters
    ----------
    directory : Path
        What is looked at. It is there, as it is now, whatever happens.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, Names] = {}
        # Nobody gets an inode that is held open.
        self._held: dict[int, int] = {}
        for path in (directory, *directory.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            self.sync(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Let go of what was synced."""
        for descriptor in self._held.values():
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Take down a file or directory as it is."""
        found = os.fstat(descriptor)
        if found.st_ino not in self._held:
            self._held[found.st_ino] = os.dup(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = _names_in(path)
        else:
            self._bytes[found.st_ino] = path.read_bytes()

    def files(self, *early: Path) -> dict[str, bytes]:
        """Give the files that are left if the power fails now, by path; those whose bytes were not synced are empty.

        Systems may keep more than was synced, and so names in some directories `early`: as they are now.
        """
        now = {path.stat().st_ino: _names_in(path) for path in early if path.is_dir()}
        return dict(self._walk(self._directory.stat().st_ino, "", self._names | now))

    def _walk(self, inode: int, at: str, names: dict[int, Names]) -> Iterator[tuple[str, bytes]]:
        for name, (inner, is_directory) in names.get(inode, {}).items():
            if is_directory:
                yield from self._walk(inner, f"{at}{name}/", names)
            else:
                yield f"{at}{name}", self._bytes.get(inner, b"")


class States:
    """What a loss of power leaves of some directories at one moment after another, where that differs."""

    def __init__(self, disk: Disk, *directories: Path) -> None:
        self._disk = disk
        self._directories = directories
        self._found: dict[tuple[tuple[str, bytes], ...], None] = {}

    def take(self) -> None:
        """Note what would be left at this moment."""
        # Names may reach the disk before what they name, and after.
        for files in (self._disk.files(), self._disk.files(*self._directories)):
            self._found[tuple(sorted(files.items()))] = None

    def all(self) -> list[dict[str, bytes]]:
        """Return the files of each state, in the order in which they were noted."""
        return [dict(files) for files in self._found]


def put_files(directory: Path, files: dict[str, bytes]) -> None:
    """Make a directory that holds some files and nothing else."""
    shutil.rmtree(directory, ignore_errors=True)
    for key, data in files.items():
        (directory / key).parent.mkdir(parents=True, exist_ok=True)
        (directory / key).write_bytes(data)


def _names_in(directory: Path) -> Names:
    with os.scandir(directory) as entries:
        return {entry.name: (entry.inode(), entry.is_dir()) for entry in entries}
