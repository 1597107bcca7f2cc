"""Which fields a dataset has, and in which file of a sample's directory each one lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, create_model

__all__ = ["FileMap", "Scalar", "Vector", "Width", "extended_filemap"]


@dataclass(frozen=True, slots=True)
class Width:
    """Number of components of a field; annotates the attributes of a `FileMap`.

    Parameters
    ----------
    components : int
        Values per point: 1 for a scalar such as pressure, 3 for a vector such as velocity.
    """

    components: int


Scalar = Annotated[str | None, Width(1)]
Vector = Annotated[str | None, Width(3)]


class FileMap(BaseModel):
    """File name of each field of a dataset; ``None`` where the dataset lacks the field.

    An attribute name splits at its first underscore into domain and field name. A subclass adds fields
    of its own, each annotated with its width::

        class MyFileMap(FileMap):
            volume_temperature: Scalar = None
            volume_stress: Annotated[str | None, Width(6)] = None

    `design_parameters` is no field of points: it becomes an attribute of the sample.
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


def extended_filemap(files: Mapping[str, str], widths: Mapping[str, int]) -> FileMap:
    """Build a file map with fields that `FileMap` lacks, where they are known only at run time.

    Parameters
    ----------
    files : mapping of str to str
        File of each field that is present, by attribute.
    widths : mapping of str to int
        Components of each field that is added, by attribute.

    Returns
    -------
    FileMap
        Can be pickled, as one of a class that is written down can be.
    """
    return _extended_class(tuple(widths.items()))(**files)


class _ExtendedFileMap(FileMap):
    widths: ClassVar[tuple[tuple[str, int], ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class has no name that another process could import.
        return extended_filemap, (self.model_dump(exclude_none=True), dict(self.widths))


@cache
def _extended_class(widths: tuple[tuple[str, int], ...]) -> type[FileMap]:
    fields: dict[str, Any] = {name: (Annotated[str | None, Width(width)], None) for name, width in widths}
    extended = create_model("FileMap", __base__=_ExtendedFileMap, __module__=__name__, **fields)
    extended.widths = widths
    return extended
