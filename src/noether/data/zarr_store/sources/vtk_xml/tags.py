"""Find the tags of an XML file, and skip the content between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

from noether.data.zarr_store.sources.byte_source import ByteSource

__all__ = ["Tag", "read_tags"]

_BLOCK_BYTES = 1 << 20
# Block size for files on another machine: small, because the tags before appended values take only a few kilobytes.
_FAR_BLOCK_BYTES = 1 << 16
_MAX_TAG_BYTES = 1 << 14
_TAG = re.compile(rb"""<(/?)([A-Za-z_][\w:.-]*)((?:[^<>"']|"[^"]*"|'[^']*')*?)(/?)>""")
# The lookbehind lets a match begin only at the start of a name, so that a long name is scanned once.
_ATTRIBUTE = re.compile(rb"""(?<![\w:.-])([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
# Beginning and end of comments and declarations.
_OTHERS = ((b"<!--", b"-->"), (b"<?", b"?>"), (b"<!", b">"))


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag.

    Attributes
    ----------
    name : str
        Name of the element.
    opens, closes : bool
        Whether the tag begins the element, and whether it ends the element. ``<name/>`` does both.
    attributes : dict of str to str
        Values of the attributes by name.
    start, stop : int
        Offsets of the tag in the file.
    """

    name: str
    opens: bool
    closes: bool
    attributes: dict[str, str]
    start: int
    stop: int


def read_tags(source: ByteSource) -> Iterator[Tag]:
    """Yield the tags of a file in order; skip comments and declarations.

    Raises
    ------
    ValueError
        A tag, comment or declaration does not end.
    """
    window, at = _Window(source), 0
    while True:
        found = window.find(b"<", at)
        if found is None:
            return
        head = window.read(found, found + _MAX_TAG_BYTES)
        other = next((end for start, end in _OTHERS if head.startswith(start)), None)
        if other is not None:
            end = window.find(other, found + 2)
            if end is None:
                raise ValueError(f"the comment or declaration at byte {found:,} does not end")
            at = end + len(other)
            continue
        match = _TAG.match(head)
        if match is None:
            raise ValueError(f"expected a tag at byte {found:,}")
        at = found + match.end()
        attributes = {
            key.decode("utf-8", "replace"): unescape((double or single).decode("utf-8", "replace"))
            for key, double, single in _ATTRIBUTE.findall(match[3])
        }
        yield Tag(match[2].decode(), not match[1], bool(match[1] or match[4]), attributes, found, at)


class _Window:
    """A sequential reader of a file that keeps the block read last."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._block_bytes = _FAR_BLOCK_BYTES if source.is_far else _BLOCK_BYTES
        self._start = 0
        self._data = b""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range, cut off at the end of the file."""
        stop = min(stop, self._source.size)
        if not self._start <= start <= stop <= self._start + len(self._data):
            end = min(max(stop, start + self._block_bytes), self._source.size)
            self._start, self._data = start, bytes(self._source.read(start, end))
        return self._data[start - self._start : stop - self._start]

    def find(self, sought: bytes, start: int) -> int | None:
        """Return the offset of the first occurrence of `sought` from `start` on; None if there is no occurrence."""
        while start < self._source.size:
            self.read(start, start + len(sought))
            found = self._data.find(sought, start - self._start)
            if found >= 0:
                return self._start + found
            start = max(self._start + len(self._data) - len(sought), start) + 1
        return None
