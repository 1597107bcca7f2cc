"""Fields in a mapping: an array, a file, or a computation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from noether.data.zarr_store.core import is_plain
from noether.data.zarr_store.sources.patterns import PathPattern

__all__ = [
    "AreaField",
    "ArrayField",
    "DistanceField",
    "FieldMapping",
    "FileField",
    "MappingModel",
    "NormalsField",
    "Pattern",
]


def _is_pattern(text: str) -> str:
    PathPattern.parse(text)
    return text


def _is_printable(text: str) -> str:
    if not text or not is_plain(text):
        raise ValueError(f"expected text that can be printed, got {text!r}")
    return text


Pattern = Annotated[str, AfterValidator(_is_pattern)]
Text = Annotated[str, AfterValidator(_is_printable)]


class MappingModel(BaseModel):
    """Base class of the tables of a mapping: frozen, strict, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Field(MappingModel):
    units: Text | None = None
    long_name: Text | None = None
    width: PositiveInt | None = None

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Omit a missing long_name: fingerprints of samples converted before long names existed must not change.
        content: dict[str, Any] = handler(self)
        return {key: value for key, value in content.items() if key != "long_name" or value is not None}


class ArrayField(_Field):
    """A field that is an array of the domain's file, or several arrays with one component each.

    With `transpose`, the arrays of the file have a column for each point, as MATLAB writes them.
    """

    array: str | Annotated[tuple[str, ...], Field(strict=False)]
    transpose: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in the file."""
        return (self.array,) if isinstance(self.array, str) else self.array


class FileField(_Field):
    """A field with its own file: ``.npy``, ``.npz`` or ``.pt``."""

    file: Pattern
    transpose: bool = False


class NormalsField(_Field):
    """Computed unit normals of a surface.

    All faces must have the same winding, as solvers write them. `orient` chooses the direction of the normals:
    ``"outward"`` points them away from the middle of the surface, and out of a closed body; ``"winding"`` follows
    the winding of the faces; ``"reversed"`` is the opposite of ``"winding"``.
    """

    derive: Literal["normals"]
    orient: Literal["outward", "winding", "reversed"] = "outward"


class AreaField(_Field):
    """Computed areas of the faces of a surface."""

    derive: Literal["area"]


class DistanceField(_Field):
    """Computed distance of each position to another domain; not negative.

    `method` chooses the target. ``"faces"`` measures the distance to the nearest point of the domain's faces.
    ``"positions"`` measures the distance to the nearest position, found in a KD-tree, for domains without faces.
    """

    derive: Literal["distance"]
    to: str
    method: Literal["faces", "positions"] = "faces"


def _kind_of_field(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if not isinstance(value, dict):
        return None
    kinds = {"array", "file", "derive"} & value.keys()
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    return value["derive"] if kind == "derive" and isinstance(value["derive"], str) else kind


FieldMapping = Annotated[
    Annotated[ArrayField, Tag("array")]
    | Annotated[FileField, Tag("file")]
    | Annotated[NormalsField, Tag("normals")]
    | Annotated[AreaField, Tag("area")]
    | Annotated[DistanceField, Tag("distance")],
    Discriminator(
        _kind_of_field,
        custom_error_type="field",
        custom_error_message=(
            "expected the name of an array, a list of names, or a table with one of array = NAME, file = FILE, "
            "derive = 'normals', 'area' or 'distance'"
        ),
    ),
    BeforeValidator(lambda value: {"array": value} if isinstance(value, str | list) else value),
]
