"""What files hold, and a mapping that would read them: the way from a solver's files to a ``mapping.toml``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from noether.data.zarr_store.errors import ArgumentError, SourceError, StorageError
from noether.data.zarr_store.sources.inspection.contents import (
    SUFFIXES,
    FileContents,
    FoundArray,
    FoundPart,
    holds_several,
    read_contents,
)
from noether.data.zarr_store.sources.inspection.naming import SampleFiles, files_of_first_sample
from noether.data.zarr_store.sources.inspection.other_samples import read_other_files
from noether.data.zarr_store.sources.inspection.proposal import propose_mapping
from noether.data.zarr_store.sources.local_copies import LocalCopies, scratch_directory
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.patterns import PathPattern
from noether.data.zarr_store.sources.range_reader import open_head
from noether.data.zarr_store.sources.referenced_files import files_beside, named_files, names_files, pieces_in
from noether.data.zarr_store.sources.suffixes import UNREAD_SUFFIXES, suffix_of, unread_files, with_plain_suffix
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote, normalize_root, open_storage

__all__ = ["FileContents", "FoundArray", "FoundPart", "Inspection", "inspect"]


# A file whose bytes are split, as volume_1.vtu.00.part.
_PIECE = re.compile(r"\.(vt[upk]|h5|hdf5|npz)\.?[_-]?[0-9]+(\.part)?$", re.IGNORECASE)


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
    n_samples : int
        Samples that the mapping finds; those in one file, as groups of HDF5, count as one. 0 where the comments of
        the mapping say what it lacks.
    mapping : str
        Text of a ``mapping.toml`` that would read them; a proposal.
    notices : list of str
        Files of known formats that are not read, and what to do with them.
    """

    root: str
    files: list[FileContents]
    n_files: int
    n_samples: int
    mapping: str
    notices: list[str]


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
    root, listing, asked = _listing(given, dict(storage_options or {}))
    storage = open_storage(root, storage_options)
    keys = [key for key in asked if suffix_of(key) in SUFFIXES]
    pieces = {piece for key in keys for piece in pieces_in(key, storage)}
    keys = [key for key in keys if key not in pieces]
    notices = unread_files(asked)
    split = next((key for key in asked if _PIECE.search(key)), None)
    if not keys and split is not None:
        raise SourceError(
            f"{given}: no whole file of a known format is here; {split} is a piece of a file, by its name: write a "
            "mapping with concatenate (docs/sources.md), or join the pieces of one sample with cat and inspect that"
        )
    if not keys and notices:
        raise SourceError(f"{given}: no file of a format that is read; {'; '.join(notices)}")
    if not keys:
        raise SourceError(f"{given}: no file of a known format is here; expected one of {', '.join(SUFFIXES)}")
    by_key = {item.key: item for item in listing}

    def is_of_several(key: str) -> bool:
        with open_head(storage, by_key[key]) as file:
            return holds_several(file, key)

    sample = files_of_first_sample(keys, _sizes(keys, listing), is_of_several)
    contents = list(_read(storage, sample, listing))
    others = {key: read_other_files(storage, listing, key, sample.same_kind[key]) for key in sample.patterns}
    name = PurePosixPath(given).stem or "dataset"
    mapping = propose_mapping(name, sample, contents, others)
    return Inspection(given, contents, len(keys), _count_samples(mapping, keys), mapping, notices)


def _sizes(keys: Sequence[str], listing: Sequence[StoredObject]) -> dict[str, int]:
    """Return the sizes of files, with the files that they name: those beside them that are not among `keys`."""
    sizes = {item.key: item.size for item in listing}
    naming, known = [key for key in keys if names_files(key)], set(keys)
    beside = files_beside(naming, [item for item in listing if item.key not in known])
    for key in naming:
        sizes[key] += sum(item.size for item in beside[str(PurePosixPath(key).parent)])
    return sizes


def _count_samples(mapping: str, keys: Sequence[str]) -> int:
    try:
        domains = parse_mapping(mapping, "proposal").domains.values()
    except ArgumentError:
        return 0
    patterns = [PathPattern.parse(with_plain_suffix(text)) for domain in domains for text in domain.patterns]
    found = [pattern.match(key) for pattern in patterns for key in map(with_plain_suffix, keys)]
    return len({tuple(sorted(values.items())) for values in found if values is not None})


def _listing(given: str, storage_options: Mapping[str, Any]) -> tuple[str, list[StoredObject], list[str]]:
    """Return a root, the files below it, and the keys of those that are to be looked at."""
    parent, _, name = given.rpartition("/")
    known = {*SUFFIXES, *UNREAD_SUFFIXES}
    if not is_remote(given):
        path = Path(given)
        if not path.exists():
            raise StorageError(f"cannot read {given}: it is not there; check the path")
        if path.is_file():
            return str(path.parent), [StoredObject(path.name, path.stat().st_size, "")], [path.name]
    elif suffix_of(name) in known:
        listing = list(open_storage(parent, storage_options).objects())
        if any(item.key == name for item in listing):
            return parent, listing, [name]
    listing = list(open_storage(given, storage_options).objects())
    return given, listing, [item.key for item in listing]


def _read(storage: Storage, sample: SampleFiles, listing: list[StoredObject]) -> Iterator[FileContents]:
    by_key = {item.key: item for item in listing}
    for key in sample.patterns:
        with scratch_directory() as directory:
            try:
                named: list[StoredObject] = []
                if names_files(key) and is_remote(storage.root):
                    named = named_files(key, files_beside([key], listing), storage, key)
                path = LocalCopies(storage, directory).local_file(key, [by_key[key]], named)
                yield replace(read_contents(path, key), n_bytes=by_key[key].size)
            except SourceError as error:
                yield FileContents(key, n_bytes=by_key[key].size, problem=str(error))
