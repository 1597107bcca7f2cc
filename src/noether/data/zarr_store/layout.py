"""The domains and arrays of a dataset, from its file map: names, widths and dtypes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from noether.data.schemas import FileMap, Width, split_attribute
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names, require_one_of

__all__ = [
    "CANONICAL_TO_SPEC",
    "FIELD_SPECS",
    "STORED_DTYPES",
    "ArrayLayout",
    "DomainLayout",
    "FieldSpec",
    "build_domain_layouts",
    "field_specs",
    "filename_to_canonical",
    "present_specs",
    "require_domain",
    "require_fields",
    "stored_dtype",
]

POSITION = "position"
STORED_DTYPES = ("float16", "float32", "float64")

_NO_POINT_FIELD = "design_parameters"
# The manifest model keeps unknown keys. Without this, pydantic would set unknown keys as attributes of these classes.
_KNOWN_KEYS_ONLY = {"extra": "ignore"}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field that a `FileMap` can name.

    Attributes
    ----------
    attribute : str
        Attribute of the `FileMap`, such as ``volume_distance_to_surface``.
    field : str
        Canonical name, ``<domain>_<name>``, such as ``volume_sdf``.
    domain, name : str
        Domain and name of the field, which make up the canonical name.
    width : int
        Number of components per point.
    """

    attribute: str
    field: str
    domain: str
    name: str
    width: int


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """The array that stores a field.

    Attributes
    ----------
    array_name : str
        Path of the array in the sample's group, ``<domain>/<name>``. A name without ``/`` is an array in its domain.
    field : str
        Canonical name of the field.
    dtype : str
        Stored dtype: ``"float16"``, ``"float32"`` or ``"float64"``.
    dim : int
        Number of components per point.
    """

    __pydantic_config__: ClassVar = _KNOWN_KEYS_ONLY

    array_name: str
    field: str
    dtype: str
    dim: int

    @property
    def name(self) -> str:
        """Name of the array in its Zarr group."""
        return self.array_name.rpartition("/")[2]

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as a dict, in the form of the manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return a layout from the dict of `to_dict`."""
        return cls(**content)


@dataclass(frozen=True, slots=True)
class DomainLayout:
    """The arrays of one domain.

    Attributes
    ----------
    position : str
        Canonical name of the field that holds the coordinates.
    arrays : dict of str to ArrayLayout
        Layouts of the arrays, by canonical field name.
    """

    __pydantic_config__: ClassVar = _KNOWN_KEYS_ONLY

    position: str
    arrays: dict[str, ArrayLayout]

    def with_paths(self, domain: str) -> Self:
        """Return the layout with the full path of each array, as the layout of `domain`.

        A manifest can also list an array by its name without the domain.
        """
        arrays = {
            field: array if "/" in array.array_name else replace(array, array_name=f"{domain}/{array.array_name}")
            for field, array in self.arrays.items()
        }
        return replace(self, arrays=arrays)

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as a dict, in the form of the manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return a layout from the dict of `to_dict`."""
        arrays = {field: ArrayLayout.from_dict(array) for field, array in content["arrays"].items()}
        return cls(content["position"], arrays)


def require_domain(domain: str, domains: Mapping[str, DomainLayout]) -> None:
    """Raise `UnknownNameError` unless `domain` is one of the domains of a store."""
    if domain not in domains:
        raise UnknownNameError(f"domain {domain!r} is not in the store; {nearest_names(domain, domains)}")


def require_fields(fields: Iterable[str], domains: Mapping[str, DomainLayout]) -> frozenset[str]:
    """Return the names of fields, after checking that a store with these domains has all of them.

    Raises
    ------
    ArgumentError
        `fields` is a single str.
    UnknownNameError
        A field is not in the store.
    """
    if isinstance(fields, str):
        raise ArgumentError(f"fields: expected a list of names, got the str {fields!r}; write [{fields!r}]")
    asked = frozenset(fields)
    known = {field for layout in domains.values() for field in layout.arrays}
    for field in sorted(asked - known):
        raise UnknownNameError(f"field {field!r} is not in the store; {nearest_names(field, known)}")
    return asked


def field_specs(schema: type[FileMap]) -> tuple[FieldSpec, ...]:
    """Return the fields that a `FileMap` class can name, in the order of its attributes.

    Parameters
    ----------
    schema : type of FileMap
        `FileMap` or a subclass.

    Raises
    ------
    ArgumentError
        An attribute has no declared width, or is not of the form ``<domain>_<name>``, or two attributes name the same
        field.
    """
    specs: dict[str, FieldSpec] = {}
    for attribute, info in schema.model_fields.items():
        if attribute == _NO_POINT_FIELD:
            continue
        widths = [mark.components for mark in info.metadata if isinstance(mark, Width)]
        if not widths or widths[-1] < 1:
            raise ArgumentError(
                f"{schema.__name__}.{attribute}: the field has no declared width of at least 1; "
                f"annotate it: `{attribute}: Annotated[str | None, Width(3)] = None`"
            )
        domain, name = _split(schema, attribute)
        field = f"{domain}_{name}"
        if field in specs:
            raise ArgumentError(
                f"{schema.__name__}.{attribute}: expected a different field for each attribute, got {field}, which "
                f"{specs[field].attribute} names too; rename one of the two attributes"
            )
        specs[field] = FieldSpec(attribute, field, domain, name, widths[-1])
    return tuple(specs.values())


def _split(schema: type[FileMap], attribute: str) -> tuple[str, str]:
    domain, name = split_attribute(attribute)
    if not domain or not name:
        raise ArgumentError(
            f"{schema.__name__}.{attribute}: expected a name of the form <domain>_<name>, such as volume_pressure"
        )
    return domain, name


FIELD_SPECS: tuple[FieldSpec, ...] = field_specs(FileMap)
CANONICAL_TO_SPEC: dict[str, FieldSpec] = {spec.field: spec for spec in FIELD_SPECS}


def present_specs(filemap: FileMap) -> tuple[FieldSpec, ...]:
    """Return the fields for which a file map names a file, in the order of the `FileMap`."""
    return tuple(spec for spec in field_specs(type(filemap)) if getattr(filemap, spec.attribute) is not None)


def filename_to_canonical(filemap: FileMap) -> dict[str, str]:
    """Return the canonical field name for each file name in a file map.

    Raises
    ------
    ArgumentError
        Two fields name the same file.
    """
    names: dict[str, str] = {}
    for spec in present_specs(filemap):
        filename = getattr(filemap, spec.attribute)
        if filename in names:
            raise ArgumentError(
                f"file map: expected a different file for each field, got {filename!r} for both {names[filename]} and "
                f"{spec.field}; name another file for one of them"
            )
        names[filename] = spec.field
    return names


def stored_dtype(dtype: DTypeLike | None, parameter: str) -> str:
    """Return the name of a dtype in which fields can be stored.

    Parameters
    ----------
    dtype : dtype-like
        ``"float16"``, ``"float32"`` or ``"float64"``, as a name or a NumPy dtype.
    parameter : str
        Name of the parameter, for the error.

    Raises
    ------
    ArgumentError
        The value is another dtype, or no dtype.
    """
    try:
        # NumPy reads None as float64, which is not what the caller means.
        name: object = dtype if dtype is None else np.dtype(dtype).name
    except (TypeError, ValueError):
        name = dtype
    require_one_of(parameter, name, STORED_DTYPES)
    return str(name)


def build_domain_layouts(
    filemap: FileMap,
    coords_dtype: DTypeLike = "float32",
    values_dtype: DTypeLike = "float16",
    field_dtypes: Mapping[str, DTypeLike] | None = None,
) -> dict[str, DomainLayout]:
    """Return the domains, arrays and stored dtypes of the fields that a file map names.

    Parameters
    ----------
    filemap : FileMap
        File map that names the fields.
    coords_dtype, values_dtype : dtype-like
        Stored dtype of positions, and of all other fields.
    field_dtypes : mapping of str to dtype-like, optional
        Stored dtypes by canonical field name; these override the other two.

    Returns
    -------
    dict of str to DomainLayout
        Domains and arrays in the order of the `FileMap`.

    Raises
    ------
    ArgumentError
        The file map names no field, a domain has no position, a dtype cannot be stored, or `field_dtypes` names a field
        that is not in the file map.
    """
    coords, values = stored_dtype(coords_dtype, "coords_dtype"), stored_dtype(values_dtype, "values_dtype")
    specs = present_specs(filemap)
    if not specs:
        raise ArgumentError("file map: it names no field; set at least one <domain>_position")
    fields = {spec.field for spec in specs}
    overrides = {}
    for field, dtype in (field_dtypes or {}).items():
        if field not in fields:
            raise ArgumentError(f"field_dtypes: unknown field {field!r}; {nearest_names(field, fields)}")
        overrides[field] = stored_dtype(dtype, f"field_dtypes[{field!r}]")

    arrays: dict[str, dict[str, ArrayLayout]] = {}
    for spec in specs:
        dtype = overrides.get(spec.field, coords if spec.name == POSITION else values)
        domain = arrays.setdefault(spec.domain, {})
        domain[spec.field] = ArrayLayout(f"{spec.domain}/{spec.name}", spec.field, dtype, spec.width)
    for name, domain in arrays.items():
        if f"{name}_{POSITION}" not in domain:
            raise ArgumentError(
                f"file map: domain {name!r} has no position, only {', '.join(domain)}; set {name}_{POSITION}"
            )
    return {name: DomainLayout(f"{name}_{POSITION}", domain) for name, domain in arrays.items()}
