"""JSON documents that carry the checksum of their own bytes. Pure.

A document with a checksum has a member ``"crc32c": "<8 hex digits>"``: the crc32c of the document with zeros in the
place of the digits. Readers that do not know the member read the document like any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import google_crc32c

__all__ = ["CHECKSUM_KEY", "ZERO_CHECKSUM", "ChecksumState", "checksum_state", "with_checksum"]

ChecksumState = Literal["intact", "broken", "none"]

CHECKSUM_KEY = "crc32c"
_ZEROS = "00000000"
ZERO_CHECKSUM = {CHECKSUM_KEY: _ZEROS}
"""The member to put into a document, before any other that could be called the same, for `with_checksum` to fill in."""

# How alike a name must be to be that of the checksum with a byte that was changed, lost or added. The least alike,
# 0.73, is a carriage return with the rest of the name: what JSON reads where its first byte has become a backslash.
_ALIKE = 0.7


def with_checksum(document: bytes) -> bytes:
    """Return a document that has `ZERO_CHECKSUM` as a member with its checksum filled in."""
    start = document.index(_member(_ZEROS)) + len(_member("")) - 1
    return document[:start] + _digits(document) + document[start + len(_ZEROS) :]


def checksum_state(document: bytes, members: Mapping[str, Any]) -> ChecksumState:
    """Return whether the bytes of a document match the checksum that it carries.

    Parameters
    ----------
    document : bytes
        The JSON text.
    members : mapping
        Those of the object in it that has the checksum, parsed.

    Returns
    -------
    {"intact", "broken", "none"}
        ``"none"`` where the document carries no checksum.
    """
    digits = members.get(CHECKSUM_KEY)
    if digits is None:
        damaged = difflib.get_close_matches(CHECKSUM_KEY, members, n=1, cutoff=_ALIKE)
        return "broken" if damaged else "none"
    found = document.find(_member(digits)) if isinstance(digits, str) and digits.isascii() else -1
    if found < 0:
        return "broken"
    zeroed = document.replace(_member(digits), _member(_ZEROS), 1)
    return "intact" if _digits(zeroed) == digits.encode() else "broken"


def _member(digits: str) -> bytes:
    return f'"{CHECKSUM_KEY}": "{digits}"'.encode()


def _digits(document: bytes) -> bytes:
    return b"%08x" % google_crc32c.value(document)
