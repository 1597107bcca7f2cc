"""The ``Range`` header of HTTP (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ByteRange", "parse_range"]

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range of a request.

    Attributes
    ----------
    first : int or None
        Offset of the first byte; None for the last bytes of an object.
    last : int or None
        Offset of the last byte, None for the end of the object; without `first`, the number of bytes.
    """

    first: int | None
    last: int | None

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Offsets of the first byte and after the last byte, if they do not depend on the size of the object."""
        return None if self.first is None or self.last is None else (self.first, self.last + 1)

    def within(self, size: int) -> tuple[int, int] | None:
        """Return the offsets in an object of this size; None if the range has none of its bytes (status 416)."""
        if self.first is None:
            begin, stop = max(size - (self.last or 0), 0), size
        else:
            begin, stop = self.first, size if self.last is None else min(self.last + 1, size)
        return (begin, stop) if begin < stop else None


def parse_range(header: str | None) -> ByteRange | None:
    """Return the range of a header; None for a header that a server may ignore, such as several ranges."""
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = (int(text) if text else None for text in found.groups())
    if first is not None and last is not None and last < first:
        return None
    return ByteRange(first, last)
