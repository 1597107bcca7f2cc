"""What a sample of a mapping is like, from the heads of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noether.data.zarr_store.errors import MissingDependencyError
from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.array_files import ARRAY_SUFFIXES, describe_member_domains, hdf5_domains
from noether.data.zarr_store.sources.assembly import transposed
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.domain_data import SampleFile
from noether.data.zarr_store.sources.formats import damage_reported, describe_file
from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, open_hdf5
from noether.data.zarr_store.sources.hdf5_meshes import mesh_suffix
from noether.data.zarr_store.sources.lazy_arrays import read_threads
from noether.data.zarr_store.sources.loading import SampleLoader
from noether.data.zarr_store.sources.mapping import DomainMapping
from noether.data.zarr_store.sources.mapping_fields import AreaField, ArrayField, DistanceField, FileField, NormalsField
from noether.data.zarr_store.sources.mesh_domains import SMALL_DOMAIN_BYTES, association_of
from noether.data.zarr_store.sources.range_reader import open_head, open_ranged
from noether.data.zarr_store.sources.streamed_files import open_streamed
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES, VtkHead, read_vtk_head
from noether.data.zarr_store.sources.vtk_xml import SMALL_ARRAY_BYTES, NotStreamedError
from noether.data.zarr_store.stores import is_remote

__all__ = ["SampleDescriber"]

# What a thread decodes at once of a file whose arrays are read as they are asked for, with what is made of it.
_STREAM_BYTES = 16 << 20
# Memory beside the arrays that are asked for, as it was measured of meshes of hexahedra and of quadrilaterals: VTK's
# own copies of the mesh, by cell; areas and normals, by face; a tree of the triangles that distances are measured to.
_CELL_BYTES = 150
_FACE_BYTES = 170
_DERIVED_FACE_BYTES = 150
_TREE_FACE_BYTES = 840

Descriptions = dict[str, FieldDescription]


@dataclass(frozen=True, slots=True)
class SampleDescriber:
    """Describes the sample of a loader."""

    loader: SampleLoader

    def describe(self) -> Descriptions | None:
        """Describe the fields that `SampleLoader.load` would give; None where the heads of files do not tell.

        Errors are those of `SampleLoader.load`.
        """
        self.loader.found.require_one_file_each()
        domains = self.loader.present_domains()
        described: dict[str, Descriptions] = {}
        for name, domain in domains.items():
            held = self._describe_domain(name, domain)
            if held is None:
                return None
            described[name] = held
        fields: Descriptions = {}
        for name, domain in domains.items():
            for field_name in dict.fromkeys([POSITION, *domain.fields]):
                field = domain.fields.get(field_name)
                if isinstance(field, FileField):
                    found = self._describe_own_file(name, field_name, field)
                elif isinstance(field, DistanceField):
                    found = self._describe_distance(described[name], described[field.to], field)
                else:
                    found = described[name][field_name]
                self.loader.require_width(name, field_name, found.shape)
                fields[self.loader.mapping.spec(name, field_name).field] = found
        return fields

    def _describe_domain(self, name: str, domain: DomainMapping) -> Descriptions | None:
        """Describe what lies in a domain's own file, by the name of the field in the mapping."""
        if domain.file is None:
            position = domain.fields[POSITION]
            is_file = isinstance(position, FileField)
            return {POSITION: self._describe_own_file(name, POSITION, position)} if is_file else None  # type: ignore[arg-type]  # as was asked
        loader = self.loader
        key, item = loader.found.key(domain.file), loader.objects(domain)[0]
        loader.require_read(key)
        suffix, path = suffix_of(key), Path(loader.storage.root, key)
        file = SampleFile(loader.found.sample_id, key, path, loader.found.values, open_ranged(loader.storage, item))
        if suffix in HDF5_SUFFIXES:
            opened = open_hdf5(file.open(), file.where())
            is_mesh = mesh_suffix(opened) is not None
            loader.require_fit(key, {name: domain}, is_mesh=is_mesh)
            if is_mesh:
                return None
            arrays = hdf5_domains(file, opened, {name: domain})[name].fields
            return {
                field: FieldDescription(tuple(one.shape), one.dtype, in_memory=False) for field, one in arrays.items()
            }
        if suffix in ARRAY_SUFFIXES:
            with open_head(loader.storage, item) as opened:
                return describe_member_domains(replace(file, stream=opened), {name: domain})[name].fields
        if suffix in HEAD_SUFFIXES and domain.parts is None and domain.unused_points == "keep":
            with damage_reported(file.key, f"sample {file.sample_id!r}"):
                head = read_vtk_head(file.open())
            return self._describe_mesh(file, name, domain, head)
        return None

    def _describe_mesh(self, file: SampleFile, name: str, domain: DomainMapping, head: VtkHead) -> Descriptions | None:
        is_streamed = self._is_streamed(file, domain, head)
        if not is_streamed:
            _require_pyvista(file.path.suffix)
        association = domain.association
        if head.is_whole:
            association = association_of(file, name, domain, head.arrays)
        if association is None:
            return None
        rows = head.n_cells if association == "cell" else head.n_points
        there = head.arrays[association]
        if any(name in arrays for arrays in head.arrays.values() for name in GHOST_ARRAYS):
            return None  # only the values tell how many cells and points are ghosts
        fields: Descriptions = {}
        for field_name in dict.fromkeys([POSITION, *domain.fields]):
            field, width = domain.fields.get(field_name), self.loader.mapping.spec(name, field_name).width
            dtype = head.points_dtype
            if isinstance(field, ArrayField):
                heads = [there.get(array, (np.dtype(np.float32), width)) for array in field.names]
                dtype = np.result_type(*(one for one, _ in heads))
                width = heads[0][1] if len(heads) == 1 else len(heads)
            if not isinstance(field, FileField | DistanceField):
                fields[field_name] = FieldDescription((rows, width) if width > 1 else (rows,), dtype)
        fields[POSITION] = replace(fields[POSITION], association=association)
        if not is_streamed:
            needed, fetched = _mesh_bytes(file, domain, head.n_cells), self._fetched_bytes(file.key, domain)
            fields[POSITION] = replace(fields[POSITION], loading_bytes=needed, scratch_bytes=fetched)
            return fields
        points = 3 * head.n_points * head.points_dtype.itemsize if association == "cell" else 0
        is_mapped = points > SMALL_ARRAY_BYTES
        held = _STREAM_BYTES * (read_threads() + 1) + (0 if is_mapped else points)
        fields[POSITION] = replace(
            fields[POSITION],
            loading_bytes=held + _derived_bytes(domain, head.n_cells),
            scratch_bytes=points if is_mapped else 0,
        )
        is_small = sum(one.n_bytes for one in fields.values()) <= SMALL_DOMAIN_BYTES
        return {field: replace(one, in_memory=is_small) for field, one in fields.items()}

    def _is_streamed(self, file: SampleFile, domain: DomainMapping, head: VtkHead) -> bool:
        if head.has_other_cells or not head.is_appended:
            # Tags among the values cannot be looked for in little time.
            return not head.has_other_cells and not is_remote(self.loader.storage.root)
        try:
            open_streamed(file.path, file.where(), file.way_out, self.loader.bytes_of(self.loader.objects(domain)))
        except NotStreamedError:
            return False
        return True

    def _fetched_bytes(self, key: str, domain: DomainMapping) -> int:
        """Return the size of the copy that is made of a file: one in object storage, or of pieces."""
        objects = self.loader.objects(domain)
        is_in_place = not is_remote(self.loader.storage.root) and [item.key for item in objects] == [key]
        return 0 if is_in_place else sum(item.size for item in objects)

    def _describe_own_file(self, domain: str, name: str, field: FileField) -> FieldDescription:
        loader, key = self.loader, self.loader.found.key(field.file)
        item = loader.found.files[field.file][0]
        with open_head(loader.storage, item) as file:
            found = describe_file(file, key, loader.where(domain, name))
        found = transposed(found) if field.transpose else found
        return replace(found, loading_bytes=2 * item.size) if is_remote(loader.storage.root) else found

    def _describe_distance(
        self, own: Mapping[str, FieldDescription], to: Mapping[str, FieldDescription], field: DistanceField
    ) -> FieldDescription:
        target = to[POSITION].shape[0]
        needed = target * (_TREE_FACE_BYTES if field.method == "faces" else _TREE_FACE_BYTES // 8)
        dtype: np.dtype[Any] = np.result_type(own[POSITION].dtype, np.float32)
        return FieldDescription(own[POSITION].shape[:1], dtype, loading_bytes=needed)


def _mesh_bytes(file: SampleFile, domain: DomainMapping, n_cells: int) -> int:
    """Return the memory that a mesh takes while it is read."""
    if suffix_of(file.path) == ".vtu":
        return _CELL_BYTES * n_cells
    return _FACE_BYTES * n_cells + _derived_bytes(domain, n_cells)


def _derived_bytes(domain: DomainMapping, n_cells: int) -> int:
    """Return the memory that areas and normals take while they are computed."""
    is_derived = any(isinstance(field, NormalsField | AreaField) for field in domain.fields.values())
    return _DERIVED_FACE_BYTES * n_cells if is_derived else 0


def _require_pyvista(suffix: str) -> None:
    """Load what reads the file later: it takes memory, too."""
    try:
        import pyvista  # noqa: F401
        import scipy.spatial  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("pyvista", f"reading {suffix} files", "mesh") from error
