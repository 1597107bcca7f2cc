"""JSON documents that carry the checksum of their own bytes. Pure.

A sealed document has a member ``"crc32c": "<8 hex digits>"``: the crc32c of the document with zeros in the place of the
digits. Whoever does not know it reads the document like any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import google_crc32c

__all__ = ["SEAL_KEY", "UNSEALED", "SealState", "seal", "seal_state"]

SealState = Literal["intact", "broken", "none"]

SEAL_KEY = "crc32c"
_ZEROS = "00000000"
UNSEALED = {SEAL_KEY: _ZEROS}
"""The member to put into a document, before any other that could be called the same, for `seal` to fill in."""

# How alike a name must be to be that of the seal with a byte that was changed, lost or added. The least alike, 0.73, is
# a carriage return with the rest of the name: what JSON reads where its first byte has become a backslash.
_ALIKE = 0.7


def seal(document: bytes) -> bytes:
    """Fill in the checksum of a document that has `UNSEALED` as a member."""
    start = document.index(_member(_ZEROS)) + len(_member("")) - 1
    return document[:start] + _digits(document) + document[start + len(_ZEROS) :]


def seal_state(document: bytes, members: Mapping[str, Any]) -> SealState:
    """Tell whether a document is as it was when it was sealed.

    Parameters
    ----------
    document : bytes
        The JSON text.
    members : mapping
        Those of the object in it that has the seal, parsed.

    Returns
    -------
    {"intact", "broken", "none"}
        ``"none"`` where there is no seal, so that nothing can be said.
    """
    digits = members.get(SEAL_KEY)
    if digits is None:
        damaged = difflib.get_close_matches(SEAL_KEY, members, n=1, cutoff=_ALIKE)
        return "broken" if damaged else "none"
    found = document.find(_member(digits)) if isinstance(digits, str) and digits.isascii() else -1
    if found < 0:
        return "broken"
    zeroed = document.replace(_member(digits), _member(_ZEROS), 1)
    return "intact" if _digits(zeroed) == digits.encode() else "broken"


def _member(digits: str) -> bytes:
    return f'"{SEAL_KEY}": "{digits}"'.encode()


def _digits(document: bytes) -> bytes:
    return b"%08x" % google_crc32c.value(document)
