"""The records of a binary EnSight Gold file: lines of 80 characters, and integers and floats of 4 bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.byte_source import ByteSource
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError

__all__ = ["VALUE_BYTES", "GoldFile", "Order", "Records"]

Order = Literal["<", ">"]

VALUE_BYTES = 4
"""Size of an integer or a float in bytes."""

_LINE_BYTES = 80
_MARK_BYTES = 4
# Size of a line in the Fortran variant, which writes the length of each record before and after it. The first bytes of
# a file show its variant.
_HEAD_BYTES = _LINE_BYTES + 2 * _MARK_BYTES
# Number of characters of a line that VTK's reader uses.
_C_CHARACTERS, _FORTRAN_CHARACTERS = 79, 76
_ORDERS: tuple[Order, Order] = ("<", ">")
# Limit for part numbers. A number read in the wrong byte order exceeds it.
_MAX_PART = 1 << 16
_STEP_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class GoldFile:
    """A file, or the byte ranges of a file that hold one time step. Safe to use from many threads.

    Attributes
    ----------
    name : str
        Name of the file in the case.
    source : ByteSource
        Bytes of the ranges.
    ranges : sequence of (int, int)
        First byte and stop of each range in the file.
    """

    name: str
    source: ByteSource
    ranges: Sequence[tuple[int, int]]

    def read(self, start: int, stop: int) -> bytes:
        """Read a range. Raise `DamagedArrayError` if the file ends before `stop`."""
        try:
            return bytes(self.source.read(start, stop))
        except ValueError as error:
            raise self.damaged(start, str(error)) from error

    def values(self, start: int, count: int, dtype: str) -> NDArray[Any]:
        """Read values of 4 bytes; `dtype` includes the byte order. Raises the same errors as `read`."""
        return np.frombuffer(self.read(start, start + count * VALUE_BYTES), dtype)

    def damaged(self, at: int, problem: str) -> DamagedArrayError:
        """Return an error that names the file and the byte `at`."""
        return DamagedArrayError(f"{self.name}, byte {self._place(at):,}: {problem}")

    def _place(self, at: int) -> int:
        for start, stop in self.ranges:
            if at < stop - start:
                return start + at
            at -= stop - start
        return self.ranges[-1][1] + at


class Records:
    """A sequential reader of the records of a file.

    Parameters
    ----------
    file : GoldFile
        The file.
    order : {"<", ">"}, optional
        Byte order, if another file of the case has determined it.

    Attributes
    ----------
    at : int
        Offset of the next record.
    line_at : int
        Offset of the line read last.
    order : {"<", ">"} or None
        Byte order; None until a record has determined it.

    Raises
    ------
    DamagedArrayError
        Raised by all methods: the file ends within a record, or the lengths around a Fortran record do not match it.
    """

    def __init__(self, file: GoldFile, order: Order | None = None) -> None:
        self.file, self.at, self.line_at, self.order = file, 0, 0, order
        if file.source.size < _HEAD_BYTES:
            raise file.damaged(file.source.size, f"the file ends; expected lines of {_LINE_BYTES} characters")
        head = file.read(0, _HEAD_BYTES)
        told = [one for one in _ORDERS if head[:4] == head[-4:] == _bytes_of(_LINE_BYTES, one)]
        self._is_fortran = bool(told)
        if told and order not in (None, told[0]):
            raise file.damaged(0, "its byte order differs from that of the geometry")
        self.order = told[0] if told else order

    def line(self) -> str | None:
        """Read a line; return None at the end of the file."""
        rest, self.line_at = self.file.source.size - self.at, self.at
        if rest < (_HEAD_BYTES if self._is_fortran else _LINE_BYTES):
            if self.file.read(self.at, self.at + rest).strip(b"\0 \t\r\n"):
                raise self.file.damaged(self.at, f"the file ends after {rest} bytes of a line of {_LINE_BYTES}")
            return None
        start = self._take(_LINE_BYTES, "a line")
        text = self.file.read(start, start + _LINE_BYTES)
        text = text[: _FORTRAN_CHARACTERS if self._is_fortran else _C_CHARACTERS].partition(b"\0")[0]
        try:
            return text.decode()
        except UnicodeDecodeError:
            return text.decode("latin-1")

    def part_number(self) -> int:
        """Read the number of an EnSight part. It determines the byte order of a file in the C variant."""
        at = self.at
        start = self._take(VALUE_BYTES, "the number of a part")
        data = self.file.read(start, start + VALUE_BYTES)
        if self.order is None:
            self.order = "<" if int.from_bytes(data, "little") < _MAX_PART else ">"
        number = int(np.frombuffer(data, f"{self.order}i4")[0])
        if not 0 < number <= _MAX_PART:
            raise self.file.damaged(at, f"expected the number of a part, 1 to {_MAX_PART:,}, got {number:,}")
        return number

    def count(self, of: str) -> int:
        """Read a number of items; `of` names the items in errors."""
        at = self.at
        number = int(self.file.values(self._take(VALUE_BYTES, f"the number of {of}"), 1, f"{self.order}i4")[0])
        if number < 0:
            raise self.file.damaged(at, f"it claims {number:,} {of}")
        return number

    def skip(self, n_values: int, of: str) -> int:
        """Skip `n_values` values; return their offset."""
        return self._take(n_values * VALUE_BYTES, of)

    def integers(self, start: int, count: int) -> Iterator[NDArray[Any]]:
        """Yield the integers of a skipped record in blocks."""
        for first in range(0, count, _STEP_VALUES):
            n_values = min(_STEP_VALUES, count - first)
            yield self.file.values(start + first * VALUE_BYTES, n_values, f"{self.order}i4")

    def _take(self, n_bytes: int, of: str) -> int:
        """Skip a record; return the offset of its content."""
        mark = _MARK_BYTES if self._is_fortran else 0
        if not n_bytes:
            # Some writers write an empty record for no values, and some write no record.
            empty = bytes(2 * mark)
            if mark and self.at + len(empty) <= self.file.source.size:
                self.at += len(empty) if self.file.read(self.at, self.at + len(empty)) == empty else 0
            return self.at
        start, stop = self.at + mark, self.at + mark + n_bytes
        if stop + mark > self.file.source.size:
            raise self.file.damaged(
                self.at, f"expected {n_bytes:,} bytes of {of}; the file ends at byte {self.file.ranges[-1][1]:,}"
            )
        for at in (self.at, stop) if mark else ():
            length = int.from_bytes(self.file.read(at, at + mark), "little" if self.order == "<" else "big")
            if length != n_bytes:
                raise self.file.damaged(at, f"expected a record of {n_bytes:,} bytes of {of}, got one of {length:,}")
        self.at = stop + mark
        return start


def _bytes_of(number: int, order: Order) -> bytes:
    return number.to_bytes(_MARK_BYTES, "little" if order == "<" else "big")
