"""What a directory from elsewhere may hold instead of plain files and directories, and what is done about it.

Links are followed where something is read: on clusters, samples lie on other disks and are linked to. Nothing is
changed or deleted through a link that leaves the root, since a store that came from elsewhere could so have its user's
files replaced. What is read through a link is parsed as a store, and shown to nobody but who has asked for it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from noether.data.zarr_store.errors import StorageError

__all__ = ["DirectoryCount", "open_regular", "require_inside"]

_MAX_DEPTH = 100
# A directory that all samples of a store link to, such as that of a mesh, counts once for each of them.
_FREE_PATHS = 1_000
_PATHS_PER_DIRECTORY = 100


def open_regular(path: str) -> int:
    """Open a file for reading and give its descriptor.

    To open a pipe is to wait for a writer, and a device that is linked to may have no end.

    Raises
    ------
    OSError
        It cannot be opened, or is a directory, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def require_inside(path: Path, root: Path) -> None:
    """Raise `StorageError` where a link leads from the root to the directory of what is to be changed."""
    directory = Path(os.path.realpath(path.parent))
    if not directory.is_relative_to(os.path.realpath(root)):
        raise StorageError(
            f"cannot change {path}: a link leads out of {root} to {directory}, and nothing is changed elsewhere; "
            "make that a store of its own, or mount it in place of the link"
        )


class DirectoryCount:
    """Counts the directories of a listing: links to links can make more paths than there are atoms, of few files."""

    def __init__(self) -> None:
        self._n_paths = 0
        self._directories: set[str] = set()

    def enter(self, real_path: str, depth: int) -> None:
        """Count a directory; `OSError` where there are too many paths to too few, or it lies too deep."""
        self._n_paths += 1
        self._directories.add(real_path)
        if depth > _MAX_DEPTH:
            raise OSError(errno.ELOOP, f"directories lie more than {_MAX_DEPTH} deep in each other")
        if self._n_paths > _FREE_PATHS + _PATHS_PER_DIRECTORY * len(self._directories):
            raise OSError(errno.ELOOP, f"links lead to {len(self._directories)} directories again and again")
