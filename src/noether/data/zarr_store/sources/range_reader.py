"""Python file objects that read files in object storage by byte ranges."""

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

# Buffer for headers: most are smaller, and a request for one byte takes as long as a request for the whole buffer.
_BUFFER_BYTES = 1 << 16
# Blocks for files that are read almost whole: large, so that there are few requests. Several are kept, because
# HDF5 goes back to earlier parts, such as a table of chunks.
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

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # always a memoryview
        length = max(min(len(buffer), self._item.size - self._at), 0)
        data = self._read(self._at, length) if length else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, start: int, length: int) -> Any:
        return self._storage.read_range(self._item.key, start, length)


class _StreamedFile(_RangedFile):
    """A ranged file that keeps the blocks read last, and the error of the storage, if any."""

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
        # At the end of a block these are fewer bytes than requested; the caller then reads again.
        return self._blocks[number][offset : offset + length]

    def _fetch(self, start: int, length: int) -> Any:
        try:
            return super()._read(start, length)
        except StorageError as error:
            self.failure = error
            raise


def open_ranged(storage: Storage, item: StoredObject) -> BinaryIO:
    """Open an object as a file that can seek; each read requests a byte range."""
    return cast(BinaryIO, io.BufferedReader(_RangedFile(storage, item), _BUFFER_BYTES))


def open_head(storage: Storage, item: StoredObject) -> BinaryIO:
    """Open an object to read its header: a remote object as in `open_ranged`, or a local file. The caller closes it."""
    return open_ranged(storage, item) if is_remote(storage.root) else storage.open_file(item.key)


@contextmanager
def streamed(storage: Storage, item: StoredObject) -> Iterator[BinaryIO]:
    """Open an object that is read almost whole, as a file that can seek. Leaving the context does not close it.

    Raises
    ------
    StorageError
        The object could not be read. Raised even if a library has turned the error into another one.
    """
    file = _StreamedFile(storage, item)
    try:
        yield cast(BinaryIO, io.BufferedReader(file))
    except Exception as error:
        # The stream must not keep the error: the error's frames refer to the stream, and HDF5 holds the stream where
        # Python's garbage collector cannot see it.
        failure, file.failure = file.failure, None
        if failure is None or failure is error:
            raise
        raise failure from error
