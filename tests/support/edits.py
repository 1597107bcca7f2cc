"""Edits at any place of JSON documents."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

__all__ = ["ANYTHING", "KEYS", "NUMBERS", "TEXTS", "edit_by_bytes", "places_in"]

# Replacements for numbers, names and values of a document.
NUMBERS = [0, -1, 1, 2, 7, 8, 49, 51, 2**31, 2**32 + 8, 2**48, 2**63, 2**64 + 8, 10**30, 0.5, 8.0, -0.0, 1e308]
TEXTS = [
    "", "..", "../../etc/passwd", "/dev/zero", "\x00", "\x1b[2J", "NaN", "Infinity", "0x7fc00000", "int32", "float16",
    "complex128", "string", "bytes", "gzip", "zstd", "blosc", "crc32c", "transpose", "vlen-utf8", "start", "big", "v2",
    "c", "group", "array", "x" * 5000,
]  # fmt: skip
ANYTHING: list[Any] = [*NUMBERS, *TEXTS, True, False, None, [], {}, [8, 3], [[[[0]]]]]
KEYS = ["crc32c", "extra", "", "samples", "domains", "attributes", "configuration", "s2"]

Place = tuple[Any, Any]


def places_in(value: Any) -> list[Place]:
    """Return every list and dict in a JSON value, with each of its keys or indices."""
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [place for key in keys if isinstance(value[key], dict | list) for place in places_in(value[key])]
    return [(value, key) for key in keys] + inner


def edit_by_bytes(document: Any, data: bytes) -> Any:
    """Return a copy of a document with one edit per four bytes, at most eight.

    The bytes choose the place, the kind of the edit, and the new value.
    """
    edited = deepcopy(document)
    for at in range(0, min(len(data) - 3, 32), 4):
        places = places_in(edited)
        if not places:
            break
        container, key = places[int.from_bytes(data[at : at + 2], "little") % len(places)]
        kind, which = data[at + 2] % 4, data[at + 3]
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[KEYS[which % len(KEYS)]] = deepcopy(container[key])
        elif kind == 2:
            other, other_key = places[which % len(places)]
            container[key] = deepcopy(other[other_key])
        else:
            container[key] = deepcopy(ANYTHING[which % len(ANYTHING)])
    return edited
