"""Missing, surplus, half-written and unknown objects, in every kind of storage."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.errors import ManifestError, UnknownNameError
from noether.data.zarr_store.upkeep.verify import VerifyReport, verify_store
from support.damage import (
    ARRAY,
    FIELD,
    GROUP,
    IDS,
    SHARD,
    STAGED,
    Damage,
    Found,
    all_of,
    chunk_index_of,
    convert_tree,
    copy,
    cut,
    flip,
    found,
    move,
    put,
    remove,
    unlist,
)
from support.places import Place, make_place
from support.reading import write_runs

ROOT = f"{GROUP}/zarr.json"
FORMER = f".{GROUP}.{STAGED}.former"
OLD_INDEX = "chunk_index-0123456789abcdef.npy"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, _ = convert_tree(tmp_path_factory.mktemp("census"))
    return root


@pytest.fixture
def root(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "store"))


def census(root: Path) -> VerifyReport:
    return verify_store(root, level="census", workers=1)


def notes(report: VerifyReport) -> set[str | None]:
    return {one.object for one in report.having("note")}


def test_a_store_that_was_just_converted_is_sound(intact: Path) -> None:
    report = census(intact)
    assert (report.is_sound, report.findings) == (True, ())
    assert (report.n_samples, report.n_objects, report.n_bytes) == (2, 2 * 43 + 3, 0)
    assert report.limits == (
        "only names, sizes and the roots of groups were checked; use --level data to read all chunks",
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param(remove(GROUP), {("missing_group", "run_2", GROUP)}, id="a group is gone"),
        pytest.param(remove(ROOT), {("half_written_group", "run_2", GROUP)}, id="a root is gone"),
        pytest.param(remove(SHARD), {("missing_object", "run_2", SHARD)}, id="a shard is gone"),
        pytest.param(remove(f"{ARRAY}/c"), {("missing_object", "run_2", f"{ARRAY}/c/{i}/0") for i in range(3)}, id="3"),
        pytest.param(
            remove(f"{ARRAY}/zarr.json"), {("metadata_damaged", "run_2", f"{ARRAY}/zarr.json")}, id="a node is gone"
        ),
        pytest.param(cut(SHARD, 200), {("wrong_size", "run_2", SHARD)}, id="a shard was cut"),
        pytest.param(put(SHARD, b""), {("wrong_size", "run_2", SHARD)}, id="a shard is empty"),
        pytest.param(flip(ROOT), {("metadata_damaged", "run_2", ROOT)}, id="a root is damaged"),
        pytest.param(put(ROOT, b"[]"), {("metadata_damaged", "run_2", ROOT)}, id="a root is no group"),
        pytest.param(
            flip("manifest.json"), {("manifest_damaged", None, "manifest.json")}, id="the manifest is damaged"
        ),
        pytest.param(
            put("manifest.json", b"{"), {("manifest_damaged", None, "manifest.json")}, id="the manifest is no JSON"
        ),
        pytest.param(remove("manifest.json"), {("manifest_damaged", None, "manifest.json")}, id="no manifest"),
        pytest.param(
            flip("conversion.json"), {("report_damaged", None, "conversion.json")}, id="the report is damaged"
        ),
        pytest.param(unlist("run_2"), {("unlisted_group", "run_2", GROUP)}, id="a sample was not recorded"),
        pytest.param(
            all_of(copy(GROUP, "run_3.zarr"), remove("run_3.zarr/zarr.json")),
            {("leftover", None, "run_3.zarr")},
            id="a sample was not finished",
        ),
        pytest.param(
            all_of(unlist("run_2"), put(ROOT, b"{")), {("metadata_damaged", "run_2", ROOT)}, id="nor was its root"
        ),
        pytest.param(put(f"{ARRAY}/c/3/0"), {("leftover", "run_2", f"{ARRAY}/c/3/0")}, id="a shard too many"),
        pytest.param(put(OLD_INDEX), {("leftover", None, OLD_INDEX)}, id="an old chunk index"),
        pytest.param(
            copy(GROUP, f".{GROUP}.{STAGED}"), {("leftover", None, f".{GROUP}.{STAGED}")}, id="a staged group"
        ),
        pytest.param(
            put(f".manifest.json.{'0f' * 16}"), {("leftover", None, f".manifest.json.{'0f' * 16}")}, id="a staged file"
        ),
        pytest.param(
            move(GROUP, FORMER),
            {("leftover", None, FORMER), ("missing_group", "run_2", GROUP)},
            id="a group that was moved aside",
        ),
    ],
)
def test_damage_is_named_by_kind_sample_and_object(root: Path, damage: Damage, expected: set[Found]) -> None:
    # Some damage also leaves a chunk index that the manifest does not name; another test covers it.
    chunk_index = chunk_index_of(root)
    damage(root)
    assert {one for one in found(census(root)) if one[2] != chunk_index} == expected


@pytest.mark.parametrize(
    ("change", "kind"),
    [pytest.param(remove, "chunk_index_missing", id="gone"), pytest.param(flip, "chunk_index_damaged", id="damaged")],
)
def test_a_wrong_chunk_index_is_found(root: Path, change: object, kind: str) -> None:
    name = chunk_index_of(root)
    damage: Damage = change(name)  # type: ignore[operator]  # one of the two above
    damage(root)
    assert {one[0] for one in found(census(root))} == {kind}


def test_every_finding_has_a_remedy(root: Path) -> None:
    all_of(remove(SHARD), flip(f"{IDS[0]}.zarr/zarr.json"), put("notes.txt"))(root)
    report = census(root)
    ways_out = {(one.kind, one.severity): one.way_out for one in report.findings}
    assert ways_out == {
        ("metadata_damaged", "damage"): f"noether-zarr repair {root}",
        ("missing_object", "damage"): f"noether-zarr repair {root} --source SOURCE",
        ("not_recognised", "note"): "no action is needed: the library ignores it",
    }
    assert [one.field for one in report.having("damage")] == [None, FIELD]


STRANGERS = {
    "notes.txt": "notes.txt",
    f"{GROUP}/notes.txt": f"{GROUP}/notes.txt",
    "other.zarr/data.bin": "other.zarr",
    "other.zarr/zarr.json": "other.zarr",
    f"{ARRAY}/c/007/0": f"{ARRAY}/c/007/0",
}


@pytest.mark.parametrize("key", STRANGERS)
def test_unknown_objects_are_noted_and_not_damage(root: Path, key: str) -> None:
    put(key)(root)
    report = census(root)
    assert (report.is_sound, notes(report)) == (True, {STRANGERS[key]})


def test_locks_and_hidden_files_are_ignored(root: Path) -> None:
    all_of(put(".DS_Store"), put(f"{GROUP}/.hidden/x"), put(".manifest.json.lock"))(root)
    assert census(root).findings == ()


def test_staged_output_of_a_running_process_is_no_leftover(root: Path) -> None:
    copy(GROUP, f".run_3.zarr.{os.getpid()}-0123456789abcdef")(root)
    assert census(root).findings == ()


def test_an_unlisted_group_of_another_store_is_noted(root: Path, tmp_path: Path) -> None:
    other = write_runs(tmp_path / "other", "run_3", shuffle_seed=9)
    shutil.copytree(other / "run_3.zarr", root / "run_3.zarr")
    report = census(root)
    [note] = report.having("note")
    assert (report.is_sound, note.object) == (True, "run_3.zarr")
    assert note.explanation.startswith("a group that was written with other settings (shuffle_seed)")


def test_a_damaged_root_that_is_not_listed_needs_the_source(root: Path) -> None:
    """Neither the manifest nor the root has its content."""
    all_of(unlist("run_2"), put(ROOT, b"{"))(root)
    [finding] = census(root).having("damage")
    assert "--source SOURCE; or, to discard the sample, delete the directory" in finding.way_out


def test_a_listed_group_of_another_store_is_damage(root: Path, tmp_path: Path) -> None:
    other = write_runs(tmp_path / "other", "run_2", shuffle_seed=9)
    shutil.rmtree(root / GROUP)
    shutil.copytree(other / GROUP, root / GROUP)
    assert found(census(root)) == {("settings_differ", "run_2", ROOT)}


def test_a_moved_group_is_damage(root: Path) -> None:
    all_of(remove(GROUP), copy(f"{IDS[0]}.zarr", GROUP))(root)
    assert found(census(root)) == {("metadata_damaged", "run_2", ROOT)}


def test_a_split_with_unknown_samples_is_noted(root: Path) -> None:
    splits = {"test": ["run_7", "run_2", "run_8"]}
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update={"splits": splits}))
    [note] = census(root).findings
    assert note.explanation == "split 'test' names 2 samples that are not in the store: 'run_7', 'run_8'"
    assert note.severity == "note"


def rewrite_manifest(root: Path, change: Callable[[Any], object]) -> None:
    """Change the manifest without a checksum, like another program."""
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["crc32c"]
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))


def test_a_forged_grid_is_found_at_once(root: Path) -> None:
    """The verification does not search for all shards of the forged grid."""
    grid = {"n_points": 32 << 30, "n_chunks": 1 << 30, "chunk_points": 32, "shard_points": 32}
    rewrite_manifest(root, lambda manifest: manifest["samples"]["run_2"]["domains"]["volume"].update(grid))
    assert found(verify_store(root)) == {("entry_differs", "run_2", ROOT)}


def test_an_entry_that_cannot_be_read_is_a_damaged_manifest(root: Path) -> None:
    # A line of the manifest is parsed only when its sample is accessed.
    data = (root / "manifest.json").read_bytes()
    put("manifest.json", data.replace(b'"relpath":"run_2.zarr"', b'"relpath":"../n_2.zarr"'))(root)
    assert found(census(root)) == {("manifest_damaged", None, "manifest.json")}


def test_the_first_hundred_missing_shards_are_named(tmp_path: Path) -> None:
    root = tmp_path / "store"
    writer = ZarrStoreWriter(root, FileMap(volume_position="x"), "many", chunk_points=1, shard_points=1)
    writer.write_sample("run_1", {"volume_position": np.zeros((150, 3), "f4")})
    writer.save_manifest()
    remove("run_1.zarr/volume/position/c")(root)
    put("run_1.zarr/volume/position/c/7/0", b"x" * 40)(root)
    lost = [one for one in census(root).findings if one.kind == "missing_object"]
    named = {f"run_1.zarr/volume/position/c/{number}/0" for number in range(101) if number != 7}
    assert {one.object for one in lost} == named | {"run_1.zarr/volume/position"}
    assert lost[0].explanation == "149 of the 150 shards are missing"


def test_only_the_named_samples_are_checked(root: Path) -> None:
    all_of(remove(SHARD), put("notes.txt"), put(f".manifest.json.{'0f' * 16}"))(root)
    other = verify_store(root, sample_ids=[IDS[0]])
    assert (other.findings, other.n_samples) == ((), 1)
    assert other.limits == ("only the named samples and the manifest were checked",)
    assert not verify_store(root, sample_ids=["run_2"]).is_sound
    with pytest.raises(UnknownNameError, match="'run_7'; did you mean"):
        verify_store(root, sample_ids=["run_7"])


def test_an_empty_root_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.json: the manifest is missing, .* not a store; check the path"):
        census(tmp_path)


def test_a_newer_format_is_refused(root: Path) -> None:
    """It is not reported as damage."""
    rewrite_manifest(root, lambda manifest: manifest.update(format_version=3))
    with pytest.raises(ManifestError, match="format version 3 is not known"):
        census(root)


@pytest.fixture(params=["memory", pytest.param("s3-obstore", marks=pytest.mark.s3), "staged"])
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def test_findings_are_the_same_in_every_kind_of_storage(place: Place, tmp_path: Path) -> None:
    write_runs(str(place.root), "run_1", "run_2", "run_3", chunk_points=4096, storage_options=place.options)
    kwargs = {"level": "census", "storage_options": place.options}
    assert verify_store(place.root, **kwargs).findings == ()  # type: ignore[arg-type]  # of two types
    place.remove("run_1.zarr/zarr.json")
    place.remove(SHARD.replace("/1/", "/0/"))
    place.replace("run_3.zarr/volume/sdf/c/0/0", b"short")
    place.fs.makedirs(f"{place.path}/run_4.zarr/volume", exist_ok=True)
    place.replace("run_4.zarr/volume/zarr.json", b"{}")
    place.replace("notes.txt", b"x")
    report = verify_store(place.root, **kwargs)  # type: ignore[arg-type]  # of two types
    assert found(report) == {
        ("half_written_group", "run_1", "run_1.zarr"),
        ("missing_object", "run_2", SHARD.replace("/1/", "/0/")),
        ("wrong_size", "run_3", "run_3.zarr/volume/sdf/c/0/0"),
        ("leftover", None, "run_4.zarr"),
    }
    assert notes(report) == {"notes.txt"}


def test_a_staged_file_is_a_leftover(request: pytest.FixtureRequest) -> None:
    """A killed writer did not rename the file to its final name."""
    place = make_place("staged", request)
    write_runs(str(place.root), "run_1", storage_options=place.options)
    left = f"run_1.zarr/surface/area/c/0/.0.{'0f' * 16}"
    place.replace(left, b"half")
    assert found(verify_store(place.root, level="census")) == {("leftover", None, left)}
