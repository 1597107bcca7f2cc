"""Removal of fields from all samples of a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner
from zarr.errors import ZarrUserWarning

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.cli import app
from noether.data.zarr_store.errors import (
    ArgumentError,
    CorruptDataError,
    ManifestConflictError,
    StoreError,
    UnknownNameError,
)
from noether.data.zarr_store.manifest import begin_field_removal, removable_fields
from noether.data.zarr_store.reading import index_making, index_subset, write_chunk_index
from noether.data.zarr_store.upkeep import RemovedField, remove_fields
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import every_file
from support.foreign_stores import CODECS, write_foreign
from support.later_fields import ADDED, BASE, IDS, MORE, fields_of, open_writer, write
from support.local_reads import note_reads
from support.places import PLACES, Place, make_place
from support.storm import read_whole


@pytest.fixture(scope="module")
def with_fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("with") / "store"
    write(root, MORE)
    return root


@pytest.fixture
def root(with_fields: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(with_fields, tmp_path / "store"))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def manifest_of(root: Path) -> StoreManifest:
    return StoreManifest.load(str(root))


def test_the_store_matches_a_conversion_without_the_fields(place: Place, tmp_path: Path) -> None:
    write(tmp_path / "without", BASE)
    write(place.root, MORE, options=place.options)
    remove_fields(place.root, ADDED, storage_options=place.options)
    assert place.files() == every_file(tmp_path / "without")


def test_an_added_field_is_removed_to_the_byte(tmp_path: Path) -> None:
    root = tmp_path / "store"
    write(root, BASE)
    before = every_file(root)
    writer = open_writer(root, MORE)
    for sample_id in IDS[:2]:  # so that one of the two fields is pending
        writer.add_fields(sample_id, fields_of(sample_id, ADDED))
    writer.save_manifest()
    assert manifest_of(root).pending_fields
    remove_fields(root, ADDED)
    assert every_file(root) == before


def test_removed_fields_are_returned_and_a_dry_run_changes_nothing(root: Path) -> None:
    before = every_file(root)
    sizes = [len(data) for key, data in before.items() if "surface/friction/" in key]
    expected = (RemovedField("surface_friction", 3, len(sizes), sum(sizes)),)
    assert remove_fields(root, ["surface_friction"], dry_run=True) == expected
    assert every_file(root) == before
    assert remove_fields(root, ["surface_friction"]) == expected


def test_no_shard_is_read_for_the_new_chunk_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the chunk index is rebuilt")

    with monkeypatch.context() as patched:
        patched.setattr(index_making, "_gather_sample", fail)
        patched.setattr(index_subset, "gather_fields", fail)
        reads = note_reads(patched)
        remove_fields(root, ["surface_friction"])
    assert reads == []
    name = str(manifest_of(root).index_name)
    data = (root / name).read_bytes()
    assert write_chunk_index(root) == name
    assert (root / name).read_bytes() == data


BAD: dict[str, tuple[list[str] | str, type[StoreError], str]] = {
    "a position": (["volume_position"], ArgumentError, "field 'volume_position': it is the position of its domain"),
    "the last ones": (
        ["surface_pressure", "surface_friction", "volume_pressure", "volume_velocity"],
        ArgumentError,
        "fields: expected at least one field to remain beside the positions",
    ),
    "an unknown one": (["volume_presure"], UnknownNameError, "field 'volume_presure' is not in the store; nothing was"),
    "none": ([], ArgumentError, "expected at least one field"),
    "a str": ("volume_pressure", ArgumentError, r"expected a list of names, got the str 'volume_pressure'"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_removal_is_refused_before_any_change(root: Path, case: str) -> None:
    fields, error, message = BAD[case]
    before = every_file(root)
    with pytest.raises(error, match=message):
        remove_fields(root, fields)
    assert every_file(root) == before


def begin(root: Path) -> None:
    """Leave a store in the state of a removal that was killed after its first step."""
    write_chunk_index(root)

    def change(manifest: StoreManifest) -> StoreManifest:
        begun = begin_field_removal(manifest, removable_fields(manifest, ["surface_friction"]))
        return begun.model_copy(update={"sample_index": None})

    name = str(manifest_of(root).index_name)
    StoreManifest.update(str(root), change)
    (root / name).unlink()


def test_an_unfinished_removal_is_found_and_a_repair_finishes_it(root: Path, with_fields: Path) -> None:
    begin(root)
    assert {(one.kind, one.field) for one in verify_store(root).having("damage")} == {
        ("unfinished_removal", "surface_friction")
    }
    assert repair_store(root).is_sound
    assert not list(root.rglob("friction"))
    assert manifest_of(root).removing_fields == {}
    expected = read_whole(with_fields)
    for sample_id, arrays in read_whole(root).items():
        assert arrays.keys() == expected[sample_id].keys() - {"surface_friction"}


def test_a_field_is_not_added_while_it_is_removed(root: Path) -> None:
    begin(root)
    with pytest.raises(
        ManifestConflictError, match="field 'surface_friction' is being removed; finish its removal first"
    ):
        open_writer(root, MORE).add_fields("run_2", fields_of("run_2", ["surface_friction"]))
    remove_fields(root, ["surface_friction"])
    open_writer(root, MORE).add_fields("run_2", fields_of("run_2", ["surface_friction"]))


def test_a_damaged_root_stops_the_removal_and_a_repair_finishes_it(root: Path) -> None:
    path = root / "run_2.zarr" / "zarr.json"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptDataError, match=r"sample 'run_2': the root zarr\.json of its group is damaged"):
        remove_fields(root, ["surface_friction"])
    assert "surface_friction" not in manifest_of(root).domains["surface"].arrays
    assert repair_store(root).is_sound
    assert not list(root.rglob("friction"))


def test_a_field_of_another_program_is_removed(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "store", CODECS["as we write it"])
    shutil.copytree(root / "run_1.zarr" / "surface" / "pressure", root / "run_1.zarr" / "surface" / "area")
    manifest = json.loads((root / "manifest.json").read_bytes())
    arrays = manifest["domains"]["surface"]["arrays"]
    arrays["surface_area"] = arrays["surface_pressure"] | {"array_name": "area", "field": "surface_area"}
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(ZarrUserWarning):
        zarr.consolidate_metadata(root / "run_1.zarr")
    before = ZarrChunkReader(root).read_arrays("run_1")
    remove_fields(root, ["surface_pressure"])
    after = ZarrChunkReader(root).read_arrays("run_1")
    assert before.keys() - after.keys() == {"surface_pressure"}
    np.testing.assert_array_equal(after["surface_area"], before["surface_area"])
    assert "surface/pressure" not in (root / "run_1.zarr" / "zarr.json").read_text()
    assert not (root / "run_1.zarr" / "surface" / "pressure").exists()
    assert verify_store(root).is_sound


def test_the_command_removes_fields(root: Path) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["remove", str(root), *arguments])
        return result.exit_code, result.output

    assert call("--field", "surface_friction", "--dry-run")[1].startswith("would remove surface_friction: ")
    code, output = call("--field", "surface_friction", "--field", "volume_pressure")
    assert code == 0
    assert output.splitlines()[0].startswith("removed surface_friction: 12 objects of 3 samples, ")
    assert "surface_friction" not in ZarrChunkReader(root).read_arrays("run_2")
    assert verify_store(root).findings == ()
    assert call()[0] == call("--field", "surface_pressure", "--sample", "run_2")[0] != 0
