"""The changes that a program makes to a disk, and the files that remain after a loss of power."""

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
    """Call `before` before each change of the disk, and `after_sync` with each descriptor that was synced."""

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
    """Do work, and return the number of changes that it makes to disks."""
    numbers = itertools.count()  # thread-safe
    with changes_seen(lambda: next(numbers)):
        work()
    return next(numbers)


def killed_before(number: int, work: Callable[[], object]) -> None:
    """Do work in a forked process that is killed before the disk change `number`, counted from 0."""
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
        except BaseException:  # noqa: BLE001 - pytest must not continue in this process
            traceback.print_exc()
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


class Disk:
    """The content of a disk that survives a loss of power: synced bytes of files, and synced names in directories.

    Parameters
    ----------
    directory : Path
        Observed directory. Its current content counts as synced.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, Names] = {}
        # An inode is not reused while it is held open.
        self._held: dict[int, int] = {}
        for path in (directory, *directory.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            self.sync(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors of synced files."""
        for descriptor in self._held.values():
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Record the current content of a file or directory."""
        found = os.fstat(descriptor)
        if found.st_ino not in self._held:
            self._held[found.st_ino] = os.dup(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = _names_in(path)
        else:
            self._bytes[found.st_ino] = path.read_bytes()

    def files(self, *early: Path) -> dict[str, bytes]:
        """Return the files that remain if the power fails now, by path. Files whose bytes were not synced are empty.

        A system can keep more than was synced: the directories `early` have their current names.
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
    """The different states in which a loss of power can leave some directories over time."""

    def __init__(self, disk: Disk, *directories: Path) -> None:
        self._disk = disk
        self._directories = directories
        self._found: dict[tuple[tuple[str, bytes], ...], None] = {}

    def take(self) -> None:
        """Record the files that a loss of power would leave now."""
        # Names can reach the disk before or after the files that they name.
        for files in (self._disk.files(), self._disk.files(*self._directories)):
            self._found[tuple(sorted(files.items()))] = None

    def all(self) -> list[dict[str, bytes]]:
        """Return the files of each state, in the order of recording."""
        return [dict(files) for files in self._found]


def put_files(directory: Path, files: dict[str, bytes]) -> None:
    """Replace a directory with one that holds only these files."""
    shutil.rmtree(directory, ignore_errors=True)
    for key, data in files.items():
        (directory / key).parent.mkdir(parents=True, exist_ok=True)
        (directory / key).write_bytes(data)


def _names_in(directory: Path) -> Names:
    with os.scandir(directory) as entries:
        return {entry.name: (entry.inode(), entry.is_dir()) for entry in entries}
