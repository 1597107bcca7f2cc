"""File maps of the public datasets in their preprocessed form, with one directory per sample."""

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
        Name of the preset, and of stores that are made with it.
    filemap : FileMap
        Names of the files of the fields.
    optional : frozenset of str
        Attributes of the file map whose files some copies of the dataset lack.
    origin : str
        Dataset that names its files in this way.
    field_attributes : mapping of str to mapping of str to str
        ``units`` and ``long_name`` by canonical name, for fields whose content differs from their name.
    """

    name: str
    filemap: FileMap
    optional: frozenset[str]
    origin: str
    field_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# DrivAerML and AhmedML use the same names of tensors. The field `volume_pressure` is the total pressure coefficient
# there: `volume_cell_totalpcoeff`.
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
    """Return a preset by name. Raises `ArgumentError` if the name is not known."""
    if name not in PRESETS:
        raise ArgumentError(f"preset {name!r} is not known; {nearest_names(name, PRESETS)}")
    return PRESETS[name]
