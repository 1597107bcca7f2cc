"""Arrays that the manifest lists and a group lacks: only missing chunks may mean fill values."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import Level, verify_store
from support.damage import ARRAY, FIELD, GROUP, SHARD, convert_tree, every_file, found, remove
from support.foreign_stores import CODECS, write_foreign

LEVELS = get_args(Level)[:3]
KINDS = ["ours", "foreign", "foreign, consolidated", "foreign, other codecs"]

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")


@dataclass
class Lossy:
    """A store, and its array that a test deletes."""

    root: Path
    sample_id: str
    group: str
    array: str
    field: str

    def delete(self) -> None:
        remove(f"{self.group}/{self.array}")(self.root)

    def forget(self) -> None:
        """Remove the array from the consolidated metadata, too, as another program does when it rebuilds them."""
        path = self.root / self.group / "zarr.json"
        document = json.loads(path.read_text())
        document.get("consolidated_metadata", {}).get("metadata", {}).pop(self.array, None)
        path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("missing"))


def lossy(kind: str, directory: Path, converted: tuple[Path, TreeSource]) -> Lossy:
    if kind == "ours":
        root = Path(shutil.copytree(converted[0], directory / "store"))
        return Lossy(root, "run_2", GROUP, "volume/velocity", FIELD)
    codecs = CODECS["other codecs" if "other codecs" in kind else "as we write it"]
    root = write_foreign(directory / "store", codecs, consolidated="consolidated" in kind)
    return Lossy(root, "run_1", "run_1.zarr", "surface/pressure", "surface_pressure")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, converted: tuple[Path, TreeSource]) -> Lossy:
    """A store of each kind."""
    return lossy(request.param, tmp_path, converted)


@pytest.fixture(params=["ours", "foreign, consolidated"])
def consolidated(request: pytest.FixtureRequest, tmp_path: Path, converted: tuple[Path, TreeSource]) -> Lossy:
    """A store of each kind with consolidated metadata."""
    return lossy(request.param, tmp_path, converted)


@pytest.mark.parametrize("level", LEVELS)
def test_a_deleted_array_is_one_finding(store: Lossy, level: Level) -> None:
    """Consolidated metadata, if there are any, still list the array."""
    store.delete()
    [one] = verify_store(store.root, level=level).findings
    assert (one.kind, one.severity, one.sample_id) == ("missing_array", "damage", store.sample_id)
    assert (one.field, one.object) == (store.field, f"{store.group}/{store.array}")
    assert one.explanation == "the manifest lists the array, but the group does not have it"
    assert one.way_out == f"noether-zarr repair {store.root} --source SOURCE"


@pytest.mark.parametrize("level", LEVELS)
def test_an_array_missing_in_the_metadata_too_is_found(consolidated: Lossy, level: Level) -> None:
    store = consolidated
    store.delete()
    store.forget()
    missing = ("missing_array", store.sample_id, f"{store.group}/{store.array}")
    damaged_root = ("metadata_damaged", store.sample_id, f"{store.group}/zarr.json")
    # A rewrite of a root of this library breaks its checksum.
    assert found(verify_store(store.root, level=level)) == {missing} | (
        {damaged_root} if store.group == GROUP else set()
    )


@pytest.mark.parametrize("level", LEVELS)
def test_an_array_missing_only_in_the_metadata_is_found(
    tmp_path: Path, converted: tuple[Path, TreeSource], level: Level
) -> None:
    """No reader finds the array, although its objects exist."""
    store = lossy("foreign, consolidated", tmp_path, converted)
    store.forget()
    [one] = verify_store(store.root, level=level).findings
    assert (one.kind, one.field, one.object) == (
        "metadata_damaged",
        store.field,
        f"{store.group}/{store.array}/zarr.json",
    )
    assert one.explanation == "the root of the group has no copy of this document"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_missing_metadata_of_an_array_are_found_once(
    tmp_path: Path, converted: tuple[Path, TreeSource], kind: str, level: Level
) -> None:
    store = lossy(kind, tmp_path, converted)
    key = f"{store.group}/{store.array}/zarr.json"
    remove(key)(store.root)
    [one] = verify_store(store.root, level=level).findings
    assert (one.kind, one.field, one.object, one.explanation) == (
        "metadata_damaged",
        store.field,
        key,
        "the object is missing",
    )


def test_an_array_without_any_chunk_is_fill_values_in_a_foreign_store(
    tmp_path: Path, converted: tuple[Path, TreeSource]
) -> None:
    store = lossy("foreign", tmp_path, converted)
    remove(f"{store.group}/{store.array}/c")(store.root)
    assert verify_store(store.root).findings == ()


def test_a_domain_that_the_group_lacks_is_not_a_missing_array(
    tmp_path: Path, converted: tuple[Path, TreeSource]
) -> None:
    """The manifest is out of date: a repair copies the group's domains, and needs no source."""
    store = lossy("ours", tmp_path, converted)
    source = converted[1]
    fields = {field: rows for field, rows in source.load("run_2").fields.items() if field.startswith("surface_")}
    writer = ZarrStoreWriter(store.root, source.filemap, "ahmed", chunk_points=32, shard_points=64)
    writer.write_group("run_2", fields)
    assert {kind for kind, _, _ in found(verify_store(store.root, level="census"))} == {"entry_differs"}
    report = repair_store(store.root)
    assert report.is_sound
    assert list(StoreManifest.load(str(store.root)).sample("run_2").domains) == ["surface"]


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", [False, True], ids=["listed", "forgotten"])
def test_without_a_source_a_missing_array_stays_missing(
    tmp_path: Path, converted: tuple[Path, TreeSource], forgotten: bool
) -> None:
    """Other readers would read metadata without chunks as fill values, which is worse than no array."""
    store = lossy("ours", tmp_path, converted)
    intact = every_file(store.root)
    store.delete()
    if forgotten:
        store.forget()
    report = repair_store(store.root)
    assert report.after is not None
    assert found(report.after) == {("missing_array", "run_2", ARRAY)}
    assert every_file(store.root) == {key: data for key, data in intact.items() if not key.startswith(f"{ARRAY}/")}


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", [False, True], ids=["listed", "forgotten"])
def test_a_source_restores_a_missing_array_to_the_byte(
    tmp_path: Path, converted: tuple[Path, TreeSource], forgotten: bool
) -> None:
    store = lossy("ours", tmp_path, converted)
    intact = every_file(store.root)
    store.delete()
    if forgotten:
        store.forget()
    report = repair_store(store.root, source=converted[1], level="census")
    assert report.is_sound
    assert "convert" in {action.kind for action in report.actions}
    assert every_file(store.root) == intact


def test_a_missing_array_does_not_hide_a_missing_shard_of_another(
    tmp_path: Path, converted: tuple[Path, TreeSource]
) -> None:
    store = lossy("ours", tmp_path, converted)
    store.delete()
    shard = SHARD.replace("velocity", "pressure")
    remove(shard)(store.root)
    assert found(verify_store(store.root)) == {
        ("missing_array", "run_2", ARRAY),
        ("missing_object", "run_2", shard),
    }
