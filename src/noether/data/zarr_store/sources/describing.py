"""Shapes, dtypes and memory needs of the samples of a mapping, read from the headers of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from noether.data.zarr_store.sources.mesh_domains import (
    SMALL_DOMAIN_BYTES,
    DomainView,
    association_of,
    domain_view,
    streamed_parts,
)
from noether.data.zarr_store.sources.range_reader import open_head, open_ranged
from noether.data.zarr_store.sources.spilled_arrays import SMALL_ARRAY_BYTES
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_files import open_streamed
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES, VtkHead, read_vtk_head
from noether.data.zarr_store.stores import is_remote

__all__ = ["SampleDescriber"]

# Bytes that one thread holds while it reads from a lazily read file: a decoded block and the values computed from it.
_STREAM_BYTES = 16 << 20
# Memory in addition to the requested arrays, measured on meshes of hexahedra and of quadrilaterals: VTK's own copies
# of the mesh (per cell or face), areas and normals (per face), and the tree of triangles for distances (per face).
_CELL_BYTES = 150
_FACE_BYTES = 170
_DERIVED_FACE_BYTES = 150
_TREE_FACE_BYTES = 840

Descriptions = dict[str, FieldDescription]


@dataclass(frozen=True, slots=True)
class SampleDescriber:
    """Describes the sample that a `SampleLoader` loads."""

    loader: SampleLoader

    def describe(self) -> Descriptions | None:
        """Describe the fields that `SampleLoader.load` would return; None if the headers of the files are not enough.

        Raises the errors of `SampleLoader.load`.
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
        """Describe the fields that come from the domain's own file, by their names in the mapping."""
        if domain.file is None:
            position = domain.fields[POSITION]
            is_file = isinstance(position, FileField)
            return {POSITION: self._describe_own_file(name, POSITION, position)} if is_file else None  # type: ignore[arg-type]  # checked above
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
        if suffix == ".case" and not is_remote(loader.storage.root) and domain.unused_points == "keep":
            loader.found.named_files(loader.storage, loader.mapping)  # raises if the case names files outside the root
            parts = streamed_parts(file, {name: domain}, file.step(domain))
            return None if parts is None else self._describe_parts(domain, domain_view(file, name, domain, parts))
        return None

    def _describe_parts(self, domain: DomainMapping, view: DomainView) -> Descriptions:
        """Describe the fields of a view whose arrays are read lazily."""
        positions = view.positions()
        fields: Descriptions = {}
        for field_name in dict.fromkeys([POSITION, *domain.fields]):
            field, values = domain.fields.get(field_name), positions
            if isinstance(field, ArrayField):
                values = view.values(field_name, field)
            shape = positions.shape[:1] if isinstance(field, AreaField) else values.shape
            if not isinstance(field, FileField | DistanceField):
                fields[field_name] = FieldDescription(tuple(shape), values.dtype)
        fields[POSITION] = replace(fields[POSITION], association=view.association)
        n_points = [part.size("point") for part in view.parts] if view.association == "cell" else []
        points = [3 * count * positions.dtype.itemsize for count in n_points]
        return _streamed(fields, domain, points, sum(part.size("cell") for part in view.parts))

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
            return None  # the number of ghosts is known only from the values
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
        return _streamed(fields, domain, [points], head.n_cells)

    def _is_streamed(self, file: SampleFile, domain: DomainMapping, head: VtkHead) -> bool:
        if head.has_other_cells or not head.is_appended:
            # Finding the tags among inline values means reading the whole file, which is slow in object storage.
            return not head.has_other_cells and not is_remote(self.loader.storage.root)
        try:
            open_streamed(file.path, file.where(), file.way_out, self.loader.bytes_of(self.loader.objects(domain)))
        except NotStreamedError:
            return False
        return True

    def _fetched_bytes(self, key: str, domain: DomainMapping) -> int:
        """Return the size of the local copy of a file: 0 for a local file that is not in pieces."""
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


def _streamed(fields: Descriptions, domain: DomainMapping, points: Sequence[int], n_cells: int) -> Descriptions:
    """Return lazily read fields with the memory and the temporary files that reading them needs.

    Parameters
    ----------
    fields : dict of str to FieldDescription
        Descriptions by name in the mapping.
    domain : DomainMapping
        Mapping of the domain; it shows whether normals or areas are computed.
    points : sequence of int
        Bytes of the points of each mesh; computing cell centres needs them.
    n_cells : int
        Number of cells of all meshes.
    """
    mapped = sum(n_bytes for n_bytes in points if n_bytes > SMALL_ARRAY_BYTES)
    held = _STREAM_BYTES * (read_threads() + 1) + sum(points) - mapped
    loading = held + _derived_bytes(domain, n_cells)
    fields[POSITION] = replace(fields[POSITION], loading_bytes=loading, scratch_bytes=mapped)
    is_small = sum(one.n_bytes for one in fields.values()) <= SMALL_DOMAIN_BYTES
    return {field: replace(one, in_memory=is_small) for field, one in fields.items()}


def _mesh_bytes(file: SampleFile, domain: DomainMapping, n_cells: int) -> int:
    """Return the bytes of memory that reading a mesh needs."""
    if suffix_of(file.path) == ".vtu":
        return _CELL_BYTES * n_cells
    return _FACE_BYTES * n_cells + _derived_bytes(domain, n_cells)


def _derived_bytes(domain: DomainMapping, n_cells: int) -> int:
    """Return the bytes of memory that computing areas and normals needs."""
    is_derived = any(isinstance(field, NormalsField | AreaField) for field in domain.fields.values())
    return _DERIVED_FACE_BYTES * n_cells if is_derived else 0


def _require_pyvista(suffix: str) -> None:
    """Import the libraries that will read the file, so that measured memory includes them."""
    try:
        import pyvista  # noqa: F401
        import scipy.spatial  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("pyvista", f"reading {suffix} files", "mesh") from error
