"""Find the files that an EnSight case, a ``.vtm``, a ``.pvtu`` or a ``.pvtp`` file names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from html import unescape
from pathlib import PurePosixPath

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.ensight_case import parse_case
from noether.data.zarr_store.sources.steps import Step
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["PIECED_SUFFIXES", "files_beside", "name_outside", "named_files", "names_files", "names_in", "pieces_in"]

PIECED_SUFFIXES = (".pvtu", ".pvtp")


def names_files(key: str) -> bool:
    """Return whether a file has a format whose files name other files."""
    return suffix_of(key) in {".case", ".vtm", *PIECED_SUFFIXES}


def files_beside(keys: Iterable[str], listing: Iterable[StoredObject]) -> dict[str, list[StoredObject]]:
    """Return the files of a listing below the directory of each key, by directory."""
    beside: dict[str, list[StoredObject]] = {str(PurePosixPath(key).parent): [] for key in keys}
    for item in listing:
        for parent in PurePosixPath(item.key).parents:
            if str(parent) in beside:
                beside[str(parent)].append(item)
    return beside


def named_files(
    key: str,
    beside: Mapping[str, list[StoredObject]],
    storage: Storage,
    where: str,
    steps: Collection[Step] = (None,),
) -> list[StoredObject]:
    """Return the listed files that a file names. For a case, return only the files of some steps.

    Parameters
    ----------
    key : str
        Key of the file that names the others.
    beside : mapping of str to list of StoredObject
        Result of `files_beside`.
    storage : Storage
        Storage of the files.
    where : str
        Sample and file; errors begin with it.
    steps : collection of Step
        Steps to read from a case.

    Raises
    ------
    SourceError
        A named file is outside of the storage's root. Or a case lacks a step, or a time set that a line refers to.
    """

    def read(name: str) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(key), name))
        return (storage.read_if_there(path) or b"").decode(errors="replace")

    text = read(posixpath.basename(key))
    case = parse_case(text, where) if suffix_of(key) == ".case" else None
    names = names_in(key, text) if case is None else case.names()
    outside = name_outside(key, names)
    if outside is not None:
        raise SourceError(
            f"{where} names the file {outside!r}, which is outside of {storage.root}; move the file into it, or use a "
            "source that contains both files"
        )
    if case is not None:
        entries = [entry for step in steps for entry in case.at_step(step, read, where)]
        names = [name for entry in entries for name in entry.files] + case.files_of_sets
    directory = str(PurePosixPath(key).parent)
    start = 0 if directory == "." else len(directory) + 1
    wanted = set(map(posixpath.normpath, names))
    return [item for item in beside[directory] if item.key[start:] in wanted]


def name_outside(key: str, names: Iterable[str]) -> str | None:
    """Return the first of the names in the file `key` that leads out of the root; None if all names stay inside."""
    directory = posixpath.dirname(key)
    for name in sorted(names):
        path = posixpath.normpath(posixpath.join(directory, name.replace("\\", "/")))
        if path.startswith(("/", "../")):
            return name
    return None


def pieces_in(key: str, storage: Storage) -> list[str]:
    """Return the keys of the pieces that a file names; an empty list if its format has no pieces."""
    if suffix_of(key) not in PIECED_SUFFIXES:
        return []
    text = (storage.read_if_there(key) or b"").decode(errors="replace")
    return [posixpath.normpath(posixpath.join(posixpath.dirname(key), name)) for name in names_in(key, text)]


def names_in(key: str, text: str) -> list[str]:
    """Return the names of files in a ``.vtm``, ``.pvtu`` or ``.pvtp`` file, as written there.

    Parameters
    ----------
    key : str
        Name of the file. The suffix determines the format.
    text : str
        Content of the file.
    """
    attribute = "Source" if suffix_of(key) in PIECED_SUFFIXES else "file"
    names = [unescape(name) for name in re.findall(rf"""\b{attribute}\s*=\s*["']([^"']+)["']""", text)]
    return list(dict.fromkeys(names))
