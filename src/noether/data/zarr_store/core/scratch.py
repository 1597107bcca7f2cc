"""Temporary files, and the directory for them."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import StorageError

__all__ = ["ScratchFile", "scratch_root"]

# Error codes of file systems that cannot reserve space. On these, a full disk is found when bytes are written.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def scratch_root() -> str:
    """Return the directory for temporary files: ``TMPDIR``, or the default of the system."""
    # tempfile reads TMPDIR only once, which can be before a program sets it.
    return os.environ.get("TMPDIR") or tempfile.gettempdir()


class ScratchFile:
    """A temporary file of a fixed size. It has no name, so nothing is left if the process is killed.

    Several threads can write and read different offsets at the same time.

    Parameters
    ----------
    n_bytes : int
        Size of the file. The space is reserved at once if the file system supports it.
    where : str
        Name of the content, to begin error messages.

    Raises
    ------
    StorageError
        The disk is full, or the directory cannot be written. All methods raise this error too.
    """

    def __init__(self, n_bytes: int, where: str) -> None:
        self._directory = scratch_root()
        self._n_bytes = n_bytes
        self._where = where
        with self._failures():
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  # `close` does
        try:
            with self._failures():
                self._reserve()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and free its space."""
        self._file.close()

    def write(self, values: NDArray[Any], at: int) -> None:
        """Write the bytes of an array, in C order, from offset `at`."""
        rest = values.reshape(-1).view(np.uint8).data
        with self._failures():
            while rest:
                n_written = os.pwrite(self._file.fileno(), rest, at)
                rest, at = rest[n_written:], at + n_written

    def read_into(self, values: NDArray[Any], at: int) -> None:
        """Fill an array, in C order, with the bytes from offset `at`."""
        rest = values.reshape(-1).view(np.uint8).data
        with self._failures():
            while rest:
                n_read = os.preadv(self._file.fileno(), [rest], at)
                if not n_read:
                    raise OSError(errno.EIO, "the file was truncated")
                rest, at = rest[n_read:], at + n_read

    def mapped(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the file as a read-only memory-mapped array.

        The array stays valid after `close`; the space is then freed with the array.
        """
        if not self._n_bytes:
            return np.empty(0, dtype)
        with self._failures():
            return np.frombuffer(mmap.mmap(self._file.fileno(), self._n_bytes, access=mmap.ACCESS_READ), dtype)

    def _reserve(self) -> None:
        if self._n_bytes and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._file.fileno(), 0, self._n_bytes)
            except OSError as error:
                if error.errno not in _CANNOT_RESERVE:
                    raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self._where}: cannot keep {self._n_bytes:,} bytes in a temporary file in {self._directory} "
                f"({error.strerror or error}); set TMPDIR to a directory on a disk with enough free space"
            ) from error
