"""Validation of a mapping.toml, and its fields in a store."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from noether.data.schemas import FileMap, extended_filemap
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import FIELD_SPECS, FieldSpec, build_domain_layouts, present_specs
from noether.data.zarr_store.sources import SourceMapping, find_mapping, load_mapping, shipped_mappings
from noether.data.zarr_store.sources.mapping_files import parse_mapping

TEXT = """
name = "flows"
id = "run_{n}"

[attributes]
solver = "OpenFOAM"
design_parameters = { file = "run_{n}/parameters.npy" }

[domains.surface]
file = "run_{n}/b_{n}.vtp"
association = "cell"

[domains.surface.fields]
pressure = "p"
friction = { array = "tau", units = "m2/s2" }
normals = { derive = "normals" }
k = { array = "k" }

[domains.volume]
file = "run_{n}/v.vtu"
concatenate = "run_{n}/v.vtu.{part}.part"

[domains.volume.fields]
velocity = "U"
sdf = { derive = "distance", to = "surface", units = "m" }
stress = { array = "R", width = 6 }

[domains.wake]
file = "run_{n}/wake.vtk"
"""


def with_change(old: str, new: str) -> str:
    assert TEXT.count(old) >= 1
    return TEXT.replace(old, new, 1)


@pytest.fixture
def mapping() -> SourceMapping:
    return parse_mapping(TEXT, "mapping")


def test_its_fields_are_those_of_a_file_map(mapping: SourceMapping) -> None:
    widths = {spec.field: spec.width for spec in present_specs(mapping.filemap())}
    assert widths == {
        "surface_position": 3,
        "surface_pressure": 1,
        "surface_friction": 3,
        "surface_normals": 3,
        "volume_position": 3,
        "volume_velocity": 3,
        "volume_sdf": 1,
        "surface_k": 1,
        "volume_stress": 6,
        "wake_position": 3,
    }
    assert list(build_domain_layouts(mapping.filemap())) == ["surface", "volume", "wake"]


def test_without_fields_of_its_own_it_is_a_plain_file_map(mapping: SourceMapping) -> None:
    plain = TEXT[: TEXT.index("[domains.wake]")].replace('k = { array = "k" }\n', "")
    plain = plain.replace('stress = { array = "R", width = 6 }\n', "")
    assert type(parse_mapping(plain, "mapping").filemap()) is FileMap


def test_a_file_map_with_added_fields_goes_to_another_process(mapping: SourceMapping) -> None:
    filemap = mapping.filemap()
    again = pickle.loads(pickle.dumps(filemap))
    assert again == filemap
    assert build_domain_layouts(again) == build_domain_layouts(filemap)
    widths = {"surface_k": 1, "volume_stress": 6, "wake_position": 3}
    assert filemap == extended_filemap(filemap.model_dump(exclude_none=True), widths)


@pytest.mark.parametrize("spec", [spec for spec in FIELD_SPECS if spec.name != "position"], ids=lambda spec: spec.field)
def test_every_field_of_a_file_map_can_be_mapped_by_either_of_its_names(spec: FieldSpec) -> None:
    for name in {spec.name, spec.attribute.removeprefix(f"{spec.domain}_")}:
        domain = f'[domains.{spec.domain}]\nfile = "a.vtu"\n[domains.{spec.domain}.fields]\n{name} = "x"'
        mapping = parse_mapping(f'name = "n"\nid = "a"\n{domain}', "mapping")
        assert spec in present_specs(mapping.filemap())


def test_units_are_returned_by_field(mapping: SourceMapping) -> None:
    assert mapping.units() == {"surface_friction": "m2/s2", "volume_sdf": "m"}


FIELD_HELP = (
    "expected the name of an array, a list of names, or a table with one of array = NAME, file = FILE, derive ="
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param('"flows"', '"flows', "is not valid TOML (Illegal character", id="no TOML"),
        pytest.param('name = "flows"', "", "name: Field required", id="no name"),
        pytest.param(
            "association",
            "asociation",
            "domains.surface.asociation: no such key; did you mean 'association'?",
            id="misspelt key",
        ),
        pytest.param(
            '"cell"', '"cells"', "domains.surface.association: Input should be 'cell' or 'point'", id="misspelt value"
        ),
        pytest.param('"p"', "1", f"domains.surface.fields.pressure: {FIELD_HELP}", id="field is a number"),
        pytest.param(
            '"p"',
            '{ array = "p", file = "p_{n}.npy" }',
            f"domains.surface.fields.pressure: {FIELD_HELP}",
            id="two origins",
        ),
        pytest.param(
            '"normals"', '"normal"', f"domains.surface.fields.normals: {FIELD_HELP}", id="unknown derived field"
        ),
        pytest.param(
            '"normals" }',
            '"normals", to = "x" }',
            "domains.surface.fields.normals.to: no such key",
            id="option of another",
        ),
        pytest.param(
            "width = 6",
            "width = 0",
            "domains.volume.fields.stress.width: Input should be greater than 0",
            id="no width",
        ),
        pytest.param(
            '"U"',
            '{ array = "U", width = 2 }',
            "domain 'volume': volume_velocity has the width 3, got 2",
            id="another width",
        ),
        pytest.param(
            'to = "surface"',
            'to = "surfaces"',
            "sdf: to: expected another domain, got 'surfaces'; did you mean 'surface'?",
            id="unknown domain",
        ),
        pytest.param(
            'to = "surface"', 'to = "volume"', "sdf: to: expected another domain, got 'volume'", id="distance to itself"
        ),
        pytest.param(
            "run_{n}/b_{n}",
            "run_{m}/b_{m}",
            "file 'run_{m}/b_{m}.vtp': expected the placeholders of the id 'run_{n}': {n}",
            id="other placeholder",
        ),
        pytest.param("run_{n}/b_{n}", "b", "file 'b.vtp': expected the placeholders of the id", id="no placeholder"),
        pytest.param(
            'id = "run_{n}"', 'id = "run_*"', "id: expected names and placeholders only, got", id="star in the id"
        ),
        pytest.param(
            'run_{n}/v.vtu"',
            '../v_{n}.vtu"',
            "domains.volume.file: '../v_{n}.vtu': expected a path below",
            id="path leaves the root",
        ),
        pytest.param(".{part}", "", "concatenate: expected {part} in", id="pieces without numbers"),
        pytest.param('file = "run_{n}/v.vtu"\n', "", "field 'velocity' needs the domain's file", id="no file"),
        pytest.param(
            "[domains.wake]",
            "[domains.wake_1]",
            "domain 'wake_1' cannot have the field 'position'",
            id="domain with underscore",
        ),
        pytest.param("[domains.wake]", "[domains.Wake]", "domains.Wake", id="domain in capitals"),
        pytest.param("solver =", "units =", "attributes: 'units' is reserved for the units of the fields", id="units"),
        pytest.param(
            "velocity =",
            'distance_to_surface = "d"\nvelocity =',
            "names of the same field; remove one",
            id="one field twice",
        ),
        pytest.param(
            "pressure =",
            'position_stl = "d"\npressure =',
            "write it as 'position' of the domain 'surface_stl'",
            id="a domain's own position",
        ),
    ],
)
def test_a_wrong_mapping_is_refused_with_place_and_expectation(old: str, new: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^mapping flows.toml: .*{re.escape(message)}"):
        parse_mapping(with_change(old, new), "mapping flows.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            '[domains.a]\n[domains.a.fields]\nposition = "x"', "field 'position' needs the domain's file;", id="array"
        ),
        pytest.param(
            '[domains.a]\n[domains.a.fields]\nk = { file = "k.npy" }', "has no file and no position", id="no position"
        ),
        pytest.param("domains = {}", "domains: Dictionary should have at least 1 item", id="no domain"),
    ],
)
def test_a_domain_without_a_file_needs_a_file_for_its_position(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        parse_mapping(f'name = "n"\nid = "a"\n{text}', "mapping")


def test_a_mapping_is_read_from_a_file(tmp_path: Path, mapping: SourceMapping) -> None:
    (tmp_path / "m.toml").write_text(TEXT)
    assert load_mapping(tmp_path / "m.toml") == find_mapping(tmp_path / "m.toml") == mapping


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.toml", "mapping nowhere.toml cannot be read (No such file or directory); check the path"),
        ("ahmedml", "mapping 'ahmedml' is not known; did you mean 'ahmedml-raw'"),
        ("xyz", "there are: ahmedml-raw, drivaerml-raw, drivaerstar-raw, openfoam-ensight, openfoam-vtk, shapenet-car"),
    ],
)
def test_a_missing_mapping_is_named(name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        find_mapping(name)


CAR = "surface: position pressure friction normals area"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ahmedml-raw", f"{CAR}; volume: position pressure velocity vorticity sdf"),
        ("drivaerml-raw", f"{CAR}; volume: position pressure velocity sdf"),
        ("drivaerstar-raw", f"{CAR}; volume: position pressure velocity"),
        ("openfoam-ensight", f"{CAR}; volume: position pressure velocity vorticity sdf"),
        ("openfoam-vtk", f"{CAR}; volume: position pressure velocity vorticity sdf"),
        ("shapenet-car-raw", "surface: position pressure normals; volume: position velocity sdf"),
    ],
)
def test_the_mappings_that_come_with_the_library_have_these_fields(name: str, fields: str) -> None:
    mapping = find_mapping(name)
    layouts = build_domain_layouts(mapping.filemap())
    given = {domain: [array.name for array in layout.arrays.values()] for domain, layout in layouts.items()}
    assert "; ".join(f"{domain}: {' '.join(names)}" for domain, names in given.items()) == fields
    assert mapping.name == name
    assert type(mapping.filemap()) is FileMap


def test_no_other_mapping_comes_with_the_library() -> None:
    assert len(shipped_mappings()) == 6
