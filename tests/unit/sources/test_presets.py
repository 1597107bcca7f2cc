"""The file names of the public datasets."""

from __future__ import annotations

import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.sources.presets import PRESETS, find_preset

AUTOMOTIVE = {
    "surface_position": "surface_position_vtp.pt",
    "surface_pressure": "surface_pressure.pt",
    "surface_friction": "surface_wallshearstress.pt",
    "surface_normals": "surface_normal_vtp.pt",
    "surface_area": "surface_area_vtp.pt",
    "volume_position": "volume_cell_position.pt",
    "volume_pressure": "volume_cell_totalpcoeff.pt",
    "volume_velocity": "volume_cell_velocity.pt",
    "volume_vorticity": "volume_cell_vorticity.pt",
    "volume_distance_to_surface": "volume_cell_sdf.pt",
    "surface_position_stl": "surface_position_stl.pt",
    "surface_position_stl_resampled": "surface_position_stl_resampled100k.pt",
    "design_parameters": "design_parameters.pt",
}
NOT_IN_EVERY_COPY = {
    "surface_normals",
    "surface_area",
    "volume_distance_to_surface",
    "surface_position_stl",
    "surface_position_stl_resampled",
    "design_parameters",
}
FILES: dict[str, dict[str, str]] = {
    "shapenet-car": {
        "surface_position": "surface_points.pt",
        "surface_pressure": "surface_pressure.pt",
        "surface_normals": "surface_normals.pt",
        "volume_position": "volume_points.pt",
        "volume_velocity": "volume_velocity.pt",
        "volume_normals": "volume_normals.pt",
        "volume_distance_to_surface": "volume_sdf.pt",
    },
    "ahmedml": AUTOMOTIVE,
    "drivaerml": AUTOMOTIVE,
    "drivaernet": {
        "surface_position": "surface_position.pt",
        "surface_pressure": "surface_p.pt",
        "surface_friction": "surface_wallShearStress.pt",
        "volume_position": "volume_position.pt",
        "volume_pressure": "volume_p.pt",
        "volume_velocity": "volume_U.pt",
        "volume_vorticity": "volume_vorticity.pt",
        "volume_friction": "volume_wallShearStress.pt",
    },
    "emmi-wing": {
        "surface_position": "surface_position.pt",
        "surface_pressure": "surface_pressure.pt",
        "surface_friction": "surface_wall_shear_stress.pt",
        "volume_position": "volume_position.pt",
        "volume_pressure": "volume_pressure.pt",
        "volume_velocity": "volume_velocity.pt",
        "volume_vorticity": "volume_vorticity.pt",
        "design_parameters": "design_parameters.pt",
    },
}
OPTIONAL = {"ahmedml": NOT_IN_EVERY_COPY, "drivaerml": NOT_IN_EVERY_COPY}
DOMAINS = {
    "shapenet-car": ["surface", "volume"],
    "ahmedml": ["surface", "volume", "surface_stl", "surface_stl_resampled"],
    "drivaerml": ["surface", "volume", "surface_stl", "surface_stl_resampled"],
    "drivaernet": ["surface", "volume"],
    "emmi-wing": ["surface", "volume"],
}


def test_the_presets_are_these_five() -> None:
    assert list(PRESETS) == list(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_preset_names_the_files_of_its_dataset(name: str) -> None:
    assert find_preset(name).filemap.model_dump(exclude_none=True) == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_a_preset_lists_its_optional_files(name: str) -> None:
    assert find_preset(name).optional == OPTIONAL.get(name, set())


@pytest.mark.parametrize("name", FILES)
def test_each_domain_of_a_preset_has_a_position(name: str) -> None:
    layouts = build_domain_layouts(find_preset(name).filemap)
    assert list(layouts) == DOMAINS[name]
    assert {domain: layout.position for domain, layout in layouts.items()} == {
        domain: f"{domain}_position" for domain in DOMAINS[name]
    }


@pytest.mark.parametrize("name", FILES)
def test_a_preset_without_optional_files_is_valid(name: str) -> None:
    preset = find_preset(name)
    required = preset.filemap.model_copy(update=dict.fromkeys(preset.optional))
    assert list(build_domain_layouts(required)) == ["surface", "volume"]


@pytest.mark.parametrize("name", FILES)
def test_a_preset_has_its_name_and_its_origin(name: str) -> None:
    preset = find_preset(name)
    assert preset.name == name
    assert preset.origin
    assert type(preset.filemap) is FileMap


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        pytest.param("ahmed-ml", "did you mean 'ahmedml'", id="a hyphen too many"),
        pytest.param("DrivAerML", "drivaerml", id="other case"),
        pytest.param("xyz", "there are: ahmedml, drivaerml, drivaernet, emmi-wing, shapenet-car", id="nothing near"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_nearest_names(wrong: str, hint: str) -> None:
    with pytest.raises(ArgumentError, match=f"preset '{wrong}' is not known; .*{hint}"):
        find_preset(wrong)
