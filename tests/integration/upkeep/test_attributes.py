"""Setting attributes of stored samples changes only the groups' roots and the manifest."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import (
    ArgumentError,
    CorruptDataError,
    ManifestError,
    SampleDataError,
    StorageError,
    UnknownNameError,
)
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores.local import LocalStorage
from noether.data.zarr_store.upkeep import attributes as attributes_module
from noether.data.zarr_store.upkeep import remove_samples, set_attributes
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import GROUP, IDS, SHARD, convert_tree, every_file, flip, found, remove
from support.places import PLACES, Place, make_place
from support.reading import write_runs
from support.trees import call

ROOT = f"{GROUP}/zarr.json"
GIVEN: dict[str, dict[str, Any]] = {
    "run_2": {"mach": 0.3, "design_parameters": "others"},
    "part/run_1": {"mach": np.float32(0.5)},
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("attributes"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> TreeSource:
    return converted[1]


def attributes_of(root: Path | str, sample_id: str = "run_2", **options: Any) -> dict[str, Any]:
    return ZarrChunkReader(root, **options).attributes(sample_id)


def of_group(root: Path, group: str = GROUP) -> Any:
    return json.loads((root / group / "zarr.json").read_bytes())["attributes"]["attributes"]


def test_attributes_are_added_in_groups_and_manifest_and_nothing_else_changes(root: Path) -> None:
    before = every_file(root)
    former = attributes_of(root, "part/run_1")
    assert set_attributes(root, GIVEN) == list(IDS)
    assert attributes_of(root) == of_group(root) == {"design_parameters": "others", "mach": 0.3}
    assert attributes_of(root, "part/run_1") == {**former, "mach": 0.5}
    after = every_file(root)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"manifest.json", ROOT, "part/run_1.zarr/zarr.json"}
    assert before.keys() == after.keys()
    assert verify_store(root).findings == ()


def test_the_bytes_are_those_of_a_sample_written_with_these_attributes(root: Path, source: TreeSource) -> None:
    set_attributes(root, GIVEN)
    given = every_file(root)
    sample = source.load("run_2")
    writer = ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64)
    entry = writer.write_group(
        "run_2", sample.fields, attributes=attributes_of(root), fingerprint=source.fingerprint("run_2")
    )
    assert (root / ROOT).read_bytes() == given[ROOT]
    assert StoreManifest.load(str(root)).sample("run_2") == entry


def test_attributes_can_replace_all_others(root: Path) -> None:
    set_attributes(root, {"run_2": {"mach": 0.3}}, replace=True)
    assert attributes_of(root) == of_group(root) == {"mach": 0.3}
    set_attributes(root, {"run_2": {}}, replace=True)
    assert attributes_of(root) == of_group(root) == {}


def test_setting_the_same_attributes_changes_nothing(root: Path) -> None:
    set_attributes(root, GIVEN)
    before = every_file(root)
    assert set_attributes(root, GIVEN) == []
    assert every_file(root) == before


def test_the_manifest_is_saved_after_every_batch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves: list[str] = []
    update = StoreManifest.update.__func__  # type: ignore[attr-defined]  # of a class method

    def note(cls: type[StoreManifest], *arguments: Any, **keywords: Any) -> None:
        saves.append("")
        update(cls, *arguments, **keywords)

    monkeypatch.setattr(StoreManifest, "update", classmethod(note))
    monkeypatch.setattr(attributes_module, "_SAMPLES_A_SAVE", 1)
    set_attributes(root, GIVEN)
    assert len(saves) == 2
    assert verify_store(root).findings == ()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def test_attributes_are_set_in_every_kind_of_storage(place: Place) -> None:
    write_runs(str(place.root), "run_1", "run_2", chunk_points=4096, storage_options=place.options)
    before = place.files()
    set_attributes(place.root, {"run_1": {"mach": 0.3}}, storage_options=place.options)
    after = {key: data for key, data in place.files().items() if key != ".zarr.json.lock"}
    assert {key for key in after if after[key] != before.get(key)} == {"manifest.json", "run_1.zarr/zarr.json"}
    options = {"storage_options": place.options}
    assert attributes_of(str(place.root), "run_1", **options) == {"name": "run_1", "mach": 0.3}
    assert verify_store(place.root, storage_options=place.options).findings == ()


MANY = {str(number): number for number in range(40_000)}
REFUSED: dict[str, tuple[Mapping[str, Any], type[Exception], str]] = {
    "an unknown sample": (
        {"run_2": {}, "run_3": {}},
        UnknownNameError,
        "'run_3'; nothing was changed; did you mean 'run_2'",
    ),
    "no sample": ({}, ArgumentError, "expected at least one sample, got none"),
    "a value that JSON lacks": (
        {"run_2": {"a": 1}, "part/run_1": {"b": float("nan")}},
        SampleDataError,
        "attribute 'b'",
    ),
    "a name that is no text": ({"run_2": {7: 1}}, SampleDataError, "attribute 7: expected a str as key, got int"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_refused_before_anything_changes(root: Path, name: str) -> None:
    before = every_file(root)
    given, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        set_attributes(root, given)
    assert every_file(root) == before


@pytest.mark.slow
def test_too_many_attributes_of_a_sample_are_refused(root: Path) -> None:
    set_attributes(root, {"run_2": MANY})
    with pytest.raises(SampleDataError, match="more than 65,536 values in all attributes"):
        set_attributes(root, {"run_2": {f"other {key}": value for key, value in MANY.items()}})
    assert verify_store(root, level="census").findings == ()


def test_a_missing_store_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"so .* is no store"):
        set_attributes(tmp_path / "nowhere", GIVEN)
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_store_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / GROUP).rename(tmp_path / GROUP)
    (root / GROUP).symlink_to(tmp_path / GROUP)
    before = every_file(tmp_path)
    with pytest.raises(StorageError, match="a link leads out of"):
        set_attributes(root, GIVEN)
    assert every_file(tmp_path) == before


@pytest.mark.parametrize("damage", [flip(ROOT), remove(ROOT), remove(GROUP)], ids=["damaged", "no root", "no group"])
def test_a_damaged_group_is_named_and_the_rest_agrees_with_the_manifest(root: Path, damage: Any) -> None:
    damage(root)
    is_there = (root / GROUP).exists()
    with pytest.raises(
        CorruptDataError, match=r"sample 'run_2': the root zarr\.json of its group is damaged or missing"
    ):
        set_attributes(root, dict(reversed(GIVEN.items())))
    assert attributes_of(root, "part/run_1")["mach"] == of_group(root, "part/run_1.zarr")["mach"] == 0.5
    assert {one[1] for one in found(verify_store(root))} == {"run_2"}
    assert (root / GROUP).exists() == is_there


def test_only_the_manifest_of_another_program_is_changed(root: Path) -> None:
    """Its groups do not name their sample."""
    content = json.loads((root / "manifest.json").read_bytes())
    for key in ("shuffle_algorithm", "crc32c", "chunk_index"):
        content.pop(key)
    (root / "manifest.json").write_text(json.dumps(content))
    plain = json.loads((root / ROOT).read_bytes())
    plain["attributes"] = {"written by": "hand"}
    (root / ROOT).write_text(json.dumps(plain))
    before = (root / ROOT).read_bytes()
    assert set_attributes(root, {"run_2": {"mach": 0.3}}) == ["run_2"]
    assert (root / ROOT).read_bytes() == before
    assert attributes_of(root)["mach"] == 0.3


# ---- concurrent changes


@pytest.mark.slow
def test_the_same_call_or_a_repair_completes_a_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the group and the manifest leaves this state."""
    manifest = (root / "manifest.json").read_bytes()
    set_attributes(root, GIVEN)
    expected = every_file(root)
    for mend in (lambda: set_attributes(root, GIVEN), lambda: repair_store(root)):
        (root / "manifest.json").write_bytes(manifest)
        assert {one[0] for one in found(verify_store(root))} == {"entry_differs"}
        mend()
        assert every_file(root) == expected


@pytest.mark.slow
def test_concurrent_changes_of_attributes_lose_nothing(tmp_path: Path) -> None:
    write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=4096)
    together = threading.Barrier(4)

    def set_some(number: int) -> None:
        together.wait()
        for turn in range(4):
            given = {f"{number}-{turn}": turn, "last": number}
            set_attributes(tmp_path / "store", {"run_1": given, "run_2": given})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(set_some, range(4)))
    expected = {f"{number}-{turn}": turn for number in range(4) for turn in range(4)}
    for sample_id in ("run_1", "run_2"):
        now = attributes_of(tmp_path / "store", sample_id)
        assert {key: value for key, value in now.items() if key in expected} == expected
    assert verify_store(tmp_path / "store").findings == ()


def test_a_concurrently_removed_sample_does_not_come_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = LocalStorage.update

    def remove_first(self: LocalStorage, key: str, change: Any) -> None:
        update(self, key, change)
        if key == ROOT:
            monkeypatch.undo()
            remove_samples(root, ["run_2"])

    monkeypatch.setattr(LocalStorage, "update", remove_first)
    set_attributes(root, {"run_2": {"mach": 0.3}})
    assert "run_2" not in StoreManifest.load(str(root)).samples
    assert not (root / GROUP).exists()
    assert verify_store(root).findings == ()


def test_an_open_writer_keeps_new_attributes(root: Path, source: TreeSource) -> None:
    writer = ZarrStoreWriter(root, source.filemap, "ahmed", chunk_points=32, shard_points=64)
    sample = source.load("run_2")
    writer.write_sample("run_2", sample.fields)
    writer.save_manifest()
    set_attributes(root, {"run_2": {"mach": 0.3}})
    writer.write_sample("run_3", sample.fields)
    writer.save_manifest()
    assert attributes_of(root) == {"mach": 0.3}


@pytest.mark.slow
def test_a_sample_repaired_from_its_source_keeps_its_attributes(root: Path, source: TreeSource) -> None:
    set_attributes(root, {"run_2": {"mach": 0.3}})
    before = every_file(root)
    assert verify_store(root, level="source", source=source).findings == ()
    flip(SHARD, 20)(root)
    assert repair_store(root, source=source).is_sound
    assert every_file(root) == before


@pytest.mark.slow
def test_a_repair_restores_attributes_of_the_source(root: Path, source: TreeSource) -> None:
    """Attributes that the source has replace changed values."""
    former = attributes_of(root)
    set_attributes(root, {"run_2": {"mach": 0.3, "design_parameters": 7}})
    assert repair_store(root, source=source, level="source").is_sound
    assert attributes_of(root) == {**former, "mach": 0.3}


# ---- the command


def test_the_command_sets_attributes_from_a_table(root: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("case;mach;note\nrun_2;0.3;x\npart/run_1;;y\n")
    ran = call("set-attributes", root, tmp_path / "table.csv", "--id-column", "case")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == "2 of 2 samples changed; attributes: mach, note\n"
    assert attributes_of(root)["mach"] == 0.3
    assert "mach" not in attributes_of(root, "part/run_1")
    assert "mach: 0.3" in call("info", root, "run_2").stdout
    ran = call("set-attributes", root, tmp_path / "table.csv", "--id-column", "case", "--replace")
    assert attributes_of(root) == {"mach": 0.3, "note": "x"}


def test_the_command_names_a_sample_that_the_store_lacks(root: Path, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"run_22": {"mach": 0.3}}')
    ran = call("set-attributes", root, tmp_path / "table.json")
    assert (ran.code, ran.stdout) == (1, "")
    assert "1 of 1 samples are not in the store: 'run_22'; nothing was changed; did you mean 'run_2'" in ran.stderr
    ran = call("set-attributes", root, tmp_path / "nowhere.csv")
    assert ran.code == 2
