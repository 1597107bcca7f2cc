"""A source of files that a mapping describes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from copy import copy
from typing import Any, Self

from noether.data.zarr_store.errors import ArgumentError, SourceError, nearest_names
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.sources.array_files import check_array_domain, unfit_for_arrays
from noether.data.zarr_store.sources.attribute_tables import AttributeTables
from noether.data.zarr_store.sources.base import FieldDescription, SourceSample, fingerprint_of
from noether.data.zarr_store.sources.describing import SampleDescriber
from noether.data.zarr_store.sources.discovery import FoundSample, find_samples
from noether.data.zarr_store.sources.formats import ATTRIBUTE_FORMATS, FORMATS, TABLE_SEPARATORS
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES
from noether.data.zarr_store.sources.loading import READERS, SampleLoader
from noether.data.zarr_store.sources.mapping import SourceMapping
from noether.data.zarr_store.sources.mapping_attributes import AttributeTable
from noether.data.zarr_store.sources.mapping_fields import FileField
from noether.data.zarr_store.sources.range_reader import streamed
from noether.data.zarr_store.sources.suffixes import suffix_of, unread_format
from noether.data.zarr_store.stores import Storage, normalize_root, open_storage

__all__ = ["MappedSource"]


class MappedSource:
    """The samples that a `SourceMapping` finds below a root.

    If a file in object storage must be local, it is fetched into a directory below ``TMPDIR`` and removed after its
    sample is loaded.

    Parameters
    ----------
    root : str or path
        Local path or URL.
    mapping : SourceMapping
        Patterns of the files, and the arrays in them.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.

    Raises
    ------
    ArgumentError
        The mapping names a file of an unknown format, or its settings do not fit the files.
    SourceError
        The root does not exist or has no sample.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        mapping: SourceMapping,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = normalize_root(root)
        self.storage_options = dict(storage_options or {})
        self.mapping = mapping
        self.filemap = mapping.filemap()
        self.field_attributes = mapping.field_attributes()
        self.notices: list[str] = []
        self._tables = AttributeTables()
        build_domain_layouts(self.filemap)
        _check_formats(mapping)
        self._samples = find_samples(self._storage(), mapping)
        self._check_first_files()
        self._notice_missing_domains()

    def sample_ids(self) -> list[str]:
        """Return the sample ids, sorted."""
        return list(self._samples)

    def load(self, sample_id: str) -> SourceSample:
        """Load the fields and attributes of one sample.

        Raises
        ------
        SourceError
            There is no such sample, its files are missing or damaged, or a file lacks an array.
        StorageError
            A file cannot be fetched.
        MissingDependencyError
            A library that a file needs is not installed.
        """
        return self._loader(sample_id).load()

    def describe(self, sample_id: str) -> dict[str, FieldDescription] | None:
        """Return shapes and dtypes of a sample, read from the headers of its files.

        Returns None if headers are not enough: for STL, legacy VTK, ``.vtm``, ``.pvtu``, ``.pvtp``, VTKHDF and CGNS;
        for EnSight cases in object storage, and EnSight cases that only VTK reads; for meshes with ghosts; and if the
        mapping drops unused points or selects parts of a VTK file. Raises the errors of `load`.
        """
        return SampleDescriber(self._loader(sample_id)).describe()

    def fingerprint(self, sample_id: str) -> str:
        """Return a text that changes if the mapping or a file of the sample changes.

        A file is compared by name, size and modification time or entity tag.

        Raises
        ------
        SourceError
            There is no such sample.
        """
        found = self._found(sample_id)
        mapping = self.mapping.model_dump(mode="json", exclude={"name"})
        return fingerprint_of(mapping, found.files, found.named_files(self._storage(), self.mapping))

    def only(self, fields: Collection[str]) -> Self:
        """Return a source of some fields (canonical names) and of the positions of their domains.

        It has the samples that have files for these fields. The root is not listed again.
        """
        narrowed, mapping = copy(self), self.mapping.only(fields)
        narrowed.mapping, narrowed.filemap = mapping, mapping.filemap()
        narrowed.field_attributes = mapping.field_attributes()
        of_samples = {sample_id: found.only(mapping) for sample_id, found in self._samples.items()}
        narrowed._samples = {
            sample_id: found
            for sample_id, found in of_samples.items()
            if any(found.has_any(domain) for domain in mapping.domains.values())
        }
        narrowed.notices = []
        return narrowed

    def _loader(self, sample_id: str) -> SampleLoader:
        return SampleLoader(self.mapping, self._storage(), self._found(sample_id), self._tables)

    def _found(self, sample_id: str) -> FoundSample:
        if sample_id not in self._samples:
            raise SourceError(f"sample {sample_id!r} is not in {self.root}; {nearest_names(sample_id, self._samples)}")
        return self._samples[sample_id]

    def _storage(self) -> Storage:
        # Opened on use: an open storage cannot be sent to another process.
        return open_storage(self.root, self.storage_options)

    def _check_first_files(self) -> None:
        """Raise `ArgumentError` if a domain has settings for a mesh but its first HDF5 file holds arrays."""
        for name, domain in self.mapping.domains.items():
            unfit = unfit_for_arrays(domain) if suffix_of(domain.file or "") in HDF5_SUFFIXES else None
            found = next((one for one in self._samples.values() if domain.file in one.files), None)
            if unfit is None or found is None:
                continue
            item = found.files[str(domain.file)][0]
            try:
                with streamed(self._storage(), item) as stream:
                    is_mesh = self._loader(found.sample_id).holds_mesh(item.key, stream)
            except SourceError:
                continue  # reported when its sample is loaded
            if not is_mesh:
                problem, way_out = unfit
                raise ArgumentError(f"mapping: domain {name!r}: {domain.file!r} {problem}; {way_out}")

    def _notice_missing_domains(self) -> None:
        for name, domain in self.mapping.domains.items():
            without = [found.sample_id for found in self._samples.values() if not found.has_any(domain)]
            if without:
                of = f"{len(without):,} of {len(self._samples):,} samples"
                self.notices.append(f"{of}, such as {without[0]!r}, lack the domain {name}")


def _check_formats(mapping: SourceMapping) -> None:
    for name, domain in mapping.domains.items():
        if domain.file is not None:
            _check_suffix(domain.file, READERS, f"domain {name!r}")
        check_array_domain(name, domain)
        for field_name, field in domain.fields.items():
            if isinstance(field, FileField):
                _check_suffix(field.file, FORMATS, f"field {name}_{field_name}")
    for name, attribute in mapping.attribute_files().items():
        formats = TABLE_SEPARATORS if isinstance(attribute, AttributeTable) else ATTRIBUTE_FORMATS
        _check_suffix(attribute.file, formats, f"attribute {name!r}")


def _check_suffix(pattern: str, formats: Mapping[str, object], what: str) -> None:
    unread = unread_format(pattern)
    if unread is not None:
        kind, way_out = unread
        raise ArgumentError(f"mapping: {what}: {pattern!r} is {kind}, which is not read; {way_out}")
    if suffix_of(pattern) not in formats:
        raise ArgumentError(f"mapping: {what}: {pattern!r} has an unknown format; use one of {', '.join(formats)}")
