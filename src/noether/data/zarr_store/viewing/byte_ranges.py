"""The ``Range`` header of HTTP (RFC 9110, section 14)."""

from __future__ import annotations

import re

__all__ = ["byte_range"]

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the offsets of the first byte and of the end of the range that a request asks for.

    Without a header, or with a header that is not one simple range, the range is the whole object: HTTP allows a server
    to ignore a header that it does not support, such as one with several ranges.

    Parameters
    ----------
    header : str or None
        The value of ``Range``.
    size : int
        Bytes of the object.

    Returns
    -------
    tuple of int or None
        The two offsets, or None if the range lies outside the object (status 416).
    """
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if first == "":  # the last bytes
        begin, stop = max(size - int(last), 0), size
    else:
        begin, stop = int(first), size if last == "" else min(int(last) + 1, size)
        if last != "" and int(last) < begin:
            return 0, size
    return (begin, stop) if begin < stop else None
