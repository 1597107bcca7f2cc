"""A source of ``.pt``, ``.npy`` and ``.npz`` files: one directory per sample, one array per file."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Set
from copy import copy
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import ArgumentError, SourceError, nearest_names
from noether.data.zarr_store.layout import (
    POSITION,
    FieldSpec,
    build_domain_layouts,
    filename_to_canonical,
    present_specs,
)
from noether.data.zarr_store.sources.base import FieldDescription, SourceSample, fingerprint_of
from noether.data.zarr_store.sources.formats import FORMATS, describe_file, load_file, require_root
from noether.data.zarr_store.sources.range_reader import open_head
from noether.data.zarr_store.sources.suffixes import suffix_of, unread_files, with_plain_suffix
from noether.data.zarr_store.stores import StoredObject, is_remote, normalize_root, open_storage

__all__ = ["TreeSource"]

_ATTRIBUTES = "design_parameters"
# Some datasets keep all samples in this directory.
_INTERMEDIATE = "preprocessed/"


class TreeSource:
    """Samples in a tree of directories, one directory per sample, with the files that a `FileMap` names.

    A file can have another known format: ``surface_pressure.npy`` is used for ``surface_pressure.pt``. A sample's id is
    the path of its directory relative to the root, without a leading ``preprocessed/`` if all samples have it.

    Parameters
    ----------
    root : str or path
        Local path or URL.
    filemap : FileMap
        Names of the files of the fields.
    optional : set of str
        Attributes of the file map that are left out, with a notice, if a sample lacks their file.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    field_attributes : mapping of str to mapping of str to str, optional
        Known ``units`` and ``long_name`` by canonical field name.

    Raises
    ------
    ArgumentError
        The file map names no field, the same file twice, or a file of an unknown format.
    SourceError
        The root does not exist or has no sample.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        filemap: FileMap,
        optional: Set[str] = frozenset(),
        storage_options: Mapping[str, Any] | None = None,
        field_attributes: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.root = normalize_root(root)
        self.storage_options = dict(storage_options or {})
        self.notices: list[str] = []
        self._optional = frozenset(optional)
        _check_filemap(filemap)
        self._samples = self._find_samples(filemap)
        self.filemap = self._without_missing(filemap)
        there = {spec.field for spec in present_specs(self.filemap)}
        self.field_attributes = {field: one for field, one in (field_attributes or {}).items() if field in there}

    def sample_ids(self) -> list[str]:
        """Return the sample ids, sorted."""
        return list(self._samples)

    def load(self, sample_id: str) -> SourceSample:
        """Load the fields and attributes of one sample.

        Raises
        ------
        SourceError
            There is no such sample, a domain has only some of its files, or a file is damaged.
        """
        files = self._files(sample_id)
        specs = self._present_specs(sample_id)
        fields = {spec.field: self._load_field(sample_id, spec, files[spec.attribute].key) for spec in specs}
        return SourceSample(fields, self._load_attributes(sample_id, files))

    def fingerprint(self, sample_id: str) -> str:
        """Return a text that changes if a file of the sample changes.

        A file is compared by name, size and modification time or entity tag.

        Raises
        ------
        SourceError
            There is no such sample.
        """
        return fingerprint_of(self._files(sample_id))

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        """Return shapes and dtypes of a sample, read from the headers of its files. Raises the errors of `load`."""
        files = self._files(sample_id)
        return {
            spec.field: self._describe(sample_id, spec, files[spec.attribute])
            for spec in self._present_specs(sample_id)
        }

    def only(self, fields: Collection[str]) -> Self:
        """Return a source of some fields (canonical names) and of the positions of their domains.

        It has the samples that have files for these fields. The root is not listed again.
        """
        specs = [spec for spec in present_specs(self.filemap) if spec.field in fields]
        domains = {spec.domain for spec in specs}
        positions = [spec for spec in present_specs(self.filemap) if spec.name == POSITION and spec.domain in domains]
        kept = {spec.attribute for spec in [*specs, *positions]}
        narrowed = copy(self)
        left_out = dict.fromkeys(type(self.filemap).model_fields.keys() - kept)
        narrowed.filemap = self.filemap.model_copy(update=left_out)
        of_samples = {
            sample_id: {attribute: item for attribute, item in files.items() if attribute in kept}
            for sample_id, files in self._samples.items()
        }
        narrowed._samples = {sample_id: files for sample_id, files in of_samples.items() if files}
        narrowed.field_attributes = {field: one for field, one in self.field_attributes.items() if field in fields}
        narrowed.notices = []
        return narrowed

    def _files(self, sample_id: str) -> dict[str, StoredObject]:
        """Return the files of a sample by attribute of the file map."""
        if sample_id not in self._samples:
            raise SourceError(f"sample {sample_id!r} is not in {self.root}; {nearest_names(sample_id, self._samples)}")
        return self._samples[sample_id]

    def _find_samples(self, filemap: FileMap) -> dict[str, dict[str, StoredObject]]:
        """List the tree once, and return its files by sample id and attribute of the file map."""
        named = {filename: attribute for attribute, filename in filemap.model_dump(exclude_none=True).items()}
        accepted: dict[str, tuple[int, str]] = {}
        for filename, attribute in named.items():
            stem = str(PurePosixPath(filename).with_suffix(""))
            for rank, name in enumerate([filename, *(stem + suffix for suffix in FORMATS)]):
                if name not in named or rank == 0:
                    accepted[with_plain_suffix(name)] = (rank, attribute)

        found: dict[str, dict[str, tuple[int, StoredObject]]] = {}
        keys = []
        for item in open_storage(self.root, self.storage_options).objects():
            keys.append(item.key)
            directory, _, name = item.key.rpartition("/")
            name = with_plain_suffix(name)
            if name in accepted:
                rank, attribute = accepted[name]
                files = found.setdefault(directory, {})
                files[attribute] = min(files.get(attribute, (rank, item)), (rank, item))

        samples = {
            directory: {attribute: item for attribute, (_, item) in sorted(files.items())}
            for directory, files in sorted(found.items())
            if files.keys() - {_ATTRIBUTES}
        }
        if not samples:
            require_root(self.root)
            expected = ", ".join(list(named)[:3])
            way_out = "; ".join([*unread_files(keys), "check the path and the preset or file map"])
            raise SourceError(
                f"{self.root}: no sample found among {len(keys):,} files, expected directories with files such as "
                f"{expected}; {way_out}"
            )
        return _by_sample_id(samples, self.root)

    def _without_missing(self, filemap: FileMap) -> FileMap:
        """Return the file map without the optional fields that some samples lack, and add notices about them."""
        specs = present_specs(filemap)
        nowhere, partly = [], {}
        for spec in specs:
            # A sample that lacks the whole domain does not count as lacking its fields.
            required = {other.attribute for other in specs if other.domain == spec.domain} - self._optional
            having_domain = [files for files in self._samples.values() if not required or files.keys() & required]
            n_with = sum(spec.attribute in files for files in having_domain)
            if spec.attribute in self._optional and n_with == 0:
                nowhere.append(spec)
            elif spec.attribute in self._optional and n_with < len(having_domain):
                partly[spec] = f"{len(having_domain) - n_with:,} of {len(having_domain):,}"
        if nowhere:
            self.notices.append(f"not in this source: {', '.join(spec.field for spec in nowhere)}")
        for spec, how_many in partly.items():
            filename = getattr(filemap, spec.attribute)
            self.notices.append(f"{spec.field} is left out: {how_many} samples lack {filename}")
        left_out = {spec.attribute: None for spec in [*nowhere, *partly]}
        return filemap.model_copy(update=left_out)

    def _present_specs(self, sample_id: str) -> list[FieldSpec]:
        """Return the fields of the sample's domains. Raises `SourceError` if a domain has only some of its files."""
        files = self._samples[sample_id]
        specs = present_specs(self.filemap)
        domains = {spec.domain for spec in specs if spec.attribute in files}
        wanted = [spec for spec in specs if spec.domain in domains]
        for domain in sorted(domains):
            missing = [
                getattr(self.filemap, spec.attribute)
                for spec in wanted
                if spec.domain == domain and spec.attribute not in files
            ]
            if missing:
                raise SourceError(
                    f"sample {sample_id!r}: domain {domain!r} lacks the file {', '.join(missing)}; add the missing "
                    "files, or remove the other files of the domain"
                )
        return wanted

    def _load_field(self, sample_id: str, spec: FieldSpec, key: str) -> NDArray[Any]:
        values = self._load_file(f"sample {sample_id!r}, field {spec.field}", key)
        if not isinstance(values, np.ndarray):
            raise SourceError(
                f"sample {sample_id!r}, field {spec.field}: {key} holds a {type(values).__name__}, "
                "expected one tensor or array; use a mapping (--mapping) for files of several arrays"
            )
        return values

    def _describe(self, sample_id: str, spec: FieldSpec, item: StoredObject) -> FieldDescription:
        with open_head(open_storage(self.root, self.storage_options), item) as file:
            found = describe_file(file, item.key, f"sample {sample_id!r}, field {spec.field}")
        # A remote file is fetched whole, and copied once while it is fetched.
        return replace(found, loading_bytes=2 * item.size) if is_remote(self.root) else found

    def _load_attributes(self, sample_id: str, files: Mapping[str, StoredObject]) -> dict[str, Any]:
        if getattr(self.filemap, _ATTRIBUTES) is None:
            return {}
        if _ATTRIBUTES in files:
            return {_ATTRIBUTES: self._load_file(f"sample {sample_id!r}, {_ATTRIBUTES}", files[_ATTRIBUTES].key)}
        if _ATTRIBUTES in self._optional:
            return {}
        raise SourceError(f"sample {sample_id!r}: the file {getattr(self.filemap, _ATTRIBUTES)} is missing; add it")

    def _load_file(self, where: str, key: str) -> Any:
        with open_storage(self.root, self.storage_options).open_file(key) as file:
            return load_file(file, key, where)


def _check_filemap(filemap: FileMap) -> None:
    build_domain_layouts(filemap)
    filename_to_canonical(filemap)
    for attribute, filename in filemap.model_dump(exclude_none=True).items():
        if "/" in filename or suffix_of(filename) not in FORMATS:
            raise ArgumentError(
                f"file map: {attribute}: expected a file name that ends in {' or '.join(FORMATS)}, got {filename!r}; "
                "name a file in each sample's directory, without a path"
            )


def _by_sample_id(samples: dict[str, dict[str, StoredObject]], root: str) -> dict[str, dict[str, StoredObject]]:
    if all(directory.startswith(_INTERMEDIATE) for directory in samples):
        return {directory.removeprefix(_INTERMEDIATE): files for directory, files in samples.items()}
    # If the root itself is the sample, its id is the name of the root.
    return {directory or PurePosixPath(root).name: files for directory, files in samples.items()}
