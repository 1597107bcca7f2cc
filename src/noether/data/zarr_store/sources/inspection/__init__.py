"""What files hold, and a mapping that would read them: the way from a solver's files to a ``mapping.toml``."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from noether.data.zarr_store.errors import SourceError, StorageError
from noether.data.zarr_store.sources.inspection.contents import (
    SUFFIXES,
    FileContents,
    FoundArray,
    FoundPart,
    read_contents,
)
from noether.data.zarr_store.sources.inspection.naming import SampleFiles, files_of_first_sample
from noether.data.zarr_store.sources.inspection.proposal import propose_mapping
from noether.data.zarr_store.sources.local_copies import LocalCopies, scratch_directory
from noether.data.zarr_store.sources.referenced_files import (
    NAMING_SUFFIXES,
    PIECED_SUFFIXES,
    files_beside,
    named_files,
    names_in,
)
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote, normalize_root, open_storage

__all__ = ["FileContents", "FoundArray", "FoundPart", "Inspection", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the files of one sample hold.

    Attributes
    ----------
    root : str
        What was inspected.
    files : list of FileContents
        Files of one sample.
    n_files : int
        Files of known formats that there are, those of other samples among them.
    mapping : str
        Text of a ``mapping.toml`` that would read them; a proposal.
    """

    root: str
    files: list[FileContents]
    n_files: int
    mapping: str


def inspect(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Inspection:
    """List what a file holds, or the files of the first sample of a directory, and propose a mapping.

    Parameters
    ----------
    path : str or path
        File or directory, local or a URL.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Raises
    ------
    SourceError
        There is no file of a known format.
    MissingDependencyError
        A library that a file needs is not installed.
    StorageError
        A file cannot be fetched.
    """
    given = normalize_root(path)
    root, listing, keys = _listing(given, dict(storage_options or {}))
    storage = open_storage(root, storage_options)
    pieces = _pieces(storage, keys)
    keys = [key for key in keys if key not in pieces]
    if not keys:
        raise SourceError(f"{given}: no file of a known format is here; expected one of {', '.join(SUFFIXES)}")
    sample = files_of_first_sample(keys)
    contents = list(_read(storage, sample, listing))
    name = PurePosixPath(given).stem or "dataset"
    return Inspection(given, contents, len(keys), propose_mapping(name, sample, contents))


def _listing(given: str, storage_options: Mapping[str, Any]) -> tuple[str, list[StoredObject], list[str]]:
    """Return a root, the files below it, and the keys of those that are to be looked at."""
    parent, _, name = given.rpartition("/")
    if not is_remote(given):
        path = Path(given)
        if not path.exists():
            raise StorageError(f"cannot read {given}: it is not there; check the path")
        if path.is_file():
            return str(path.parent), [StoredObject(path.name, path.stat().st_size, "")], _known([path.name])
    elif PurePosixPath(name).suffix in SUFFIXES:
        listing = list(open_storage(parent, storage_options).objects())
        return parent, listing, [item.key for item in listing if item.key == name]
    listing = list(open_storage(given, storage_options).objects())
    return given, listing, _known(item.key for item in listing)


def _known(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if PurePosixPath(key).suffix in SUFFIXES]


def _pieces(storage: Storage, keys: list[str]) -> set[str]:
    """Return the files that are pieces of others, which name them."""
    pieces = set()
    for key in keys:
        if key.endswith(PIECED_SUFFIXES):
            text = (storage.read_if_there(key) or b"").decode(errors="replace")
            pieces |= {posixpath.normpath(posixpath.join(posixpath.dirname(key), name)) for name in names_in(key, text)}
    return pieces


def _read(storage: Storage, sample: SampleFiles, listing: list[StoredObject]) -> Iterator[FileContents]:
    by_key = {item.key: item for item in listing}
    for key in sample.patterns:
        beside: list[StoredObject] = []
        if key.endswith(NAMING_SUFFIXES) and is_remote(storage.root):
            text = (storage.read_if_there(key) or b"").decode(errors="replace")
            beside = named_files(key, text, files_beside([key], listing))
        with scratch_directory() as directory:
            path = LocalCopies(storage, directory).local_file(key, [by_key[key]], beside)
            try:
                yield replace(read_contents(path, key), n_bytes=by_key[key].size)
            except SourceError as error:
                yield FileContents(key, n_bytes=by_key[key].size, problem=str(error))
