"""Guards against links, pipes and devices in a directory from an untrusted source.

Reads follow links, since on clusters samples can be links to other disks. Nothing is changed or deleted through a link
that leaves the root: otherwise a malicious store could replace files of its user. A file that was read through a link
is only parsed as a part of the store, and shown only to the user.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from noether.data.zarr_store.errors import StorageError

__all__ = ["DirectoryCount", "open_regular", "require_inside"]

_MAX_DEPTH = 100
# A directory that all samples link to, such as the directory of a mesh, counts once for each sample.
_FREE_PATHS = 1_000
_PATHS_PER_DIRECTORY = 100


def open_regular(path: str) -> int:
    """Open a regular file for reading, and return its descriptor.

    Other files are refused: opening a pipe would wait for a writer, and the content of a device can be endless.

    Raises
    ------
    OSError
        The file cannot be opened, or is a directory, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor


def require_inside(path: Path, root: Path) -> None:
    """Raise `StorageError` if a link between the root and `path` leads out of the root."""
    directory = Path(os.path.realpath(path.parent))
    if not directory.is_relative_to(os.path.realpath(root)):
        raise StorageError(
            f"cannot change {path}: a link leads out of {root} to {directory}, and files outside of the store are not "
            "changed; make that directory a separate store, or mount it in place of the link"
        )


class DirectoryCount:
    """A counter of the directories of a listing. Nested links can make an astronomical number of paths to few files."""

    def __init__(self) -> None:
        self._n_paths = 0
        self._directories: set[str] = set()

    def enter(self, real_path: str, depth: int) -> None:
        """Count a directory. Raise `OSError` for too many paths to the same directories, or for too deep a path."""
        self._n_paths += 1
        self._directories.add(real_path)
        if depth > _MAX_DEPTH:
            raise OSError(errno.ELOOP, f"directories are nested more than {_MAX_DEPTH} deep")
        if self._n_paths > _FREE_PATHS + _PATHS_PER_DIRECTORY * len(self._directories):
            raise OSError(
                errno.ELOOP, f"links make {self._n_paths:,} paths to only {len(self._directories):,} directories"
            )
