"""Repairs from the intact data of a store, and from its source."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep.repair import Action, ActionKind, repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.bad_sources import RaisingSource
from support.damage import (
    ARRAY,
    GROUP,
    IDS,
    SHARD,
    STAGED,
    Damage,
    all_of,
    changed,
    chunk_index_of,
    convert_tree,
    copy,
    cut,
    every_file,
    flip,
    found,
    move,
    put,
    remove,
    unlist,
)
from support.lanes import few_fast
from support.places import Place, make_place
from support.reading import write_runs
from support.trees import expected_fields, save_runs

ROOT = f"{GROUP}/zarr.json"
FORMER = f".{GROUP}.{STAGED}.former"
Kinds = list[ActionKind]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("repair"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def intact(converted: tuple[Path, TreeSource]) -> dict[str, bytes]:
    return every_file(converted[0])


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> TreeSource:
    return converted[1]


def kinds(actions: tuple[Action, ...]) -> Kinds:
    return [action.kind for action in actions]


OF_ITSELF: dict[str, tuple[Damage, Kinds]] = {
    "nothing": (all_of(), []),
    "a byte of the manifest": (flip("manifest.json", -50), ["save_manifest", "make_chunk_index"]),
    "a byte of a root": (flip(ROOT), ["restore_metadata"]),
    "a root and a node": (all_of(flip(ROOT), remove(f"{ARRAY}/zarr.json")), ["restore_metadata", "restore_metadata"]),
    "a byte of a node": (flip(f"{ARRAY}/zarr.json"), ["restore_metadata"]),
    "a domain's node": (remove(f"{GROUP}/volume/zarr.json"), ["restore_metadata"]),
    "a sample that was not recorded": (unlist("run_2"), ["save_manifest", "make_chunk_index"]),
    "a shard too many": (put(f"{ARRAY}/c/3/0"), ["remove"]),
    "an old chunk index": (put("chunk_index-0123456789abcdef.npy"), ["remove"]),
    "a sample that was not finished": (all_of(copy(GROUP, "run_3.zarr"), remove("run_3.zarr/zarr.json")), ["remove"]),
    "a staged group": (copy(GROUP, f".{GROUP}.{STAGED}"), ["remove"]),
    "a staged file": (put(f".manifest.json.{'0f' * 16}"), ["remove"]),
    "a group that was moved aside": (move(GROUP, FORMER), ["put_back"]),
    "a group that was to be replaced": (
        all_of(move(GROUP, FORMER), copy(f"{IDS[0]}.zarr", f".{GROUP}.{STAGED}")),
        ["put_back", "remove"],
    ),
}


@pytest.mark.parametrize("name", few_fast(OF_ITSELF, 4))
def test_damage_is_repaired_without_the_source_to_the_byte(root: Path, intact: dict[str, bytes], name: str) -> None:
    damage, expected = OF_ITSELF[name]
    damage(root)
    report = repair_store(root)
    assert kinds(report.actions) == expected
    assert report.is_sound
    assert report.before.is_sound == (not expected)
    assert every_file(root) == intact


@pytest.mark.slow
@pytest.mark.parametrize("change", [flip, remove], ids=["damaged", "gone"])
def test_the_chunk_index_is_rebuilt(root: Path, intact: dict[str, bytes], change: Any) -> None:
    change(chunk_index_of(root))(root)
    report = repair_store(root)
    assert (kinds(report.actions), report.is_sound) == (["make_chunk_index"], True)
    assert every_file(root) == intact


FROM_THE_SOURCE: dict[str, Damage] = {
    "a byte of a chunk": flip(SHARD, 20),
    "a byte of an index": flip(SHARD, -5),
    "a shard": remove(SHARD),
    "a part of a shard": cut(SHARD, 50),
    "a group": remove(GROUP),
    "a root": remove(ROOT),
    "a group that was not recorded and lost its root": all_of(unlist("run_2"), remove(ROOT)),
    "two groups that took each other's place": all_of(
        move(GROUP, "x"), move(f"{IDS[0]}.zarr", GROUP), move("x", f"{IDS[0]}.zarr")
    ),
    "a chunk behind a damaged root": all_of(flip(SHARD, 20), flip(ROOT)),
    "a root and the manifest": all_of(flip(ROOT), flip("manifest.json", -50)),
}


# The group is missing: without a source, the sample is removed from the manifest.
NO_DAMAGE_WITHOUT = {"a group", "a group that was not recorded and lost its root"}


@pytest.mark.slow
@pytest.mark.parametrize("name", few_fast(FROM_THE_SOURCE, 2))
def test_lost_data_are_converted_again_to_the_byte(
    root: Path, intact: dict[str, bytes], source: TreeSource, name: str
) -> None:
    FROM_THE_SOURCE[name](root)
    report = repair_store(root, source=source)
    assert "convert" in kinds(report.actions)
    assert (report.is_sound, report.failures) == (True, {})
    assert every_file(root) == intact
    assert verify_store(root, level="source", source=source).findings == ()


@pytest.mark.parametrize("name", few_fast([name for name in FROM_THE_SOURCE if name not in NO_DAMAGE_WITHOUT]))
def test_lost_data_stay_damaged_without_a_source(root: Path, name: str) -> None:
    """No chunk is removed."""
    FROM_THE_SOURCE[name](root)
    chunks = {key for key in every_file(root) if "/c/" in key}
    assert not repair_store(root).is_sound
    assert {key for key in every_file(root) if "/c/" in key} == chunks


@pytest.mark.slow
@pytest.mark.parametrize("name", few_fast([*FROM_THE_SOURCE, *OF_ITSELF]))
def test_a_dry_run_changes_nothing_and_returns_the_first_steps(root: Path, source: TreeSource, name: str) -> None:
    damage, expected = (FROM_THE_SOURCE[name], None) if name in FROM_THE_SOURCE else OF_ITSELF[name]
    damage(root)
    before = every_file(root)
    planned = repair_store(root, source=source, dry_run=True)
    assert every_file(root) == before
    # The source is not used for damage that can be repaired without it.
    assert expected is None or kinds(planned.actions) == expected
    assert planned.after is None
    assert planned.is_sound == planned.before.is_sound
    done: list[Action] = []
    report = repair_store(root, source=source, on_action=done.append)
    assert tuple(done) == report.actions
    assert report.actions[: len(planned.actions)] == planned.actions


@pytest.mark.slow
@pytest.mark.parametrize("damage", [put("manifest.json", b"junk"), cut("manifest.json", 400)], ids=["junk", "cut"])
def test_an_unreadable_manifest_is_kept_as_a_backup(root: Path, damage: Damage) -> None:
    """The new manifest is rebuilt from the groups."""
    damage(root)
    data, former = (root / "manifest.json").read_bytes(), json.loads((root / GROUP / "zarr.json").read_bytes())
    report = repair_store(root)
    assert report.is_sound
    assert "its splits cannot be restored, set them again after the repair" in report.actions[0].reason
    assert (root / "manifest.json.damaged").read_bytes() == data
    made = StoreManifest.load(str(root))
    assert list(made.samples) == list(IDS)
    assert made.splits == {}  # the groups do not have these
    assert made.sample("run_2").attributes == former["attributes"]["attributes"]
    assert ZarrChunkReader(root).read_arrays("run_2", order="original")["volume_position"].tolist() == (
        expected_fields("run_2")["volume_position"].tolist()
    )


def test_a_damaged_report_gets_a_checksum_or_is_renamed(root: Path) -> None:
    """A readable report gets a checksum."""
    put("conversion.json", (root / "conversion.json").read_bytes().replace(b'"converted"', b'"failed"'))(root)
    report = repair_store(root)
    assert (kinds(report.actions), report.is_sound) == (["save_report"], True)
    assert ReportFile.load(str(root)).failed() == set(IDS)
    put("conversion.json", b"{")(root)
    assert repair_store(root).is_sound
    assert not (root / "conversion.json").exists()
    assert (root / "conversion.json.damaged").read_bytes() == b"{"


@pytest.mark.slow
def test_a_replaced_group_updates_the_manifest(root: Path, source: TreeSource) -> None:
    """The manifest still had the entry of the former group."""
    sample = source.load("run_2")
    writer = ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64)
    writer.write_group("run_2", sample.fields, attributes={"angle": 7})
    assert ("entry_differs", "run_2", ROOT) in found(verify_store(root))
    report = repair_store(root)
    assert (kinds(report.actions), report.is_sound) == (["save_manifest", "make_chunk_index"], True)
    assert StoreManifest.load(str(root)).sample("run_2").attributes == {"angle": 7}


def test_splits_and_unknown_keys_survive_a_repair(root: Path, source: TreeSource) -> None:
    all_of(flip(SHARD, 20), flip(f"{IDS[0]}.zarr/zarr.json"))(root)
    report = repair_store(root, source=source)
    assert not any("splits" in action.reason for action in report.actions)
    made = StoreManifest.load(str(root))
    assert (made.splits, made.model_extra) == ({"train": ["run_2"]}, {"unit_system": "SI"})


def test_a_sample_with_a_broken_source_is_reported(root: Path, intact: dict[str, bytes], source: TreeSource) -> None:
    """All other damage is repaired."""
    all_of(flip(SHARD, 20), remove(f"{IDS[0]}.zarr"))(root)
    broken = RaisingSource(Path(source.root), source.filemap, {"run_2": SourceError("sample 'run_2': p.npy is cut")})
    report = repair_store(root, source=broken)
    assert report.failures == {"run_2": "sample 'run_2': p.npy is cut"}
    assert found(verify_store(root)) == {("chunk_damaged", "run_2", SHARD)}
    first = {key: data for key, data in every_file(root).items() if key.startswith(IDS[0])}
    assert first == {key: data for key, data in intact.items() if key.startswith(IDS[0])}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    few_fast(
        [
            pytest.param({"chunk_points": {"surface": 64, "volume": 16}, "shard_points": 100}, id="capped"),
            pytest.param({"chunk_points": {"surface": 16}, "shard_points": 40}, id="one domain capped"),
            pytest.param({}, id="domains smaller than a chunk"),
            pytest.param({"checksum": False, "compression_level": 3, "coords_dtype": "float64"}, id="encoding"),
            pytest.param({"field_dtypes": {"volume_pressure": "float32"}, "shuffle_seed": 7}, id="dtypes and seed"),
        ]
    ),
)
def test_a_sample_is_converted_again_to_the_same_bytes(
    tmp_path: Path, source: TreeSource, settings: dict[str, Any]
) -> None:
    root = tmp_path / "store"
    convert(source, ZarrStoreWriter(root, source.filemap, "ahmed", **settings))
    before = every_file(root)
    remove(GROUP)(root)
    assert repair_store(root, source=source).is_sound
    assert every_file(root) == before


def test_a_damaged_sample_is_not_recorded(root: Path) -> None:
    all_of(unlist("run_2"), flip(SHARD, 20))(root)
    report = repair_store(root)
    assert "run_2" not in StoreManifest.load(str(root)).samples
    assert report.after is not None
    assert {("chunk_damaged", "run_2", SHARD), ("unlisted_group", "run_2", GROUP)} <= found(report.after)


def test_an_interrupted_repair_records_converted_samples(root: Path, source: TreeSource) -> None:
    all_of(unlist(IDS[0]), remove(f"{IDS[0]}.zarr/zarr.json"), flip(SHARD, 20))(root)

    def interrupt(action: Action) -> None:
        if action.sample_id == "run_2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair_store(root, source=source, on_action=interrupt)
    assert found(verify_store(root)) == {("chunk_damaged", "run_2", SHARD)}
    assert IDS[0] in StoreManifest.load(str(root)).samples


@pytest.mark.slow
def test_the_former_chunk_index_is_removed(root: Path, source: TreeSource, tmp_path: Path) -> None:
    flip(SHARD, 20)(root)
    former = chunk_index_of(root)
    other = save_runs(tmp_path / "tree", [IDS[0], "x", "run_2"])  # run_2 has the values of another simulation
    report = repair_store(root, source=TreeSource(other, source.filemap))
    assert (kinds(report.actions), report.is_sound) == (["convert", "make_chunk_index"], True)
    assert chunk_index_of(root) != former


@pytest.mark.slow
def test_values_that_differ_from_the_source_are_converted_again(
    root: Path, intact: dict[str, bytes], source: TreeSource
) -> None:
    sample = source.load("run_2")
    writer = ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64)
    fields = sample.fields | {"volume_velocity": sample.fields["volume_velocity"] + 1}
    entry = writer.write_group("run_2", fields, attributes=sample.attributes, fingerprint=source.fingerprint("run_2"))
    writer.record("run_2", entry)
    writer.save_manifest()
    report = repair_store(root, source=source, level="source")
    assert (kinds(report.actions), report.is_sound) == (["convert", "make_chunk_index"], True)
    assert every_file(root) == intact


@pytest.fixture(
    params=["memory", pytest.param("s3-obstore", marks=pytest.mark.s3), pytest.param("staged", marks=pytest.mark.slow)]
)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.mark.slow
def test_stores_are_repaired_in_every_kind_of_storage(place: Place) -> None:
    write_runs(str(place.root), "run_1", "run_2", chunk_points=4096, storage_options=place.options)
    name, rng = write_chunk_index(str(place.root), storage_options=place.options), random.Random(0)
    intact = place.files()
    for key in (name, "run_1.zarr/zarr.json", "run_2.zarr/volume/sdf/zarr.json"):
        place.replace(key, changed(intact[key], len(intact[key]) // 2, rng))
    place.fs.makedirs(f"{place.path}/run_3.zarr/volume", exist_ok=True)
    place.replace("run_3.zarr/volume/zarr.json", b"{}")
    place.replace("notes.txt", b"x")
    report = repair_store(place.root, storage_options=place.options)
    assert report.is_sound
    assert place.files() == intact | {"notes.txt": b"x"}
    place.replace("manifest.json", changed(intact["manifest.json"], 40, rng))
    assert repair_store(place.root, storage_options=place.options).is_sound
    assert place.files().keys() - {"manifest.json.damaged"} == {*intact, "notes.txt"}
