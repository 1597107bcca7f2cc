"""Reading domains from files of named arrays: ``.npz``, ``.pt`` and HDF5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from noether.data.zarr_store.errors import ArgumentError, SourceError, nearest_names
from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.assembly import assemble
from noether.data.zarr_store.sources.domain_data import DomainData, SampleFile
from noether.data.zarr_store.sources.formats import damage_reported
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, array_at, array_names, leads_elsewhere, open_hdf5
from noether.data.zarr_store.sources.hdf5_meshes import HDF5_MESH_FILE_SUFFIXES
from noether.data.zarr_store.sources.mapping import DomainMapping
from noether.data.zarr_store.sources.mapping_fields import AreaField, ArrayField, NormalsField
from noether.data.zarr_store.sources.npy import load_members, member_heads
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.torch_files import load_tensors, tensor_heads

__all__ = [
    "ARRAY_SUFFIXES",
    "MEMBER_SUFFIXES",
    "check_array_domain",
    "describe_member_domains",
    "hdf5_domains",
    "read_hdf5_domains",
    "read_member_domains",
    "unfit_for_arrays",
    "unfit_for_mesh",
]

# By suffix: the function that describes all arrays of a file, and the function that loads the requested ones.
_MEMBERS = {".npz": (member_heads, load_members), ".pt": (tensor_heads, load_tensors)}
MEMBER_SUFFIXES = tuple(_MEMBERS)
ARRAY_SUFFIXES = (*MEMBER_SUFFIXES, *HDF5_SUFFIXES)

# Files that may have several time steps.
STEP_SUFFIXES = (".case", *HDF5_MESH_FILE_SUFFIXES)

_MAX_SHOWN = 40


def read_member_domains(file: SampleFile, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
    """Load the domains of one ``.npz`` or ``.pt`` file. Only the arrays that the mapping names are loaded.

    Raises
    ------
    SourceError
        The file is damaged, lacks an array, or claims more bytes than it holds or than fit in memory.
    """
    wanted = {array for domain in domains.values() for names in domain.arrays.values() for array in names}
    heads_of, load = _MEMBERS[suffix_of(file.path)]
    with damage_reported(file.key, f"sample {file.sample_id!r}"), file.open() as opened:
        there = list(heads_of(opened))
        loaded = load(opened, wanted.intersection(there))
    return {
        name: _gather(file, name, domain, lambda array, _: loaded.get(array), lambda: there)
        for name, domain in domains.items()
    }


def describe_member_domains(file: SampleFile, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
    """Describe the domains that `read_member_domains` would load, with a `FieldDescription` for each array."""
    with damage_reported(file.key, f"sample {file.sample_id!r}"):
        heads = _MEMBERS[suffix_of(file.path)][0](file.open())
    return {
        name: _gather(file, name, domain, lambda array, _: heads.get(array), lambda: list(heads))
        for name, domain in domains.items()
    }


def read_hdf5_domains(file: SampleFile, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
    """Open the domains of one HDF5 file as h5py arrays, which are read lazily.

    Raises
    ------
    SourceError
        The file is damaged, or lacks a group or an array.
    MissingDependencyError
        h5py is not installed.
    """
    opened = open_hdf5(file.path if file.stream is None else file.stream, file.where())
    return hdf5_domains(file, opened, domains)


def hdf5_domains(file: SampleFile, opened: Any, domains: Mapping[str, DomainMapping]) -> dict[str, DomainData]:
    """Return the domains of an open HDF5 file. Raises the errors of `read_hdf5_domains`."""
    return {name: _open_domain(file, opened, name, domain) for name, domain in domains.items()}


def check_array_domain(name: str, domain: DomainMapping) -> None:
    """Check that the settings of a domain fit the format of its file.

    Some settings are for arrays only, others for meshes only. An HDF5 file can hold either, so one kind of settings is
    accepted there, but not both.

    Raises
    ------
    ArgumentError
        A setting does not fit.
    """
    suffix = suffix_of(domain.file or "")
    if domain.group is not None and suffix not in HDF5_SUFFIXES:
        raise ArgumentError(
            f"mapping: domain {name!r}: only {', '.join(HDF5_SUFFIXES)} have groups, got {domain.file!r}; leave "
            "group out"
        )
    if domain.step is not None and suffix not in STEP_SUFFIXES:
        raise ArgumentError(
            f"mapping: domain {name!r}: only {', '.join(STEP_SUFFIXES)} have time steps, got {domain.file!r}; leave "
            "step out"
        )
    if suffix not in ARRAY_SUFFIXES:
        turned = _turned(domain)
        if turned:
            raise ArgumentError(
                f"mapping: domain {name!r}: arrays of a mesh have a row for each cell or point; leave transpose out of "
                f"{', '.join(turned)}"
            )
        return
    may_be_mesh = suffix in HDF5_SUFFIXES and domain.concatenate is None and not (domain.group or _turned(domain))
    unfit = None if may_be_mesh else unfit_for_arrays(domain)
    if unfit is not None:
        problem, way_out = unfit
        raise ArgumentError(f"mapping: domain {name!r}: {domain.file!r} {problem}; {way_out}")


def unfit_for_arrays(domain: DomainMapping) -> tuple[str, str] | None:
    """Return a problem and its remedy if a domain has settings that do not apply to a file of arrays, else None."""
    of_meshes = sorted({"association", "concatenate", "parts", "step", "unused_points"} & domain.model_fields_set)
    of_meshes += [one for one, field in domain.fields.items() if isinstance(field, NormalsField | AreaField)]
    if of_meshes:
        return "holds arrays and no mesh", f"leave {', '.join(of_meshes)} out, or name an array"
    if POSITION not in domain.fields:
        return "holds arrays and no mesh", "name the array of the positions, such as position = 'points'"
    return None


def unfit_for_mesh(domain: DomainMapping) -> tuple[str, str] | None:
    """Return a problem and its remedy if a domain has settings that do not apply to a mesh in HDF5, else None."""
    of_arrays = (["group"] if domain.group is not None else []) + [f"transpose of {one}" for one in _turned(domain)]
    if of_arrays:
        return "holds a mesh (VTKHDF or CGNS), not plain arrays", f"leave {', '.join(of_arrays)} out"
    return None


def _turned(domain: DomainMapping) -> list[str]:
    """Return the names of the fields whose arrays are transposed on loading."""
    return [one for one, field in domain.fields.items() if isinstance(field, ArrayField) and field.transpose]


def _open_domain(file: SampleFile, opened: Any, name: str, domain: DomainMapping) -> DomainData:
    group = opened
    if domain.group is not None:
        path = file.group(domain.group)
        if leads_elsewhere(opened, path):
            raise SourceError(
                f"{file.where()}: the group {path!r} of the domain {name!r} lies in another file; copy it into this one"
            )
        group = opened.get(path)
        if group is None or not hasattr(group, "keys"):
            near = nearest_names(path, opened)
            raise SourceError(f"{file.where()} has no group {path!r}, for the domain {name!r}; {near}")
    return _gather(
        file,
        name,
        domain,
        lambda array, field: array_at(group, array, file.where(field)),
        lambda: array_names(group, file.where()),
    )


def _gather(
    file: SampleFile,
    name: str,
    domain: DomainMapping,
    find: Callable[[str, str], Any],
    list_names: Callable[[], list[str]],
) -> DomainData:
    fields = {}
    for field_name, field in domain.fields.items():
        if not isinstance(field, ArrayField):
            continue
        arrays = []
        for array in field.names:
            values = find(array, f"{name}_{field_name}")
            if values is None:
                _refuse_missing(file, f"{name}_{field_name}", domain, array, list_names())
            arrays.append(values)
        fields[field_name] = assemble(field, arrays, file.where(f"{name}_{field_name}"))
    return DomainData(fields)


def _refuse_missing(file: SampleFile, field: str, domain: DomainMapping, array: str, there: list[str]) -> NoReturn:
    near = nearest_names(array, there)
    of_group = "" if domain.group is None else f" in the group {file.group(domain.group)!r}"
    more = f", and {len(there) - _MAX_SHOWN:,} more" if len(there) > _MAX_SHOWN else ""
    known = f"it has {', '.join(there[:_MAX_SHOWN]) or 'none'}{more}"
    way_out = f"{near} ({known})" if near.startswith("did you mean") else known
    raise SourceError(f"{file.where(field)} has no array {array!r}{of_group}; {way_out}")
