"""Inspection of a solver's files: list their arrays, and propose a ``mapping.toml`` that reads them."""

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


# Name of a piece of a split file, such as volume_1.vtu.00.part.
_PIECE = re.compile(r"\.(vt[upk]|h5|hdf5|npz)\.?[_-]?[0-9]+(\.part)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Inspection:
    """The content of the files of one sample, and a mapping for all samples.

    Attributes
    ----------
    root : str
        Path or URL that was inspected.
    files : list of FileContents
        Contents of the files of one sample.
    n_files : int
        Number of files of known formats, including those of other samples.
    n_samples : int
        Number of samples that the mapping finds. Samples that are HDF5 groups of one file count as one. 0 if the
        mapping is not complete; its comments say what is missing.
    mapping : str
        Text of the proposed ``mapping.toml``.
    notices : list of str
        Files of known formats that are not read, with advice on how to convert them.
    """

    root: str
    files: list[FileContents]
    n_files: int
    n_samples: int
    mapping: str
    notices: list[str]


def inspect(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Inspection:
    """List the arrays of a file, or of the first sample of a directory, and propose a mapping.

    Parameters
    ----------
    path : str or path
        File or directory, local or a URL.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Raises
    ------
    SourceError
        No file of a known format was found.
    MissingDependencyError
        A library that a file needs is not installed.
    StorageError
        The path does not exist, or a file cannot be fetched.
    """
    location = normalize_root(path)
    root, listing, wanted = _listing(location, dict(storage_options or {}))
    storage = open_storage(root, storage_options)
    keys = [key for key in wanted if suffix_of(key) in SUFFIXES]
    pieces = {piece for key in keys for piece in pieces_in(key, storage)}
    keys = [key for key in keys if key not in pieces]
    notices = unread_files(wanted)
    split = next((key for key in wanted if _PIECE.search(key)), None)
    if not keys and split is not None:
        raise SourceError(
            f"{location}: expected a file of a known format, got only pieces of files, such as {split}; write a "
            "mapping with concatenate (docs/sources.md), or join the pieces of a sample with cat and inspect the result"
        )
    if not keys and notices:
        way_out = "; ".join(notices)
        raise SourceError(f"{location}: no file of a supported format; {way_out}")
    if not keys:
        raise SourceError(
            f"{location}: no file of a known format found, expected one of {', '.join(SUFFIXES)}; check the path"
        )
    by_key = {item.key: item for item in listing}

    def is_of_several(key: str) -> bool:
        with open_head(storage, by_key[key]) as file:
            return holds_several(file, key)

    sample = files_of_first_sample(keys, _sizes(keys, listing), is_of_several)
    contents = list(_read(storage, sample, listing))
    others = {key: read_other_files(storage, listing, key, sample.same_kind[key]) for key in sample.patterns}
    name = PurePosixPath(location).stem or "dataset"
    mapping = propose_mapping(name, sample, contents, others)
    return Inspection(location, contents, len(keys), _count_samples(mapping, keys), mapping, notices)


def _sizes(keys: Sequence[str], listing: Sequence[StoredObject]) -> dict[str, int]:
    """Return the size of each file, including the files that it can refer to.

    These are the files beside it that are not in `keys`.
    """
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


def _listing(location: str, storage_options: Mapping[str, Any]) -> tuple[str, list[StoredObject], list[str]]:
    """Return a root, the files below it, and the keys of the files to inspect."""
    parent, _, name = location.rpartition("/")
    known = {*SUFFIXES, *UNREAD_SUFFIXES}
    if not is_remote(location):
        path = Path(location)
        if not path.exists():
            raise StorageError(f"{location} does not exist; check the path")
        if path.is_file():
            return str(path.parent), [StoredObject(path.name, path.stat().st_size, "")], [path.name]
    elif suffix_of(name) in known:
        listing = list(open_storage(parent, storage_options).objects())
        if any(item.key == name for item in listing):
            return parent, listing, [name]
    listing = list(open_storage(location, storage_options).objects())
    return location, listing, [item.key for item in listing]


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
