"""Storage on a local or mounted file system."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from zarr.abc.store import Store
from zarr.storage import LocalStore

from noether.data.zarr_store.core import ROOT_KEY, BoundedCache
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores.base import MAX_DOCUMENT_BYTES, Buffer, StoredObject, require_size
from noether.data.zarr_store.stores.durable import (
    SyncedFiles,
    make_directory,
    put_in_place,
    remove_durably,
    sync_directory,
    sync_tree,
    write_durably,
)
from noether.data.zarr_store.stores.local_guards import DirectoryCount, open_regular, require_inside
from noether.data.zarr_store.stores.locks import locked
from noether.data.zarr_store.stores.request_log import from_to, logged, logs_requests
from noether.data.zarr_store.stores.staging import (
    FORMER_SUFFIX,
    StagedWrite,
    is_running,
    staged_here,
    staged_name,
    staged_prefix,
    target_of,
)

__all__ = ["LocalStorage"]

# Opening a file takes several times as long as reading a draw from it. Most systems allow 1,024 open files.
_MAX_OPEN_FILES = 128

_WAYS_OUT = {
    errno.ENOSPC: "free space on this disk, and run the command again",
    errno.EDQUOT: "free space within your quota, and run the command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) or use smaller shards, and run the command again",
    errno.ELOOP: "remove these links or directories",
    errno.EROFS: "mount it for writing, or use another path",
    errno.EACCES: "ask its owner for the permission, or use another path",
}


class OpenFile:
    """A file descriptor that is closed when no thread references this object any more; see `LocalFile`."""

    __slots__ = ("descriptor",)

    def __init__(self, path: str) -> None:
        self.descriptor = open_regular(path)

    def __del__(self) -> None:
        # The attribute is missing if opening failed.
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class LocalStorage:
    """The files below one directory; see `Storage`.

    A group is staged beside its path, under a name that starts with a dot, and then renamed.
    """

    n_retries = 0

    def __init__(self, root: str) -> None:
        self.root = root
        self._root = Path(root)
        self._files: BoundedCache[OpenFile] = BoundedCache(_MAX_OPEN_FILES)

    def read_if_there(self, key: str) -> bytes | None:
        """Read a file; see `Storage`."""
        return logged(f"read {key}", lambda: self._read(key), lambda data: len(data or b""))

    def _read(self, key: str) -> bytes | None:
        with _reported(f"cannot read {self._root / key}"):
            try:
                file = FileIO(open_regular(f"{self.root}/{key}"))
            except FileNotFoundError:
                return None
            with file:
                require_size(os.fstat(file.fileno()).st_size, MAX_DOCUMENT_BYTES, f"{self.root}/{key}")
                return file.readall()

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a byte range of a file; see `Storage`."""
        if logs_requests():
            return logged(f"read {key}, {from_to(start, length)}", lambda: self._read_range(key, start, length), len)
        return self._read_range(key, start, length)

    def _read_range(self, key: str, start: int, length: int) -> bytes:
        try:
            file = self._files.get(key) or self._open_kept(key)
            return os.pread(file.descriptor, length, start)
        except OSError as error:
            raise StorageError(f"cannot read {self._root / key}: {error.strerror}") from error

    def local_file(self, key: str) -> OpenFile | None:
        """Return an open file, or None if it cannot be opened; see `Storage`."""
        file = self._files.get(key)
        if file is None:
            with suppress(OSError):
                file = self._open_kept(key)
        return file

    def _open_kept(self, key: str) -> OpenFile:
        file = OpenFile(f"{self.root}/{key}")
        self._files.put(key, file)
        return file

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Read the end of a file; see `Storage`."""
        what = f"read {key}, its last {length} bytes"
        return logged(what, lambda: self._read_tail(key, length), lambda found: 0 if found is None else len(found[0]))

    def _read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        try:
            with FileIO(open_regular(f"{self.root}/{key}")) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - length, 0))
                return file.read(min(length, size)) or b"", size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._root / key}: {error.strerror}") from error

    def open_file(self, key: str) -> BinaryIO:
        """Open a file; see `Storage`."""
        return BufferedReader(self._open(key))

    def write(self, key: str, data: bytes) -> None:
        """Stage a file and rename it; see `Storage`."""
        self._write(key, data, None)

    def _write(self, key: str, data: bytes, current: bytes | None) -> None:
        """Stage a file, and rename it unless the file already has these bytes. The staging proves write access."""
        path = self._root / key
        require_inside(path, self._root)
        staged = path.with_name(staged_name(path.name))
        with _reported(f"cannot write {path}"):
            try:
                make_directory(path.parent)
                write_durably(staged, [data])
                if data != current:
                    staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)
            sync_directory(path.parent)

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a file under a lock; see `Storage`."""
        path = self._root / key
        # The lock file lies at the root of the store. The roots of all groups share one lock.
        with _reported(f"cannot write {path}"), _made(self._root), locked(self._root / path.name):
            current = self.read_if_there(key)
            self._write(key, change(current), current)

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Stage a group and rename it; see `Storage`."""
        path = self._root / relpath
        require_inside(path, self._root)
        staged = path.with_name(staged_name(path.name))
        with _reported(f"cannot write {path}"):
            try:
                make_directory(path.parent)
                with SyncedFiles() as files:
                    for key, parts in objects:
                        file = staged / key
                        file.parent.mkdir(parents=True, exist_ok=True)
                        if key == ROOT_KEY:
                            files.wait()
                        files.write(file, parts)
                    files.wait()
                sync_tree(staged)
                put_in_place(staged, path)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
            sync_directory(path.parent)

    def remove_group(self, relpath: str) -> None:
        """Remove a group, and the directories that become empty; see `Storage`."""
        self.require_changeable(relpath)
        path = self._root / relpath
        with _reported(f"cannot remove {path}"):
            # Staged copies are removed first. After the group's removal, a recovery would restore one of them.
            for staged in self._abandoned(path.parent.glob(f".{glob.escape(path.name)}.*")):
                if staged.target == relpath:
                    remove_durably(self._root / staged.key)
            remove_durably(path)
        self._remove_empty(path.parent)

    def require_changeable(self, relpath: str) -> None:
        """Raise `StorageError` if a link leaves the root; see `Storage`."""
        require_inside(self._root / relpath, self._root)

    def is_linked(self, relpath: str) -> bool:
        """Return whether the path has a link; see `Storage`."""
        below = [self._root / relpath, *(self._root / parent for parent in Path(relpath).parents[:-1])]
        return any(path.is_symlink() for path in below)

    def remove_staged(self, relpath: str, pid: int) -> None:
        """Remove the staged copies of a killed process; see `Storage`."""
        path = self._root / relpath
        for left in path.parent.glob(f"{glob.escape(staged_prefix(path.name, pid))}*"):
            shutil.rmtree(left, ignore_errors=True)

    def abandoned(self) -> list[StagedWrite]:
        """List the staged writes of killed writers; see `Storage`."""
        with _reported(f"cannot list {self._root}"):
            return self._abandoned(self._hidden(self._root, 0, DirectoryCount()))

    def recover_own(self, relpaths: Iterable[str]) -> None:
        """Recover the staged writes of killed processes of this machine; see `Storage`."""
        directories = {self._root, *((self._root / relpath).parent for relpath in relpaths)}
        # A failure, such as when another process recovers the same write, changes nothing.
        for directory in sorted(directories):
            with suppress(OSError):
                hidden = [path for path in directory.iterdir() if staged_here(path.name)]
                for staged in self._abandoned(hidden):
                    self.recover(staged)

    def _abandoned(self, hidden: Iterable[Path]) -> list[StagedWrite]:
        """List the staged writes among hidden files and directories whose writers have ended."""
        found = [(path, target_of(path.relative_to(self._root).as_posix())) for path in hidden]
        lost: set[str] = set()
        abandoned = []
        # A former group comes first, since the manifest lists this version.
        for path, staged in sorted(found, key=lambda item: (not item[0].name.endswith(FORMER_SUFFIX), item[0])):
            if staged is None or (staged[1] is not None and is_running(staged[1])):
                continue
            target = staged[0]
            restores = (path / ROOT_KEY).is_file() and target not in lost and not (self._root / target).exists()
            lost |= {target} if restores else set()
            abandoned.append(StagedWrite(path.relative_to(self._root).as_posix(), target, restores))
        return abandoned

    def recover(self, staged: StagedWrite) -> None:
        """Move a group back, or remove a staged write; see `Storage`."""
        path = self._root / staged.key
        with _reported(f"cannot recover {path}"):
            if staged.restores:
                path.rename(self._root / staged.target)
                sync_directory(path.parent)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _hidden(self, directory: Path, depth: int, count: DirectoryCount) -> Iterator[Path]:
        """Yield the hidden files and directories, which `objects` leaves out. Links are not followed."""
        count.enter(str(directory), depth)
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from self._hidden(Path(entry.path), depth + 1, count)

    def delete(self, keys: list[str]) -> None:
        """Delete files, and the directories that become empty; see `Storage`."""
        for key in keys:
            require_inside(self._root / key, self._root)
            with _reported(f"cannot delete {self._root / key}"):
                (self._root / key).unlink(missing_ok=True)
            self._remove_empty((self._root / key).parent)

    def delete_if_same(self, key: str, data: bytes) -> None:
        """Delete a file if it has these bytes, under its lock; see `Storage`."""
        with _reported(f"cannot delete {self._root / key}"), locked(self._root / key):
            if self.read_if_there(key) == data:
                self.delete([key])
        with suppress(OSError):  # it is not empty
            self._root.rmdir()

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List files in sorted order, without staged files and lock files; see `Storage`."""
        with _reported(f"cannot list {self._root / prefix}"):
            yield from self._walk(self._root / prefix, set(), DirectoryCount())

    def _walk(self, directory: Path, above: set[str], count: DirectoryCount) -> Iterator[StoredObject]:
        """List the files below a directory. Links are followed, except into a directory above."""
        real = os.path.realpath(directory)
        if real in above or not os.path.isdir(real):  # noqa: PTH112 - `real` is a str already
            return
        count.enter(real, len(above))
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from self._walk(Path(entry.path), above | {real}, count)
                else:
                    with suppress(FileNotFoundError):  # a broken link, or a file that was deleted in between
                        stat, key = entry.stat(), Path(entry.path).relative_to(self._root).as_posix()
                        yield StoredObject(key, stat.st_size, str(stat.st_mtime_ns))

    def _remove_empty(self, directory: Path) -> None:
        with suppress(OSError):  # it is not empty
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent

    def _open(self, key: str) -> FileIO:
        # pathlib would take as long as the read of a draw.
        try:
            return FileIO(f"{self.root}/{key}")
        except OSError as error:
            raise StorageError(f"cannot read {self._root / key}: {error.strerror}") from error

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open a group as a zarr Store; see `Storage`."""
        return LocalStore(self._root / relpath, read_only=read_only)


@contextmanager
def _made(directory: Path) -> Iterator[None]:
    """Create a directory with its parents. If the body fails, remove the created directories that are empty."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    try:
        make_directory(directory)
        yield
    except BaseException:
        for one in missing:
            with suppress(OSError):  # it was not created, or is not empty
                one.rmdir()
        raise


@contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        way_out = _WAYS_OUT.get(error.errno or 0)
        raise StorageError(f"{what}: {error.strerror or error}{f'; {way_out}' if way_out else ''}") from error
