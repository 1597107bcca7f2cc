"""Local copies of the files of a sample: libraries that read meshes need local files."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from noether.data.zarr_store.core import check_relative_path, scratch_root
from noether.data.zarr_store.errors import SampleIdError, StorageError
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote

__all__ = ["LocalCopies", "scratch_directory"]

_BLOCK_BYTES = 16 << 20
_REQUESTS = 4


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Yield a new directory below ``TMPDIR``. It is removed with its content on exit.

    Raises
    ------
    StorageError
        The directory cannot be made.
    """
    root = scratch_root()
    with _room_reported(root):
        directory = tempfile.TemporaryDirectory(prefix="noether-zarr-", dir=root)
    with directory as path:
        yield Path(path)


class LocalCopies:
    """Local paths of the files of a sample. Remote files, and files in pieces, are copied first.

    Parameters
    ----------
    storage : Storage
        Storage of the files.
    directory : Path
        Directory for the copies.
    """

    def __init__(self, storage: Storage, directory: Path) -> None:
        self._storage = storage
        self._directory = directory

    def local_file(self, key: str, objects: Sequence[StoredObject], named: Iterable[StoredObject] = ()) -> Path:
        """Return the local path of a file.

        Parameters
        ----------
        key : str
            Name of the file, relative to the storage's root.
        objects : sequence of StoredObject
            The file, or its pieces in order.
        named : iterable of StoredObject
            Files that the file refers to by relative paths; they are fetched with it.

        Raises
        ------
        StorageError
            The storage cannot be read, or the scratch directory cannot be written.
        """
        remote = is_remote(self._storage.root)
        if not remote and [item.key for item in objects] == [key]:
            return Path(self._storage.root, key)
        if remote:
            for item in named:
                self._fetch(item.key, [item])
        return self._fetch(key, objects)

    def _fetch(self, key: str, objects: Sequence[StoredObject]) -> Path:
        path = self._directory / check_relative_path(key, "file")
        with _room_reported(str(self._directory.parent)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                self._copy(objects, file.fileno())
        return path

    def _copy(self, objects: Sequence[StoredObject], descriptor: int) -> None:
        """Write objects one after the other into a file, with several requests at a time."""
        blocks: list[tuple[str, int, int, int]] = []
        end = 0
        for item in objects:
            starts = range(0, item.size, _BLOCK_BYTES)
            blocks += [(item.key, start, min(_BLOCK_BYTES, item.size - start), end + start) for start in starts]
            end += item.size

        def copy_block(block: tuple[str, int, int, int]) -> None:
            key, start, length, target = block
            data = self._storage.read_range(key, start, length)
            if len(data) != length:
                raise StorageError(f"cannot read {self._storage.root}/{key}: it changed since it was listed; try again")
            if os.pwrite(descriptor, data, target) != length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="noether-fetch") as pool:
            for _ in pool.map(copy_block, blocks):
                pass


@contextmanager
def _room_reported(root: str) -> Iterator[None]:
    try:
        yield
    except (StorageError, SampleIdError):
        raise
    except OSError as error:
        raise StorageError(
            f"cannot write temporary files below {root} ({error.strerror or error}); set TMPDIR to a directory with "
            "space for the files of a sample"
        ) from error
