"""The stored bytes of an array in a VTK file: raw, or encoded in base64."""

from __future__ import annotations

import binascii
from functools import cached_property

from noether.data.zarr_store.sources.byte_source import Buffer, ByteSource
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError
from noether.data.zarr_store.sources.vtk_xml.document import ArrayHead

__all__ = ["ArrayBytes"]

_STEP_BYTES = 1 << 16


class ArrayBytes:
    """The stored bytes of an array. Safe to use from many threads.

    An array is stored as one text with its header and its values, or as two texts: its header, then its values.
    `first` is the offset of a text in the file. `start` and `stop` count the decoded bytes of that text.

    Parameters
    ----------
    source : ByteSource
        Bytes of the file.
    head : ArrayHead
        Description of the array.
    """

    def __init__(self, source: ByteSource, head: ArrayHead) -> None:
        self._source = source
        self._head = head

    @cached_property
    def start(self) -> int:
        """Offset of the first byte in the file, after leading blanks."""
        at = self._head.start
        while self._head.is_base64 and at < self._head.stop:
            text = self.text(at, min(at + _STEP_BYTES, self._head.stop))
            blanks = len(text) - len(text.lstrip())
            at += blanks
            if blanks < len(text):
                break
        return at

    def room_from(self, first: int) -> int:
        """Return the largest number of decoded bytes from an offset of the file to the end of the array."""
        n_bytes = max(self._head.stop - first, 0)
        return n_bytes * 3 // 4 if self._head.is_base64 else n_bytes

    def encoded_length(self, n_bytes: int) -> int:
        """Return the length in the file of a text of `n_bytes` decoded bytes."""
        return -(-n_bytes // 3) * 4 if self._head.is_base64 else n_bytes

    def read(self, first: int, start: int, stop: int) -> Buffer:
        """Read the decoded bytes `start` to `stop` of the text at offset `first` of the file.

        Raises
        ------
        DamagedArrayError
            The array ends before `stop`, or its text is not base64.
        """
        if not self._head.is_base64:
            return self.text(first + start, first + stop)
        begin = start // 3
        text = self.text(first + 4 * begin, first + self.encoded_length(stop))
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise self.damaged(f"expected base64 at byte {first + 4 * begin:,} ({error})") from error
        found = memoryview(data)[start - 3 * begin : stop - 3 * begin]
        if len(found) != stop - start:
            raise self.damaged(f"its base64 at byte {first:,} ends after {3 * begin + len(data):,} bytes")
        return found

    def text(self, start: int, stop: int) -> bytes:
        """Read a byte range of the file, not decoded. Raises the same errors as `read`."""
        if stop > self._head.stop:
            raise self.damaged(f"it ends at byte {self._head.stop:,}; expected bytes {start:,} to {stop:,}")
        try:
            return bytes(self._source.read(start, stop))
        except ValueError as error:
            raise self.damaged(str(error)) from error

    def place(self, first: int, start: int) -> int:
        """Return the approximate offset in the file of a decoded byte."""
        return first + (start // 3 * 4 if self._head.is_base64 else start)

    def damaged(self, reason: str) -> DamagedArrayError:
        """Return an error that names the array and the reason."""
        return DamagedArrayError(f"array {self._head.name!r}: {reason}")
