"""What a mapping says of one field: the array, the file or the computation that it comes from."""

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
    """A part of a mapping: frozen, strict, without keys that are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Field(MappingModel):
    units: Text | None = None
    long_name: Text | None = None
    width: PositiveInt | None = None

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The fingerprint of a sample that was converted before there were long names stays what it was.
        content: dict[str, Any] = handler(self)
        return {key: value for key, value in content.items() if key != "long_name" or value is not None}


class ArrayField(_Field):
    """A field that is an array of the domain's file, named there; or several, one for each component.

    With `transpose`, the file has a column for each point, as MATLAB's have.
    """

    array: str | Annotated[tuple[str, ...], Field(strict=False)]
    transpose: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its arrays."""
        return (self.array,) if isinstance(self.array, str) else self.array


class FileField(_Field):
    """A field that is a file of its own, ``.npy`` or ``.pt``."""

    file: Pattern
    transpose: bool = False


class NormalsField(_Field):
    """Unit normals of a surface, computed.

    Faces are taken to wind all the same way, as solvers write them. `orient` says which: ``"outward"`` turns them
    to look away from the middle of the surface, and so out of a closed body; ``"winding"`` takes them as they wind;
    ``"reversed"`` is the opposite of that.
    """

    derive: Literal["normals"]
    orient: Literal["outward", "winding", "reversed"] = "outward"


class AreaField(_Field):
    """Areas of the faces of a surface, computed."""

    derive: Literal["area"]


class DistanceField(_Field):
    """Distance of each position to another domain, computed; not negative.

    `method` says to what: ``"faces"`` is exact, to the nearest point of its faces; ``"positions"`` is the distance to
    its nearest position, found in a KD-tree, for domains that have no faces.
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
