"""JSON documents that carry a checksum of their own bytes. Pure.

A document with a checksum has a member ``"crc32c": "<8 hex digits>"``. It is the crc32c of the document with zeros in
place of the digits. Readers that do not know the member can ignore it.
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
"""The member that `with_checksum` fills in. It must come before any other member that can have the same name."""

# Similarity from which a name counts as a damaged checksum name: one byte was changed, lost or added. The lowest such
# similarity is 0.73: if the first byte becomes a backslash, JSON reads "\r" and the rest of the name.
_ALIKE = 0.7


def with_checksum(document: bytes) -> bytes:
    """Return a document with its checksum filled in; its first `CHECKSUM_KEY` member must be `ZERO_CHECKSUM`."""
    start = document.index(_member(_ZEROS)) + len(_member("")) - 1
    return document[:start] + _digits(document) + document[start + len(_ZEROS) :]


def checksum_state(document: bytes, members: Mapping[str, Any]) -> ChecksumState:
    """Check the bytes of a document against the checksum that it carries.

    Parameters
    ----------
    document : bytes
        The JSON text.
    members : mapping
        Parsed members of the object that holds the checksum.

    Returns
    -------
    {"intact", "broken", "none"}
        ``"none"`` if the document carries no checksum.
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
