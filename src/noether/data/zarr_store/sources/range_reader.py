"""A file in object storage that is read as far as one looks at it."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote

__all__ = ["open_head", "open_ranged", "streamed"]

# The heads of files are this small, and a request takes as long for a byte as for so many.
_BUFFER_BYTES = 1 << 16
# What is read as a whole takes few requests, and what HDF5 goes back to, such as a table of chunks, is still there.
_BLOCK_BYTES = 4 << 20
_BLOCKS = 8


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
        data = self._read(self._at, length) if length else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, start: int, length: int) -> Any:
        return self._storage.read_range(self._item.key, start, length)


class _StreamedFile(_RangedFile):
    """Keeps the blocks that were read last, and why one could not be read."""

    def __init__(self, storage: Storage, item: StoredObject) -> None:
        super().__init__(storage, item)
        self.failure: StorageError | None = None
        self._blocks: OrderedDict[int, Any] = OrderedDict()

    def _read(self, start: int, length: int) -> Any:
        if length >= _BLOCK_BYTES:
            return self._fetch(start, length)
        number, offset = divmod(start, _BLOCK_BYTES)
        if number not in self._blocks:
            first = number * _BLOCK_BYTES
            self._blocks[number] = self._fetch(first, min(_BLOCK_BYTES, self._item.size - first))
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        # Fewer bytes where the block ends: whoever reads asks for the rest.
        return self._blocks[number][offset : offset + length]

    def _fetch(self, start: int, length: int) -> Any:
        try:
            return super()._read(start, length)
        except StorageError as error:
            self.failure = error
            raise


def open_ranged(storage: Storage, item: StoredObject) -> BinaryIO:
    """Open an object for reading by ranges, as a file that can seek."""
    return cast(BinaryIO, io.BufferedReader(_RangedFile(storage, item), _BUFFER_BYTES))


def open_head(storage: Storage, item: StoredObject) -> BinaryIO:
    """Do so, where that is not a file of this machine anyway, which is to be closed."""
    return open_ranged(storage, item) if is_remote(storage.root) else storage.open_file(item.key)


@contextmanager
def streamed(storage: Storage, item: StoredObject) -> Iterator[BinaryIO]:
    """Open an object that is to be read for the most part, as a file that can seek. It is not closed at the end.

    Raises
    ------
    StorageError
        It could not be read, whatever the error has been taken for.
    """
    file = _StreamedFile(storage, item)
    try:
        yield cast(BinaryIO, io.BufferedReader(file))
    except Exception as error:
        # The frames of the error know the stream, which HDF5 holds where Python's collector does not look.
        failure, file.failure = file.failure, None
        if failure is None or failure is error:
            raise
        raise failure from error
