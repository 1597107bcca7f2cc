"""Loading one sample from the files that a mapping names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.array_files import (
    ARRAY_SUFFIXES,
    MEMBER_SUFFIXES,
    read_hdf5_domains,
    read_member_domains,
    unfit_for_arrays,
    unfit_for_mesh,
)
from noether.data.zarr_store.sources.assembly import transposed
from noether.data.zarr_store.sources.attribute_tables import AttributeTables
from noether.data.zarr_store.sources.base import SourceSample
from noether.data.zarr_store.sources.byte_source import MAX_OPEN_FILES, ByteSource, local_bytes, stored_bytes
from noether.data.zarr_store.sources.discovery import FoundSample
from noether.data.zarr_store.sources.distance import distance_to_positions, distance_to_triangles
from noether.data.zarr_store.sources.domain_data import DomainData, SampleFile
from noether.data.zarr_store.sources.formats import load_file
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, open_hdf5
from noether.data.zarr_store.sources.hdf5_meshes import mesh_suffix
from noether.data.zarr_store.sources.local_copies import LocalCopies, scratch_directory
from noether.data.zarr_store.sources.mapping import DomainMapping, SourceMapping
from noether.data.zarr_store.sources.mapping_attributes import AttributeTable
from noether.data.zarr_store.sources.mapping_fields import ArrayField, DistanceField, FileField
from noether.data.zarr_store.sources.mesh_domains import read_mesh_domains
from noether.data.zarr_store.sources.meshes import MESH_SUFFIXES
from noether.data.zarr_store.sources.range_reader import streamed
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.suffixes import suffix_of, unread_format
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote

__all__ = ["READERS", "SampleLoader"]

# First bytes of a VTK file, after a byte order mark and blanks.
_BEGINNINGS = (b"<?xml", b"<VTKFile", b"# vtk DataFile")
_HEAD_BYTES = 64

Reader = Callable[[SampleFile, Mapping[str, DomainMapping]], dict[str, DomainData]]

# By suffix: the function that reads one file and returns the domains in it.
READERS: dict[str, Reader] = {
    **dict.fromkeys(MESH_SUFFIXES, read_mesh_domains),
    **dict.fromkeys(HDF5_SUFFIXES, read_hdf5_domains),
    **dict.fromkeys(MEMBER_SUFFIXES, read_member_domains),
}


@dataclass(frozen=True, slots=True)
class SampleLoader:
    """Loads one sample.

    Attributes
    ----------
    mapping : SourceMapping
        Mapping that describes the files.
    storage : Storage
        Storage of the files.
    found : FoundSample
        The sample and its files.
    tables : AttributeTables
        Cache of tables with attributes of many samples.
    """

    mapping: SourceMapping
    storage: Storage
    found: FoundSample
    tables: AttributeTables

    def load(self) -> SourceSample:
        """Load the fields and attributes. Raises the errors of `MappedSource.load`."""
        self.found.require_one_file_each()
        domains = self.present_domains()
        data = self._read_domains(domains)
        fields: dict[str, NDArray[Any]] = {}
        for name, domain in domains.items():
            for field_name in dict.fromkeys([POSITION, *domain.fields]):
                fields[self.mapping.spec(name, field_name).field] = self._field(name, field_name, data)
        associations = {name: one.association for name, one in data.items() if one.association is not None}
        return SourceSample(fields, self._attributes(fields), associations)

    def present_domains(self) -> dict[str, DomainMapping]:
        """Return the domains of the sample. Raises `SourceError` if a domain has only some of its files."""
        found = self.found
        domains = {name: domain for name, domain in self.mapping.domains.items() if found.has_any(domain)}
        for name, domain in domains.items():
            missing = [found.key(pattern) for pattern in domain.patterns if not found.has(domain, pattern)]
            if missing:
                raise SourceError(
                    f"sample {found.sample_id!r}: domain {name!r} lacks the file {', '.join(missing)}; add the missing "
                    "files, or remove the other files of the domain"
                )
            for field_name, field in domain.fields.items():
                if isinstance(field, DistanceField) and field.to not in domains:
                    missing = [found.key(pattern) for pattern in self.mapping.domains[field.to].patterns]
                    raise SourceError(
                        f"{self.where(name, field_name)}: it is the distance to domain {field.to!r}, which the sample "
                        f"lacks; add {', '.join(missing)}"
                    )
        return domains

    def objects(self, domain: DomainMapping) -> Sequence[StoredObject]:
        """Return the file of a domain, or its pieces in order.

        Raises
        ------
        SourceError
            A piece is missing, or is a whole VTK file: a reader would read the first one and ignore the others.
        """
        objects = self.found.objects(domain)
        for item in objects[1:]:
            head = bytes(self.storage.read_range(item.key, 0, min(item.size, _HEAD_BYTES)))
            if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_BEGINNINGS):
                raise SourceError(
                    f"sample {self.found.sample_id!r}: {item.key} is a whole VTK file, expected a piece of "
                    f"{self.found.key(str(domain.file))} as the command split writes it; write a .pvtu or .pvtp file "
                    "that lists the whole files, and name it in the mapping instead of concatenate"
                )
        return objects

    def _read_domains(self, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
        """Read each file once, for all domains in it."""
        by_file: dict[str, dict[str, DomainMapping]] = {}
        for name, domain in domains.items():
            if domain.file is not None:
                by_file.setdefault(domain.file, {})[name] = domain
        data: dict[str, DomainData] = {}
        for pattern, there in by_file.items():
            data |= self._read_file(pattern, there)
        return data

    def _read_file(self, pattern: str, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
        key, objects = self.found.key(pattern), self.objects(next(iter(domains.values())))
        suffix = suffix_of(key)
        self.require_read(key)
        read = READERS[suffix]
        if suffix in ARRAY_SUFFIXES and (suffix in HDF5_SUFFIXES or is_remote(self.storage.root)):
            with streamed(self.storage, objects[0]) as stream:
                if suffix in HDF5_SUFFIXES:
                    is_mesh = self.holds_mesh(key, stream)
                    self.require_fit(key, domains, is_mesh=is_mesh)
                    read = read_mesh_domains if is_mesh else read
                if is_remote(self.storage.root) and read is not read_mesh_domains:
                    # The file can hold many samples or arrays; only the requested ones are fetched.
                    return read(SampleFile(self.found.sample_id, key, Path(key), self.found.values, stream), domains)
        n_pieces = 0 if objects[0].key == key else len(objects)
        file = SampleFile(self.found.sample_id, key, Path(key), self.found.values, n_pieces=n_pieces)
        is_whole_here = not is_remote(self.storage.root) and not n_pieces
        if suffix in HEAD_SUFFIXES and not is_whole_here and len(objects) <= MAX_OPEN_FILES:
            with suppress(NotStreamedError):
                return read(replace(file, source=self.bytes_of(objects)), domains)
        with scratch_directory() as directory:
            named = self.found.named_files(self.storage, self.mapping)
            path = LocalCopies(self.storage, directory).local_file(key, objects, named)
            return read(replace(file, path=path), domains)

    def bytes_of(self, objects: Sequence[StoredObject]) -> ByteSource:
        """Return the bytes of a file or of its pieces, without copying them to this machine."""
        if is_remote(self.storage.root):
            return stored_bytes(self.storage, objects)
        return local_bytes([Path(self.storage.root, item.key) for item in objects])

    def holds_mesh(self, key: str, stream: BinaryIO) -> bool:
        """Return whether an HDF5 file holds a mesh (VTKHDF or CGNS), by its root, rather than plain arrays."""
        with open_hdf5(stream, f"sample {self.found.sample_id!r}: {key}") as file:
            return mesh_suffix(file) is not None

    def require_fit(self, key: str, domains: Mapping[str, DomainMapping], *, is_mesh: bool) -> None:
        """Raise `SourceError` if a domain has settings for arrays but its HDF5 file holds a mesh, or vice versa."""
        for name, domain in domains.items():
            unfit = unfit_for_mesh(domain) if is_mesh else unfit_for_arrays(domain)
            if unfit is not None:
                problem, way_out = unfit
                raise SourceError(f"sample {self.found.sample_id!r}, domain {name!r}: {key} {problem}; {way_out}")

    def require_read(self, key: str) -> None:
        """Raise `SourceError` if a file has a known but unsupported format."""
        unread = unread_format(key)
        if unread is not None:
            kind, way_out = unread
            raise SourceError(f"sample {self.found.sample_id!r}: {key} is {kind}, which is not read; {way_out}")

    def _field(self, domain: str, name: str, data: Mapping[str, DomainData]) -> Any:
        field = self.mapping.domains[domain].fields.get(name)
        if isinstance(field, FileField):
            values = self._own_file(domain, name, field, data)
        elif isinstance(field, DistanceField):
            values = self._distance(domain, name, field, data)
        else:
            values = data[domain].fields[name]
        self.require_width(domain, name, tuple(values.shape))
        return values

    def require_width(self, domain: str, name: str, shape: tuple[int, ...]) -> None:
        """Raise `SourceError` if the number of components of an array differs from the width of its field."""
        width = self.mapping.spec(domain, name).width
        if shape[1:] != (width,) and not (width == 1 and len(shape) == 1):
            field = self.mapping.domains[domain].fields.get(name)
            looks, way_out = "", f"name an array with {width} column{'' if width == 1 else 's'}"
            if len(shape) == 2:
                way_out = f"write width = {shape[1]} in the mapping if that is correct"
                if shape[0] == width and _may_transpose(field, self.mapping.domains[domain]):
                    looks, way_out = (
                        ", which looks transposed (MATLAB's order)",
                        f"write {name} = {_transposing(field)}",
                    )
            raise SourceError(
                f"{self.where(domain, name)}: expected shape (n_points, {width}), got {shape}{looks}; {way_out}"
            )

    def _own_file(self, domain: str, name: str, field: FileField, data: Mapping[str, DomainData]) -> Any:
        values = self._load_file(field.file, self.where(domain, name))
        if not isinstance(values, np.ndarray):
            raise SourceError(
                f"{self.where(domain, name)}: {self.found.key(field.file)} holds a {type(values).__name__}, expected "
                "one tensor or array; name a file of several arrays as the file of the domain, and its arrays as fields"
            )
        values = transposed(values) if field.transpose else values
        rows = data[domain].rows if domain in data else None
        return values if rows is None or len(rows) != len(values) else values[rows]

    def _distance(self, domain: str, name: str, field: DistanceField, data: Mapping[str, DomainData]) -> Any:
        positions, targets = (np.asarray(self._field(one, POSITION, data)) for one in (domain, field.to))
        for of, values in ((domain, positions), (field.to, targets)):
            if not np.isfinite(values).all():
                raise SourceError(
                    f"{self.where(domain, name)}: a position of domain {of!r} is NaN or infinite; make the file again"
                )
        if field.method == "positions":
            return distance_to_positions(positions, targets)
        triangles = data[field.to].triangles if field.to in data else None
        if triangles is None:
            raise SourceError(
                f"{self.where(domain, name)}: domain {field.to!r} has no faces, or has cells that are not faces; "
                "write method = 'positions' in the mapping to measure the distance to the nearest position"
            )
        return distance_to_triangles(positions, triangles())

    def _attributes(self, fields: Mapping[str, object]) -> dict[str, Any]:
        attributes: dict[str, Any] = dict(self.mapping.attributes)
        for name, attribute in self.mapping.attribute_files().items():
            where = f"sample {self.found.sample_id!r}, {name}"
            if isinstance(attribute, AttributeTable):
                item, ids = self._own_object(attribute.file, where), self.found.ids_beside(attribute.file)
                attributes[name] = self.tables.row(self.storage, item, attribute.id, ids, where)
            else:
                attributes[name] = self._load_file(attribute.file, where)
        units = {field: units for field, units in self.mapping.units().items() if field in fields}
        return attributes | ({"units": units} if units else {})

    def _load_file(self, pattern: str, where: str) -> Any:
        key = self._own_object(pattern, where).key
        with self.storage.open_file(key) as file:
            return load_file(file, key, where)

    def _own_object(self, pattern: str, where: str) -> StoredObject:
        if pattern not in self.found.files:
            raise SourceError(f"{where}: the file {self.found.key(pattern)} is missing; add it")
        return self.found.files[pattern][0]

    def where(self, domain: str, name: str) -> str:
        """Return sample and field, as the start of an error message."""
        return f"sample {self.found.sample_id!r}, field {self.mapping.spec(domain, name).field}"


def _may_transpose(field: object, domain: DomainMapping) -> TypeGuard[ArrayField | FileField]:
    """Return whether the mapping could say that an array is transposed, but does not."""
    in_mesh = isinstance(field, ArrayField) and suffix_of(domain.file or "") not in ARRAY_SUFFIXES
    return isinstance(field, ArrayField | FileField) and not field.transpose and not in_mesh


def _transposing(field: ArrayField | FileField) -> str:
    """Return the text of a field in a mapping, with its array transposed."""
    said = field.model_dump(exclude_defaults=True) | {"transpose": True}
    return "{ " + ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in said.items()) + " }"
