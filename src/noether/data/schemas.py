"""Which fields a dataset has, and in which file of a sample's directory each one lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict

__all__ = ["FileMap", "Scalar", "Vector", "Width"]


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
