"""File maps of the public datasets, as their preprocessed trees name the files: one directory per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import ArgumentError, nearest_names

__all__ = ["PRESETS", "Preset", "find_preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """The files of one dataset.

    Attributes
    ----------
    name : str
        Name of the preset, and of a store that is made with it.
    filemap : FileMap
        File of each field.
    optional : frozenset of str
        Attributes of the file map whose files are not in every copy of the dataset.
    origin : str
        The dataset that the names come from.
    field_attributes : mapping of str to mapping of str to str
        By canonical field name, ``units`` and ``long_name`` of fields that are not what their name says.
    """

    name: str
    filemap: FileMap
    optional: frozenset[str]
    origin: str
    field_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# DrivAerML and AhmedML share the names of their tensors. `volume_cell_totalpcoeff` holds the total pressure
# coefficient, which stands in the place of the volume's pressure.
_AUTOMOTIVE_CFD = FileMap(
    surface_position="surface_position_vtp.pt",
    surface_pressure="surface_pressure.pt",
    surface_friction="surface_wallshearstress.pt",
    surface_normals="surface_normal_vtp.pt",
    surface_area="surface_area_vtp.pt",
    volume_position="volume_cell_position.pt",
    volume_pressure="volume_cell_totalpcoeff.pt",
    volume_velocity="volume_cell_velocity.pt",
    volume_vorticity="volume_cell_vorticity.pt",
    volume_distance_to_surface="volume_cell_sdf.pt",
    surface_position_stl="surface_position_stl.pt",
    surface_position_stl_resampled="surface_position_stl_resampled100k.pt",
    design_parameters="design_parameters.pt",
)
_AUTOMOTIVE_CFD_OPTIONAL = frozenset(
    {
        "surface_normals",
        "surface_area",
        "volume_distance_to_surface",
        "surface_position_stl",
        "surface_position_stl_resampled",
        "design_parameters",
    }
)

_AUTOMOTIVE_CFD_ATTRIBUTES = {"volume_pressure": {"units": "1", "long_name": "total pressure coefficient"}}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "shapenet-car",
            FileMap(
                surface_position="surface_points.pt",
                surface_pressure="surface_pressure.pt",
                surface_normals="surface_normals.pt",
                volume_position="volume_points.pt",
                volume_velocity="volume_velocity.pt",
                volume_normals="volume_normals.pt",
                volume_distance_to_surface="volume_sdf.pt",
            ),
            frozenset(),
            "ShapeNet-Car (Umetani and Bickel, 2018), 889 cars at one inlet speed",
        ),
        Preset(
            "ahmedml",
            _AUTOMOTIVE_CFD,
            _AUTOMOTIVE_CFD_OPTIONAL,
            "AhmedML (Ashton et al., 2024), 500 Ahmed bodies, hybrid RANS-LES",
            _AUTOMOTIVE_CFD_ATTRIBUTES,
        ),
        Preset(
            "drivaerml",
            _AUTOMOTIVE_CFD,
            _AUTOMOTIVE_CFD_OPTIONAL,
            "DrivAerML (Ashton et al., 2024), 500 notchback DrivAer cars, hybrid RANS-LES",
            _AUTOMOTIVE_CFD_ATTRIBUTES,
        ),
        Preset(
            "drivaernet",
            FileMap(
                surface_position="surface_position.pt",
                surface_pressure="surface_p.pt",
                surface_friction="surface_wallShearStress.pt",
                volume_position="volume_position.pt",
                volume_pressure="volume_p.pt",
                volume_velocity="volume_U.pt",
                volume_vorticity="volume_vorticity.pt",
                volume_friction="volume_wallShearStress.pt",
            ),
            frozenset(),
            "DrivAerNet++ (Elrefaie et al., 2024), about 8,000 DrivAer cars, RANS",
        ),
        Preset(
            "emmi-wing",
            FileMap(
                surface_position="surface_position.pt",
                surface_pressure="surface_pressure.pt",
                surface_friction="surface_wall_shear_stress.pt",
                volume_position="volume_position.pt",
                volume_pressure="volume_pressure.pt",
                volume_velocity="volume_velocity.pt",
                volume_vorticity="volume_vorticity.pt",
                design_parameters="design_parameters.pt",
            ),
            frozenset(),
            "Emmi-Wing, 29,727 transonic wings, RANS",
        ),
    )
}


def find_preset(name: str) -> Preset:
    """Return a preset by name; `ArgumentError` where there is none."""
    if name not in PRESETS:
        raise ArgumentError(f"preset {name!r} is not known; {nearest_names(name, PRESETS)}")
    return PRESETS[name]
