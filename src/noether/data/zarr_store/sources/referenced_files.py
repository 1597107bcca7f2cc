"""Files that a file names: of an EnSight case, blocks of a ``.vtm``, pieces of a ``.pvtu`` or ``.pvtp``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from html import unescape
from pathlib import PurePosixPath

from noether.data.zarr_store.stores import StoredObject

__all__ = ["NAMING_SUFFIXES", "PIECED_SUFFIXES", "files_beside", "name_outside", "named_files", "names_in"]

PIECED_SUFFIXES = (".pvtu", ".pvtp")
NAMING_SUFFIXES = (".case", ".vtm", *PIECED_SUFFIXES)


def files_beside(keys: Iterable[str], listing: Iterable[StoredObject]) -> dict[str, list[StoredObject]]:
    """Give the files of a listing below the directory of each key, by directory."""
    beside: dict[str, list[StoredObject]] = {str(PurePosixPath(key).parent): [] for key in keys}
    for item in listing:
        for parent in PurePosixPath(item.key).parents:
            if str(parent) in beside:
                beside[str(parent)].append(item)
    return beside


def named_files(key: str, text: str, beside: Mapping[str, list[StoredObject]]) -> list[StoredObject]:
    """Give the files that a file names, of those beside it.

    Parameters
    ----------
    key : str
        The file that names them.
    text : str
        What it holds.
    beside : mapping of str to list of StoredObject
        As `files_beside` gives it.
    """
    patterns = {name.removeprefix("./").replace("[", "[[]") for name in names_in(key, text)}
    directory = str(PurePosixPath(key).parent)
    start = 0 if directory == "." else len(directory) + 1
    return [item for item in beside[directory] if any(fnmatchcase(item.key[start:], pattern) for pattern in patterns)]


def name_outside(key: str, text: str) -> str | None:
    """Give a file, of those that a file names, that lies outside of the root; None where there is none."""
    directory = posixpath.dirname(key)
    for name in sorted(names_in(key, text)):
        path = posixpath.normpath(posixpath.join(directory, name.replace("\\", "/")))
        if path.startswith(("/", "../")):
            return name
    return None


def names_in(key: str, text: str) -> list[str]:
    """Return the files that a file names, as it writes them; of a ``.case``, also words that name no file.

    Parameters
    ----------
    key : str
        What the file is called; the suffix says its format.
    text : str
        What it holds.
    """
    if not key.endswith(".case"):
        attribute = "Source" if key.endswith(PIECED_SUFFIXES) else "file"
        names = [unescape(name) for name in re.findall(rf"""\b{attribute}\s*=\s*["']([^"']+)["']""", text)]
    else:
        # After the colon stand numbers, the name of a variable, and that of a file, with asterisks for the number of
        # the time step. Words that name no file match none.
        words = [pair for line in text.splitlines() for pair in re.findall(r'"([^"]+)"|(\S+)', line.partition(":")[2])]
        names = [quoted or bare for quoted, bare in words]
    return list(dict.fromkeys(names))
