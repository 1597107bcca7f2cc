"""Units and long names of fields: their sources, their readers, and the commands that keep them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray
import zarr

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert, open_writer
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources import AnnotatedSource, MappedSource, TreeSource, field_attributes_of
from noether.data.zarr_store.sources.mapping_files import find_mapping, parse_mapping, shipped_mappings
from noether.data.zarr_store.sources.presets import PRESETS
from noether.data.zarr_store.upkeep import copy_store, merge_groups, summarize
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import AHMED_FILEMAP, load_run
from support.meshes import MESHES
from support.trees import call, save_runs, visible_files

MEANING = {
    "surface_pressure": {"units": "m2/s2", "long_name": "kinematic pressure"},
    "volume_velocity": {"units": "m/s"},
    "volume_sdf": {"long_name": "distance to the surface"},
}


def write(root: Path, meaning: dict[str, dict[str, str]] | None = MEANING, sample_id: str = "run_1") -> Path:
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", chunk_points=64, field_attributes=meaning)
    writer.write_sample(sample_id, load_run("run_1"))
    writer.save_manifest()
    return root


def stored(root: Path, sample_id: str = "run_1") -> dict[str, dict[str, Any]]:
    """Return the attributes of every array with attributes, read with zarr-python."""
    group = zarr.open_group(root / f"{sample_id}.zarr", mode="r")
    arrays = {path.replace("/", "_"): array for path, array in group.members(max_depth=None) if "/" in path}
    return {name: dict(array.attrs) for name, array in arrays.items() if dict(array.attrs)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("meaning") / "store")


def test_field_attributes_are_attributes_of_the_arrays(store: Path) -> None:
    assert stored(store) == MEANING
    [surface, volume] = [xarray.open_zarr(store / "run_1.zarr", group=one) for one in ("surface", "volume")]
    assert surface["pressure"].attrs == MEANING["surface_pressure"]
    assert volume["velocity"].attrs == MEANING["volume_velocity"]
    assert surface["position"].attrs == {}


def test_bytes_without_field_attributes_are_unchanged(tmp_path: Path, store: Path) -> None:
    """The documents of arrays and their copies in the root differ only in the attributes."""
    without = visible_files(write(tmp_path / "store", None))
    assert visible_files(write(tmp_path / "empty", {"volume_sdf": {}})) == without
    for key, document in visible_files(store).items():
        if not key.endswith("zarr.json"):
            assert document == without[key]
        elif "crc32c" not in (parsed := json.loads(document))["attributes"]:
            assert parsed | {"attributes": {}} == json.loads(without[key])
    assert b'"attributes": {},' in without["run_1.zarr/surface/pressure/zarr.json"].replace(b"\n", b"")


def test_field_attributes_pass_to_another_process(tmp_path: Path, store: Path) -> None:
    writer = ZarrStoreWriter(tmp_path / "x", AHMED_FILEMAP, "ahmed", chunk_points=64, field_attributes=MEANING)
    keywords = pickle.loads(pickle.dumps(writer.to_init_kwargs()))
    again = ZarrStoreWriter(**keywords | {"store_root": tmp_path / "again"})
    again.write_sample("run_1", load_run("run_1"))
    again.save_manifest()
    assert visible_files(tmp_path / "again") == visible_files(store)


@pytest.mark.parametrize(
    ("meaning", "message"),
    [
        ({"volume_presure": {"units": "1"}}, "unknown field 'volume_presure'; did you mean 'volume_pressure'"),
        ({"volume_sdf": {"unit": "m"}}, "volume_sdf: expected 'units' or 'long_name', got 'unit'"),
        ({"volume_sdf": {"units": 1}}, "volume_sdf: units: expected printable text, got 1"),
        ({"volume_sdf": {"units": ""}}, "volume_sdf: units: expected printable text, got ''"),
        ({"volume_sdf": {"long_name": "a\u202eb"}}, "volume_sdf: long_name: expected printable text"),
    ],
)
def test_wrong_field_attributes_are_refused(tmp_path: Path, meaning: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^field_attributes: {message}"):
        write(tmp_path / "store", meaning)
    assert not (tmp_path / "store").exists()


def test_info_shows_field_attributes(store: Path) -> None:
    lines = call("info", store).stdout.splitlines()
    assert "surface_pressure: kinematic pressure [m2/s2]" in lines
    assert "volume_velocity: [m/s]" in lines
    assert "volume_sdf: distance to the surface" in lines
    summary = summarize(store, "run_1")
    shown = {field.field: (field.units, field.long_name) for domain in summary.domains for field in domain.fields}
    assert shown["surface_pressure"] == ("m2/s2", "kinematic pressure")
    assert shown["surface_position"] == (None, None)


def test_info_without_field_attributes_is_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "store", None)
    assert "]" not in call("info", tmp_path / "store").stdout.rpartition("┘")[2]


@pytest.mark.parametrize("options", [{}, {"fraction": 0.5}, {"fields": ["surface_pressure", "volume_sdf"]}], ids=str)
def test_copy_keeps_field_attributes(store: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    copy_store(str(store), str(tmp_path / "copy"), **options)
    kept = options.get("fields", MEANING)
    assert stored(tmp_path / "copy") == {field: MEANING[field] for field in kept}


def test_merge_keeps_field_attributes(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    (tmp_path / "store" / "manifest.json").unlink()
    merge_groups(tmp_path / "store")
    assert StoreManifest.load(str(tmp_path / "store")).samples.keys() == {"run_1"}
    assert stored(tmp_path / "store") == MEANING


def spoil_root(group: Path) -> None:
    """Change a unit in the root, so that the root fails its checksum."""
    root = group / "zarr.json"
    root.write_text(root.read_text().replace("m2/s2", "m2/s3"))


def lose_document(group: Path) -> None:
    (group / "surface" / "pressure" / "zarr.json").unlink()


@pytest.mark.parametrize("damage", [spoil_root, lose_document])
def test_repair_restores_field_attributes(store: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(store, tmp_path / "store")
    damage(tmp_path / "store" / "run_1.zarr")
    repair_store(tmp_path / "store")
    assert visible_files(tmp_path / "store") == visible_files(store)
    assert verify_store(tmp_path / "store").findings == ()


def test_repair_from_the_source_restores_field_attributes(tmp_path: Path) -> None:
    source = annotated_tree(tmp_path, {"volume_pressure": {"units": "1"}})
    writer = open_writer(tmp_path / "store", source.filemap, "ahmed", field_attributes=field_attributes_of(source))
    convert(source, writer, workers=0)
    before = visible_files(tmp_path / "store" / "run_1.zarr")
    shutil.rmtree(tmp_path / "store" / "run_1.zarr" / "volume")
    repair_store(tmp_path / "store", source=source)
    assert visible_files(tmp_path / "store" / "run_1.zarr") == before


def annotated_tree(root: Path, meaning: dict[str, dict[str, str]]) -> TreeSource:
    save_runs(root / "tree", ["run_1", "run_2"])
    preset = PRESETS["ahmedml"]
    return TreeSource(root / "tree", preset.filemap, preset.optional, field_attributes=meaning)


def test_units_other_than_those_of_the_store_are_refused(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    other = {"surface_pressure": {"units": "Pa"}, "volume_velocity": {"units": "m/s"}}
    message = "units of surface_pressure: expected 'm2/s2' as in the store, got 'Pa' from the source; write to"
    with pytest.raises(ArgumentError, match=message):
        open_writer(tmp_path / "store", AHMED_FILEMAP, "ahmed", field_attributes=other)
    open_writer(tmp_path / "store", AHMED_FILEMAP, "ahmed", field_attributes=other, overwrite=True)
    same = {"surface_pressure": {"long_name": "pressure"}, "volume_velocity": {"units": "m/s"}}
    open_writer(tmp_path / "store", AHMED_FILEMAP, "ahmed", field_attributes=same)


def test_a_store_without_units_takes_samples_with_units(tmp_path: Path) -> None:
    write(tmp_path / "store", None)
    writer = open_writer(tmp_path / "store", AHMED_FILEMAP, "ahmed", field_attributes=MEANING)
    writer.write_sample("run_2", load_run("run_2"))
    writer.save_manifest()
    assert (stored(tmp_path / "store", "run_1"), stored(tmp_path / "store", "run_2")) == ({}, MEANING)


@pytest.mark.parametrize("preset", ["ahmedml", "drivaerml"])
def test_the_volume_pressure_of_a_preset_is_a_total_pressure_coefficient(tmp_path: Path, preset: str) -> None:
    save_runs(tmp_path / "tree", ["run_1"])
    ran = call("convert", tmp_path / "tree", tmp_path / "store", "--preset", preset, "--workers", "0")
    assert ran.code == 0, ran.output
    assert stored(tmp_path / "store") == {"volume_pressure": {"units": "1", "long_name": "total pressure coefficient"}}
    assert "volume_pressure: total pressure coefficient [1]" in call("info", tmp_path / "store").stdout


def test_mapping_sets_units_and_long_names(tmp_path: Path) -> None:
    text = """
    name = "meaning"
    id = "{case}"
    [domains.surface]
    file = "{case}/surface.vtp"
    association = "cell"
    [domains.surface.fields]
    pressure = { array = "p", units = "m2/s2", long_name = "kinematic pressure" }
    area = { derive = "area", long_name = "area of the face" }
    """
    source = MappedSource(MESHES / "vtk", parse_mapping(text, "mapping"))
    assert isinstance(source, AnnotatedSource)
    (tmp_path / "m.toml").write_text(text)
    ran = call("convert", MESHES / "vtk", tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", "0")
    assert ran.code == 0, ran.output
    assert stored(tmp_path / "store") == {
        "surface_pressure": {"units": "m2/s2", "long_name": "kinematic pressure"},
        "surface_area": {"long_name": "area of the face"},
    }
    assert StoreManifest.load(str(tmp_path / "store")).sample("run_1").attributes == {
        "units": {"surface_pressure": "m2/s2"}
    }


def test_pressures_of_shipped_mappings_have_long_names() -> None:
    meanings = {name: find_mapping(name).field_attributes() for name in shipped_mappings()}
    for name in ("ahmedml-raw", "drivaerml-raw"):
        assert meanings[name]["volume_pressure"] == {"units": "1", "long_name": "mean total pressure coefficient"}
        assert meanings[name]["surface_pressure"] == {"units": "m2/s2", "long_name": "mean kinematic pressure"}


def test_a_mapping_without_long_names_keeps_its_fingerprints() -> None:
    """Samples that were converted before long names existed are not converted again."""
    text = 'name = "n"\nid = "{case}"\n[domains.surface]\nfile = "{case}/a.vtp"\nfields = { pressure = "p" }'
    dumped = parse_mapping(text, "mapping").model_dump(mode="json")["domains"]["surface"]["fields"]["pressure"]
    assert dumped == {"units": None, "width": None, "array": "p", "transpose": False}


def test_fields_that_a_source_lacks_are_left_out(tmp_path: Path) -> None:
    save_runs(tmp_path / "tree", ["run_1"])
    for file in (tmp_path / "tree").rglob("volume_cell_sdf*"):
        file.unlink()
    preset, meaning = PRESETS["ahmedml"], {"volume_sdf": {"units": "m"}, "volume_pressure": {"units": "1"}}
    source = TreeSource(tmp_path / "tree", preset.filemap, preset.optional, field_attributes=meaning)
    assert source.field_attributes == {"volume_pressure": {"units": "1"}}


def test_repair_by_recorded_file_names_restores_field_attributes(tmp_path: Path) -> None:
    save_runs(tmp_path / "tree", ["run_1"])
    ran = call("convert", tmp_path / "tree", tmp_path / "store", "--preset", "ahmedml", "--workers", "0")
    assert ran.code == 0, ran.output
    before = visible_files(tmp_path / "store" / "run_1.zarr")
    shutil.rmtree(tmp_path / "store" / "run_1.zarr" / "volume")
    call("repair", tmp_path / "store", "--source", tmp_path / "tree")
    assert visible_files(tmp_path / "store" / "run_1.zarr") == before
