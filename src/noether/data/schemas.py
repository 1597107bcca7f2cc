"""The fields of a dataset, and the file of each field in the directory of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

__all__ = ["FileMap", "Scalar", "Vector", "Width", "extended_filemap", "split_attribute"]

# The two attributes whose domain name contains an underscore.
_DOMAIN_AND_NAME = {
    "surface_position_stl": ("surface_stl", "position"),
    "surface_position_stl_resampled": ("surface_stl_resampled", "position"),
}
_SHORT_NAMES = {"distance_to_surface": "sdf"}


@dataclass(frozen=True, slots=True)
class Width:
    """The number of components of a field, as an annotation of an attribute of a `FileMap`.

    Parameters
    ----------
    components : int
        Number of values per point: 1 for a scalar such as pressure, 3 for a vector such as velocity.
    """

    components: int


Scalar = Annotated[str | None, Width(1)]
Vector = Annotated[str | None, Width(3)]


def split_attribute(attribute: str) -> tuple[str, str]:
    """Return the domain and name of the field that an attribute of a `FileMap` stands for.

    An attribute without an underscore stands for no field, and the returned name is empty.
    """
    if attribute in _DOMAIN_AND_NAME:
        return _DOMAIN_AND_NAME[attribute]
    domain, _, name = attribute.partition("_")
    return domain, _SHORT_NAMES.get(name, name)


class FileMap(BaseModel):
    """The file name of each field of a dataset; ``None`` for fields that the dataset does not have.

    The first underscore of an attribute name separates the domain from the field name. A subclass can add fields, each
    annotated with its width::

        class MyFileMap(FileMap):
            volume_temperature: Scalar = None
            volume_stress: Annotated[str | None, Width(6)] = None

    The constructor also accepts the canonical name of a field: ``FileMap(volume_sdf="sdf.npy")`` sets
    `volume_distance_to_surface`.

    `design_parameters` is not a field of points; its values become attributes of the sample.

    Raises
    ------
    ArgumentError
        A name is neither an attribute nor a canonical name, or both names of a field are given.
    ValidationError
        A file name is not a str.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    surface_position: Vector = None
    surface_pressure: Scalar = None
    surface_friction: Vector = None
    surface_normals: Vector = None
    surface_area: Scalar = None
    volume_position: Vector = None
    volume_pressure: Scalar = None
    volume_velocity: Vector = None
    volume_vorticity: Vector = None
    volume_normals: Vector = None
    surface_position_stl: Vector = None
    surface_position_stl_resampled: Vector = None
    volume_friction: Vector = None
    volume_distance_to_surface: Scalar = None
    design_parameters: str | None = None

    def __init__(self, /, **files: str | None) -> None:
        try:
            super().__init__(**_by_attribute(type(self), files))
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                if problem["type"] == "extra_forbidden":
                    raise _unknown_field(type(self), problem["loc"][0]) from None
            raise

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return a file map from a dictionary; see `pydantic.BaseModel.model_validate`."""
        for name in obj if isinstance(obj, Mapping) else ():
            if not isinstance(name, str):  # pydantic would pass it to the constructor as a keyword
                raise _unknown_field(cls, name)
        with _argument_errors_unwrapped():
            return super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Return a file map from a JSON object; see `pydantic.BaseModel.model_validate_json`."""
        with _argument_errors_unwrapped():
            return super().model_validate_json(json_data, **options)


def _by_attribute(schema: type[FileMap], files: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the files by attribute instead of by canonical name; unknown names are kept."""
    attributes = _attribute_of_field(schema)
    given: dict[str, str] = {}
    for name in files:
        attribute = name if name in schema.model_fields else attributes.get(name, name)
        if attribute in given:
            from noether.data.zarr_store.errors import ArgumentError

            raise ArgumentError(
                f"file map: {given[attribute]} and {name} are two names of the same field; leave one of them out"
            )
        given[attribute] = name
    return {attribute: files[name] for attribute, name in given.items()}


def _attribute_of_field(schema: type[FileMap]) -> dict[str, str]:
    """Return the attributes of a `FileMap` class by canonical name."""
    return {"_".join(split_attribute(attribute)): attribute for attribute in schema.model_fields}


def _unknown_field(schema: type[FileMap], name: object) -> ValueError:
    # Imported lazily: the schemas use only the errors of the store.
    from noether.data.zarr_store.errors import ArgumentError, nearest_names

    known = {*schema.model_fields, *_attribute_of_field(schema)}
    return ArgumentError(f"file map: unknown field {name!r}; {nearest_names(name, known)}")


@contextmanager
def _argument_errors_unwrapped() -> Iterator[None]:
    """Raise an `ArgumentError` of the constructor itself, not the `ValidationError` that pydantic wraps around it."""
    try:
        yield
    except ValidationError as error:
        from noether.data.zarr_store.errors import ArgumentError

        cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
        if isinstance(cause, ArgumentError):
            raise cause from None
        raise


def extended_filemap(files: Mapping[str, str], widths: Mapping[str, int]) -> FileMap:
    """Return a file map with additional fields, for fields that are known only at run time.

    Parameters
    ----------
    files : mapping of str to str
        File of each field, by attribute or canonical name.
    widths : mapping of str to int
        Number of components of each additional field, by attribute.

    Returns
    -------
    FileMap
        An instance of a subclass that is created here. It can be pickled.
    """
    return _extended_class(tuple(widths.items()))(**files)


class _ExtendedFileMap(FileMap):
    widths: ClassVar[tuple[tuple[str, int], ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process cannot import the class by name.
        return extended_filemap, (self.model_dump(exclude_none=True), dict(self.widths))


@cache
def _extended_class(widths: tuple[tuple[str, int], ...]) -> type[FileMap]:
    fields: dict[str, Any] = {name: (Annotated[str | None, Width(width)], None) for name, width in widths}
    extended = create_model("FileMap", __base__=_ExtendedFileMap, __module__=__name__, **fields)
    extended.widths = widths
    return extended
