"""From the files of a dataset to domains and arrays: names, widths, dtypes. Pure."""

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
# A manifest keeps its own unknown keys, and would set them as attributes of these.
_KNOWN_KEYS_ONLY = {"extra": "ignore"}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field that a `FileMap` can name.

    Attributes
    ----------
    attribute : str
        The attribute of the `FileMap`: ``volume_distance_to_surface``.
    field : str
        The canonical name, ``<domain>_<name>``: ``volume_sdf``.
    domain, name : str
        The two parts of it.
    width : int
        Components per point.
    """

    attribute: str
    field: str
    domain: str
    name: str
    width: int


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How one field is stored.

    Attributes
    ----------
    array_name : str
        Path of the array in the sample's group, ``<domain>/<name>``; a name alone is taken for one in its domain.
    field : str
        Canonical name of the field.
    dtype : str
        Stored dtype: ``"float16"``, ``"float32"`` or ``"float64"``.
    dim : int
        Components per point.
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
        """Return the layout as the manifest has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the layout that `to_dict` turned into a dict."""
        return cls(**content)


@dataclass(frozen=True, slots=True)
class DomainLayout:
    """The arrays of one domain.

    Attributes
    ----------
    position : str
        Canonical name of the field that holds the coordinates.
    arrays : dict of str to ArrayLayout
        By canonical field name.
    """

    __pydantic_config__: ClassVar = _KNOWN_KEYS_ONLY

    position: str
    arrays: dict[str, ArrayLayout]

    def with_paths(self, domain: str) -> Self:
        """Return the layout of `domain` with the path of each array, also where the manifest has a name alone."""
        arrays = {
            field: array if "/" in array.array_name else replace(array, array_name=f"{domain}/{array.array_name}")
            for field, array in self.arrays.items()
        }
        return replace(self, arrays=arrays)

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as the manifest has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the layout that `to_dict` turned into a dict."""
        arrays = {field: ArrayLayout.from_dict(array) for field, array in content["arrays"].items()}
        return cls(content["position"], arrays)


def require_domain(domain: str, domains: Mapping[str, DomainLayout]) -> None:
    """Raise `UnknownNameError` unless a store with these domains has `domain`."""
    if domain not in domains:
        raise UnknownNameError(f"domain {domain!r} is not in the store; {nearest_names(domain, domains)}")


def require_fields(fields: Iterable[str], domains: Mapping[str, DomainLayout]) -> frozenset[str]:
    """Return the names of fields if a store with these domains has them all.

    Raises
    ------
    ArgumentError
        `fields` is one str.
    UnknownNameError
        The store has no such field.
    """
    if isinstance(fields, str):
        raise ArgumentError(f"fields: expected a list of names, got the str {fields!r}; write [{fields!r}]")
    asked = frozenset(fields)
    known = {field for layout in domains.values() for field in layout.arrays}
    for field in sorted(asked - known):
        raise UnknownNameError(f"field {field!r} is not in the store; {nearest_names(field, known)}")
    return asked


def field_specs(schema: type[FileMap]) -> tuple[FieldSpec, ...]:
    """List the fields that a `FileMap` class can name, in its order.

    Parameters
    ----------
    schema : type of FileMap
        `FileMap` or a subclass of it.

    Raises
    ------
    ArgumentError
        An attribute has no declared width or no ``<domain>_<name>`` form, or two attributes name the same field.
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
                f"{schema.__name__}.{attribute}: it names the field {field}, as {specs[field].attribute} does; "
                "expected one attribute for each field, so rename one of them"
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
    """List the fields that a file map names a file for, in the order of the `FileMap`."""
    return tuple(spec for spec in field_specs(type(filemap)) if getattr(filemap, spec.attribute) is not None)


def filename_to_canonical(filemap: FileMap) -> dict[str, str]:
    """Map the file name of each field that is present to the field's canonical name.

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
                f"file map: {filename!r} is named for both {names[filename]} and {spec.field}; "
                "each field needs a file of its own"
            )
        names[filename] = spec.field
    return names


def stored_dtype(dtype: DTypeLike | None, parameter: str) -> str:
    """Return the name of a dtype that fields can be stored in.

    Parameters
    ----------
    dtype : dtype-like
        ``"float16"``, ``"float32"`` or ``"float64"``, as a name or a NumPy dtype.
    parameter : str
        What the caller calls it, for the error.

    Raises
    ------
    ArgumentError
        It is another dtype, or none.
    """
    try:
        # NumPy reads None as float64, which nobody means.
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
    """Lay out the fields that a file map names: domains, arrays and their dtypes.

    Parameters
    ----------
    filemap : FileMap
        Names the fields that are there.
    coords_dtype, values_dtype : dtype-like
        Stored dtype of positions, and of all other fields.
    field_dtypes : mapping of str to dtype-like, optional
        Stored dtypes by canonical field name, over both.

    Returns
    -------
    dict of str to DomainLayout
        Domains and arrays in the order of the `FileMap`.

    Raises
    ------
    ArgumentError
        No field is named, a domain has no position, a dtype is not a storable one, or `field_dtypes` names a
        field that the file map lacks.
    """
    coords, values = stored_dtype(coords_dtype, "coords_dtype"), stored_dtype(values_dtype, "values_dtype")
    specs = present_specs(filemap)
    if not specs:
        raise ArgumentError("file map: it names no field; give at least one <domain>_position")
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
                f"file map: domain {name!r} has no position, only {', '.join(domain)}; name its {name}_{POSITION}"
            )
    return {name: DomainLayout(f"{name}_{POSITION}", domain) for name, domain in arrays.items()}
