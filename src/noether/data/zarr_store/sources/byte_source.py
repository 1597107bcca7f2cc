"""The bytes of a file, read in byte ranges."""

from __future__ import annotations

import os
import weakref
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["MAX_OPEN_FILES", "ByteSource", "local_bytes", "local_ranges", "stored_bytes"]

MAX_OPEN_FILES = 256
"""Limit for the files of a sample that are open at once. The usual limit of a process is 1,024."""

Buffer = bytes | memoryview
# Reads a byte range, specified by its start and length.
Reader = Callable[[int, int], Buffer]


class ByteSource:
    """The bytes of a file, or of several files that one file was split into. Safe to use from many threads.

    Parameters
    ----------
    parts : sequence of (callable, int)
        For each file: the function that reads a byte range, specified by its start and length, and the file's size.
    is_far : bool
        Whether each read is a request to another machine.
    """

    def __init__(self, parts: Sequence[tuple[Reader, int]], *, is_far: bool = False) -> None:
        self.is_far = is_far
        self._readers = [reader for reader, _ in parts]
        self._starts = list(accumulate((size for _, size in parts), initial=0))

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self._starts[-1]

    def read(self, start: int, stop: int) -> Buffer:
        """Read the bytes `start` to `stop`.

        Raises
        ------
        ValueError
            The file ends before `stop`, or has become shorter since it was opened.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"it ends at byte {self.size:,}; expected bytes {start:,} to {stop:,}")
        pieces = []
        while start < stop:
            part = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[part + 1])
            pieces.append(self._readers[part](start - self._starts[part], end - start))
            if len(pieces[-1]) != end - start:
                raise ValueError("it has become shorter")
            start = end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def local_bytes(paths: Sequence[Path]) -> ByteSource:
    """Open a local file, or the files that one file was split into.

    The files are closed when the last reference to the returned object is dropped.
    """
    return ByteSource([(_reader_of(path), path.stat().st_size) for path in paths])


def local_ranges(path: Path, ranges: Sequence[tuple[int, int]]) -> ByteSource:
    """Open byte ranges of a local file, specified by first byte and stop, as if they were one file."""
    read = _reader_of(path)
    return ByteSource([(_from(read, start), stop - start) for start, stop in ranges])


def _reader_of(path: Path) -> Reader:
    descriptor = os.open(path, os.O_RDONLY)

    def read(start: int, length: int) -> bytes:
        return os.pread(descriptor, length, start)

    weakref.finalize(read, os.close, descriptor)
    return read


def _from(read: Reader, first: int) -> Reader:
    return lambda start, length: read(first + start, length)


def stored_bytes(storage: Storage, objects: Sequence[StoredObject]) -> ByteSource:
    """Return the bytes of a stored object, or of the objects that one file was split into."""

    def reader_of(item: StoredObject) -> Reader:
        def read(start: int, length: int) -> Buffer:
            data: Buffer = storage.read_range(item.key, start, length)
            if len(data) != length:
                raise StorageError(f"cannot read {storage.root}/{item.key}: it changed since it was listed; try again")
            return data

        return read

    return ByteSource([(reader_of(item), item.size) for item in objects], is_far=True)
