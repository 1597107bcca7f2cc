"""A file in object storage that is read as far as one looks at it."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["open_ranged"]

# The heads of files are this small, and a request takes as long for a byte as for so many.
_BUFFER_BYTES = 1 << 16


class _RangedFile(io.RawIOBase):
    def __init__(self, storage: Storage, item: StoredObject) -> None:
        self._storage = storage
        self._item = item
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._item.size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # it is one
        length = max(min(len(buffer), self._item.size - self._at), 0)
        data = self._storage.read_range(self._item.key, self._at, length) if length else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_ranged(storage: Storage, item: StoredObject) -> BinaryIO:
    """Open an object for reading by ranges, as a file that can seek."""
    return cast(BinaryIO, io.BufferedReader(_RangedFile(storage, item), _BUFFER_BYTES))
