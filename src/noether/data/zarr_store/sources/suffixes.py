"""File formats by suffix, and advice for formats that are not read. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["UNREAD_SUFFIXES", "suffix_of", "unread_files", "unread_format", "with_plain_suffix"]

# Fluent writes EnSight cases with this suffix.
_SAME = {".encas": ".case"}

_FLUENT = "a Fluent file", "export the case from Fluent as EnSight Case Gold, and name the .encas file"
_EXODUS = "an Exodus file", "save it as .vtu or .vtm in ParaView (File > Save Data), and name that file"
# By suffix: the kind of file, and the way to convert it into a format that is read.
_UNREAD = {
    ".foam": ("an OpenFOAM case", "run foamToVTK in the case's directory, and name the files that it writes"),
    ".pvd": ("a list of time steps", "name one of the files that it lists, such as the .vtu file of the last step"),
    ".cas": _FLUENT,
    ".cas.gz": _FLUENT,
    ".cas.h5": _FLUENT,
    ".dat": ("a Fluent or Tecplot file", _FLUENT[1]),
    ".dat.gz": _FLUENT,
    ".dat.h5": _FLUENT,
    ".e": _EXODUS,
    ".ex2": _EXODUS,
    ".exo": _EXODUS,
}
UNREAD_SUFFIXES = tuple(_UNREAD)


def suffix_of(name: str | os.PathLike[str]) -> str:
    """Return the suffix of a file's format, in lower case. Suffixes of the same format are unified."""
    suffix = _written_suffix(name).lower()
    return _SAME.get(suffix, suffix)


def with_plain_suffix(name: str) -> str:
    """Return a name with its suffix replaced by the result of `suffix_of`."""
    return name.removesuffix(_written_suffix(name)) + suffix_of(name)


def unread_format(name: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return the kind of a file that is not read, and the remedy; None for all other files."""
    return _UNREAD.get(suffix_of(name))


def unread_files(names: Iterable[str]) -> list[str]:
    """Return one sentence for each format that is known but not read, with the first file of that format."""
    there = set(names)
    sentences: dict[str, str] = {}
    for name in sorted(there):
        # Many programs write tables as .dat; beside the .dat of Fluent lies a .cas file.
        is_fluent = suffix_of(name) != ".dat" or len(there) == 1 or f"{name.removesuffix('.dat')}.cas" in there
        unread = unread_format(name)
        if unread is not None and is_fluent:
            kind, way_out = unread
            sentences.setdefault(way_out, f"{name} is {kind}, which is not read; {way_out}")
    return list(sentences.values())


def _written_suffix(name: str | os.PathLike[str]) -> str:
    path = PurePosixPath(name)
    both = "".join(path.suffixes[-2:])
    return both if both.lower() in _UNREAD else path.suffix
