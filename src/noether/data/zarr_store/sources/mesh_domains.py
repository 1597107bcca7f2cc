"""Read the domains of a sample from a mesh file: their arrays, and the fields that are computed from the mesh."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import methodcaller
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import default_threads, name_matches
from noether.data.zarr_store.errors import SourceError, nearest_names
from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.assembly import assemble
from noether.data.zarr_store.sources.cells import UnsoundCellError
from noether.data.zarr_store.sources.domain_data import DomainData, SampleFile
from noether.data.zarr_store.sources.geometry import face_vectors, outward_sign, point_vectors
from noether.data.zarr_store.sources.lazy_arrays import LazyArray, chosen_rows, joined
from noether.data.zarr_store.sources.mapping import Association, DomainMapping, PartSelection
from noether.data.zarr_store.sources.mapping_fields import AreaField, ArrayField, NormalsField
from noether.data.zarr_store.sources.mesh_part import MeshPart
from noether.data.zarr_store.sources.meshes import MeshFile
from noether.data.zarr_store.sources.patterns import PathPattern
from noether.data.zarr_store.sources.steps import STEP, Step, Steps
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_files import StreamedFile, open_streamed, warn_if_large

__all__ = ["SMALL_DOMAIN_BYTES", "DomainView", "association_of", "domain_view", "read_mesh_domains", "streamed_parts"]

ASSOCIATIONS: tuple[Association, ...] = get_args(Association)

# Beginning of the paths of VTKHDF's arrays in the HDF5 file.
_VTKHDF_PATH = "VTKHDF/"
SMALL_DOMAIN_BYTES = 32 << 20
"""Largest domain whose arrays are loaded together. The arrays of a larger domain are read while they are written."""

# A flat surface has no inside. Its outward sign is 0; rounding of float32 coordinates stays below this limit.
_FLAT = 1e-5

Names = Mapping[Association, Collection[str]]
_T = TypeVar("_T")


def read_mesh_domains(file: SampleFile, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
    """Read the domains that one mesh file holds. The file is read once for each time step of the domains.

    Parameters
    ----------
    file : SampleFile
        A mesh file: VTK, EnSight Gold, CGNS or STL.
    domains : mapping of str to DomainMapping
        Mappings of the domains in the file, by name of the domain.

    Raises
    ------
    SourceError
        The file is damaged, or lacks an array, a part or a step. Or the association of an array is ambiguous. Or a
        field is computed from faces, but the mesh has other cells.
    MissingDependencyError
        PyVista is not installed.
    """
    by_step: dict[Step, dict[str, DomainMapping]] = {}
    for name, domain in domains.items():
        by_step.setdefault(file.step(domain), {})[name] = domain
    data: dict[str, DomainData] = {}
    for step, there in by_step.items():
        data |= _read_at_step(file, there, step)
    return {name: data[name] for name in domains}


def _read_at_step(file: SampleFile, domains: Mapping[str, DomainMapping], step: Step) -> dict[str, DomainData]:
    parts = streamed_parts(file, domains, step)
    if parts is None:
        mesh = MeshFile(file.path, file.where(), file.way_out, step)
        parts = mesh.read(_wanted_arrays(file, domains, mesh, step))
    return {name: _read_domain(file, name, domain, parts) for name, domain in domains.items()}


def streamed_parts(file: SampleFile, domains: Mapping[str, DomainMapping], step: Step) -> Sequence[MeshPart] | None:
    """Open a file whose arrays are read lazily; return None if only PyVista can read it.

    Parameters and errors are the same as for `read_mesh_domains`, at one time step. If the file is not local, PyVista
    cannot read it either, and `NotStreamedError` is raised.
    """
    try:
        mesh = open_streamed(file.path, file.where(), file.way_out, file.source, step)
        return mesh.read(_wanted_arrays(file, domains, mesh, step))
    except NotStreamedError as reason:
        if file.source is not None:  # PyVista reads only local files
            raise
        warn_if_large(file.path, next(domain.file for domain in domains.values()) or file.key, reason)
        return None


def _wanted_arrays(
    file: SampleFile, domains: Mapping[str, DomainMapping], mesh: MeshFile | StreamedFile, step: Step
) -> dict[Association, set[str]]:
    """Return the arrays of a file that domains need, by association; empty if the file has no list of its arrays."""
    if step is None and mesh.steps.count > 1:
        _require_step_where_steps_are_samples(file, domains, mesh.steps)
    names = mesh.names
    wanted: dict[Association, set[str]] = {association: set() for association in ASSOCIATIONS}
    if names is not None:
        # A missing array is reported from the header, before gigabytes are read.
        for name, domain in domains.items():
            wanted[association_of(file, name, domain, names)].update(*domain.arrays.values())
            if domain.parts is not None and domain.parts.having is not None:
                for association in ASSOCIATIONS:
                    wanted[association].update({domain.parts.having} & set(names[association]))
    return wanted


def _require_step_where_steps_are_samples(file: SampleFile, domains: Mapping[str, DomainMapping], steps: Steps) -> None:
    """Raise `SourceError` if samples are steps, but a domain without `step` would have the last step in each sample."""
    for name, domain in domains.items():
        if STEP in file.values and STEP not in PathPattern.parse(str(domain.file)).names:
            raise SourceError(
                f"{file.where()} has {steps.described()}, and each sample is one step; write step = 'all' for domain "
                f"{name!r} too, or step = 'last' if all samples have the last step"
            )


def _read_domain(file: SampleFile, name: str, domain: DomainMapping, parts: Sequence[MeshPart]) -> DomainData:
    view = domain_view(file, name, domain, parts)
    used = view.used_points() if domain.unused_points == "drop" else None
    fields: dict[str, Any] = {}
    for field_name, field in domain.fields.items():
        if isinstance(field, ArrayField):
            fields[field_name] = view.values(field_name, field)
        elif isinstance(field, NormalsField):
            fields[field_name] = view.normals(field_name, field.orient)
        elif isinstance(field, AreaField):
            fields[field_name] = view.areas(field_name)
    if POSITION not in domain.fields:
        fields[POSITION] = view.positions()
    if used is not None:
        fields = {field_name: chosen_rows(values, used) for field_name, values in fields.items()}
    triangles = view.triangles if view.has_faces_only else None
    return DomainData(_loaded_if_small(fields), view.rows(used), triangles, view.association)


def domain_view(file: SampleFile, name: str, domain: DomainMapping, parts: Sequence[MeshPart]) -> DomainView:
    """Return the parts of a mesh that make a domain. Parameters and errors are the same as for `read_mesh_domains`."""
    chosen = _choose_parts(file, name, domain.parts, parts)
    there = {one: {array for part in chosen for array in part.data[one]} for one in ASSOCIATIONS}
    association = association_of(file, name, domain, there)
    _require_in_all_parts(file, name, domain, association, chosen)
    return DomainView(file, name, association, chosen)


def _loaded_if_small(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Load the lazy arrays of a domain if all of them together are small."""
    n_bytes = sum(prod(one.shape) * one.dtype.itemsize for one in fields.values() if isinstance(one, LazyArray))
    if n_bytes > SMALL_DOMAIN_BYTES:
        return dict(fields)
    return {name: np.asarray(values) for name, values in fields.items()}


def _choose_parts(
    file: SampleFile, name: str, selection: PartSelection | None, parts: Sequence[MeshPart]
) -> list[MeshPart]:
    there = ", ".join(repr(part.name) for part in parts)
    if selection is None:
        if len(parts) > 1:
            raise SourceError(
                f"{file.where()} has {len(parts):,} parts: {there}; choose the parts of domain {name!r} in the "
                f"mapping, such as parts = {{ include = [{parts[0].name!r}] }}"
            )
        return list(parts)
    chosen = [
        part
        for part in parts
        if any(name_matches(part.name, pattern) for pattern in selection.include)
        and not any(name_matches(part.name, pattern) for pattern in selection.exclude)
        and (selection.having is None or any(selection.having in arrays for arrays in part.data.values()))
    ]
    if not chosen:
        wanted = json.dumps(selection.model_dump(exclude_defaults=True))
        raise SourceError(
            f"{file.where()} has no part for domain {name!r}: expected {wanted}, got: {there}; correct the parts of "
            "the domain in the mapping"
        )
    return chosen


def _require_in_all_parts(
    file: SampleFile, name: str, domain: DomainMapping, association: Association, parts: Sequence[MeshPart]
) -> None:
    for part in parts:
        for field_name, array in _mapped_arrays(domain):
            if array not in part.data[association]:
                raise SourceError(
                    f"{file.where(f'{name}_{field_name}')}: part {part.name!r} has no array {array!r} in its "
                    f"{association} data, but other parts do; choose the parts that have it, such as "
                    f"parts = {{ having = {array!r} }}"
                )


def _mapped_arrays(domain: DomainMapping) -> list[tuple[str, str]]:
    """Return ``(field name, array name)`` for each array of a domain."""
    return [(field, array) for field, names in domain.arrays.items() for array in names]


def association_of(file: SampleFile, name: str, domain: DomainMapping, names: Names) -> Association:
    """Return whether a domain takes the cells or the points of the mesh.

    The mapping specifies this, or else the association of its arrays determines it.
    """
    allowed = ASSOCIATIONS if domain.association is None else (domain.association,)
    places: dict[str, set[Association]] = {}
    for field_name, array in _mapped_arrays(domain):
        places[array] = {association for association in allowed if array in names[association]}
        if not places[array]:
            there = "; ".join(f"{one} data: {', '.join(sorted(names[one])) or 'none'}" for one in ASSOCIATIONS)
            of_kind = f" in its {allowed[0]} data" if len(allowed) == 1 else ""
            way_out = _way_out_of_missing(array, allowed, names)
            raise SourceError(
                f"{file.where(f'{name}_{field_name}')} has no array {array!r}{of_kind} (it has {there}); {way_out}"
            )
    possible = [one for one in allowed if all(one in place for place in places.values())]
    if len(possible) == 1:
        return possible[0]
    if not possible:
        shown = ", ".join(f"{array!r} {' and '.join(sorted(place))} data" for array, place in places.items())
        raise SourceError(
            f"{file.where()}: the arrays of domain {name!r} have different associations: {shown}; map only cell data "
            "or only point data"
        )
    both = f"{', '.join(map(repr, places))} are both cell data and point data" if places else "it maps no array"
    raise SourceError(
        f"{file.where()}: domain {name!r} can take the cells or the points of the mesh ({both}); write association = "
        "'cell' or 'point' in the mapping"
    )


def _way_out_of_missing(array: str, allowed: Sequence[Association], names: Names) -> str:
    if array.startswith(_VTKHDF_PATH):
        return "use the names of the mesh's arrays, without a path, and leave the position out: VTKHDF is a mesh"
    near = nearest_names(array, {one for association in allowed for one in names[association]})
    return near if near.startswith("did you mean") else "map one of these arrays"


@dataclass(frozen=True)
class DomainView:
    """The parts of a mesh that make a domain, without ghosts.

    `association` specifies whether the points of the domain are the cells or the points of the mesh.
    """

    file: SampleFile
    name: str
    association: Association
    parts: Sequence[MeshPart]

    def positions(self) -> Any:
        if self.association == "point":
            return joined([part.point_positions() for part in self.parts])
        return joined([self._computed(part, methodcaller("cell_positions")) for part in self.parts])

    def values(self, field_name: str, field: ArrayField) -> Any:
        of, where = self.association, self.file.where(f"{self.name}_{field_name}")
        arrays = [
            joined([part.without_ghosts(of, part.data[of][array]) for part in self.parts]) for array in field.names
        ]
        return assemble(field, arrays, where)

    def normals(self, field_name: str, orient: str) -> NDArray[Any]:
        vectors = np.concatenate([vectors for vectors, _ in self._shares(field_name)])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        sign = {"winding": 1.0, "reversed": -1.0}.get(orient) or self._outward(field_name)
        # A face without area has no normal, nor has a point without faces. Their normals are zero.
        return (sign * vectors / np.where(lengths > 0, lengths, 1)).astype(self._dtype)

    def areas(self, field_name: str) -> NDArray[Any]:
        return np.concatenate([areas for _, areas in self._shares(field_name)]).astype(self._dtype)

    def rows(self, used: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Return a mask of the file's cells or points that are neither ghosts nor unused; None if it would be all true.

        `used` masks the cells or points that are not ghosts.
        """
        if not any(part.n_ghosts(self.association) for part in self.parts):
            return used
        rows = np.concatenate([part.is_own(self.association) for part in self.parts])
        if used is not None:
            rows[rows] = used
        return rows

    def used_points(self) -> NDArray[np.bool_]:
        if self.association == "cell":
            raise SourceError(
                f"{self.file.where()}: unused_points = 'drop' is only for point data, but domain {self.name!r} takes "
                "the cells; leave unused_points out"
            )
        return np.concatenate(
            [part.without_ghosts("point", self._computed(part, methodcaller("used_points"))) for part in self.parts]
        )

    @property
    def has_faces_only(self) -> bool:
        return all(part.has_faces_only for part in self.parts)

    def triangles(self) -> NDArray[Any]:
        return np.concatenate([part.triangles() for part in self.parts])

    @property
    def _dtype(self) -> np.dtype[Any]:
        # Computed values have no more digits than the coordinates from which they are computed.
        return self.parts[0].points.dtype

    @cached_property
    def _faces(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return [
            self._computed(part, lambda one: face_vectors(one.points, one.own_cells(), default_threads()))
            for part in self.parts
        ]

    def _computed(self, part: MeshPart, compute: Callable[[MeshPart], _T]) -> _T:
        try:
            return compute(part)
        except UnsoundCellError as error:
            raise SourceError(
                f"{self.file.where()} cannot be read (part {part.name!r}: {error}); {self.file.way_out}"
            ) from error

    def _shares(self, field_name: str) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Return the area vectors and areas of the cells or points of each part."""
        for part in self.parts:
            if not part.has_faces_only:
                raise SourceError(
                    f"{self.file.where(f'{self.name}_{field_name}')}: it is computed from faces, but part "
                    f"{part.name!r} has other cells; derive it in the domain of a surface"
                )
        if self.association == "cell":
            return [(vectors, np.linalg.norm(vectors, axis=1)) for _, vectors in self._faces]
        shares = []
        for part, (_, vectors) in zip(self.parts, self._faces, strict=True):
            of_points = point_vectors(part.size("point"), part.own_cells(), vectors)
            total, areas = (part.without_ghosts("point", values) for values in of_points)
            shares.append((total, areas))
        return shares

    def _outward(self, field_name: str) -> float:
        sign = outward_sign(*(np.concatenate(arrays) for arrays in zip(*self._faces, strict=True)))
        if abs(sign) < _FLAT:
            raise SourceError(
                f"{self.file.where(f'{self.name}_{field_name}')}: the surface is flat, so neither side is outside; "
                "write orient = 'winding' or 'reversed' in the mapping"
            )
        return float(np.sign(sign))
