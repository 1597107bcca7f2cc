"""Suffixes of files, which say their format. Pure."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

__all__ = ["suffix_of", "with_plain_suffix"]

# Fluent calls its EnSight cases so.
_SAME = {".encas": ".case"}


def suffix_of(name: str | os.PathLike[str]) -> str:
    """Return the suffix that says a file's format: in small letters, and one for each format of several names."""
    suffix = PurePosixPath(name).suffix.lower()
    return _SAME.get(suffix, suffix)


def with_plain_suffix(name: str) -> str:
    """Return a name with its suffix as `suffix_of` has it."""
    return name.removesuffix(PurePosixPath(name).suffix) + suffix_of(name)
