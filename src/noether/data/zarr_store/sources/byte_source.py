"""The bytes of a file, read at any place."""

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
"""More files of a sample are not held open: a process may have 1,024."""

Buffer = bytes | memoryview
# Reads a range of a part: its start, and its length.
Reader = Callable[[int, int], Buffer]


class ByteSource:
    """The bytes of a file, or of the parts that a file was split into. Safe to use from many threads.

    Parameters
    ----------
    parts : sequence of (callable, int)
        What reads a range of each part, from its start and length, and the bytes of the part.
    is_far : bool
        Whether each read is a request to another machine.
    """

    def __init__(self, parts: Sequence[tuple[Reader, int]], *, is_far: bool = False) -> None:
        self.is_far = is_far
        self._readers = [reader for reader, _ in parts]
        self._starts = list(accumulate((size for _, size in parts), initial=0))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._starts[-1]

    def read(self, start: int, stop: int) -> Buffer:
        """Read a range.

        Raises
        ------
        ValueError
            The file ends before, or has changed since it was opened.
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
    """Open a local file, or the parts of one; they are closed with the last reference to what is returned."""
    return ByteSource([(_reader_of(path), path.stat().st_size) for path in paths])


def local_ranges(path: Path, ranges: Sequence[tuple[int, int]]) -> ByteSource:
    """Open ranges of a local file, each its first byte and its stop, as if they were one file."""
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
    """Read an object of a store by ranges, or the parts of one."""

    def reader_of(item: StoredObject) -> Reader:
        def read(start: int, length: int) -> Buffer:
            data: Buffer = storage.read_range(item.key, start, length)
            if len(data) != length:
                raise StorageError(f"cannot read {storage.root}/{item.key}: it changed since it was listed; try again")
            return data

        return read

    return ByteSource([(reader_of(item), item.size) for item in objects], is_far=True)
