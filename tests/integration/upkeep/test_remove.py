"""Removal of samples from a store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import ArgumentError, ManifestError, StorageError, UnknownNameError
from noether.data.zarr_store.reading import index_making, write_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores.local import LocalStorage
from noether.data.zarr_store.upkeep import RemovedGroup, copy_store, merge_groups, remove_samples
from noether.data.zarr_store.upkeep import remove as removal
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import load_run
from support.damage import GROUP, STAGED, Damage, copy, every_file, flip, put, remove
from support.places import PLACES, Place, make_place
from support.reading import write_runs
from support.removals import begin
from support.trees import TREE_FILEMAP, call, save_runs

IDS = ("part/run_1", "run_2", "run_3")
STAY = ("part/run_1", "run_3")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    """Three samples with a chunk index, splits, an unknown key, and a report."""
    directory = tmp_path_factory.mktemp("remove")
    source = TreeSource(save_runs(directory / "tree", IDS), TREE_FILEMAP)
    root = directory / "store"
    convert(source, open_writer(root))
    more = {"splits": {"train": ["run_2", "part/run_1"], "test": ["run_3"]}, "unit_system": "SI"}
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update=more))
    return root, source


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> TreeSource:
    return converted[1]


def open_writer(root: Path) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=32, shard_points=64)


def manifest_of(root: Path) -> StoreManifest:
    return StoreManifest.load(str(root))


def test_removing_a_sample_changes_no_other_byte(root: Path) -> None:
    before = every_file(root)
    index = manifest_of(root).index_name
    remove_samples(root, ["run_2"])
    after = every_file(root)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    now = manifest_of(root)
    of_sample = {key for key in before if key.startswith(f"{GROUP}/")}
    assert changed == of_sample | {"manifest.json", "conversion.json", index, now.index_name}
    assert not (root / GROUP).exists()
    assert list(now.samples) == list(STAY)
    assert (now.splits, now.model_extra) == ({"train": ["part/run_1"], "test": ["run_3"]}, {"unit_system": "SI"})
    assert verify_store(root).findings == ()


def test_the_manifest_has_no_trace_of_the_sample(root: Path, tmp_path: Path) -> None:
    """The manifest equals that of a store that never had the sample."""
    tree = save_runs(tmp_path / "tree", IDS)
    shutil.rmtree(tree / "run_2")
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "never"))
    remove_samples(root, ["run_2"])
    remaining = json.loads((root / "manifest.json").read_bytes())
    never = json.loads((tmp_path / "never" / "manifest.json").read_bytes())
    for one in (*remaining["samples"].values(), *never["samples"].values()):
        del one["fingerprint"]  # the times of files
    changed = {"crc32c", "splits", "unit_system"}
    assert {key: remaining[key] for key in never if key not in changed} == {
        key: never[key] for key in never if key not in changed
    }


def test_empty_directories_of_a_nested_id_are_removed(root: Path) -> None:
    remove_samples(root, ["part/run_1"])
    assert not (root / "part").exists()


def test_removed_groups_are_returned_and_reported(root: Path) -> None:
    sizes = [len(data) for key, data in every_file(root).items() if key.startswith(f"{GROUP}/")]
    expected = RemovedGroup("run_2", GROUP, len(sizes), sum(sizes))
    told: list[RemovedGroup] = []
    groups = remove_samples(root, ["run_2", "part/run_1", "run_2"], on_group=told.append)
    assert groups == tuple(told)
    assert groups[0] == expected
    assert [group.sample_id for group in groups] == ["run_2", "part/run_1"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def test_samples_are_removed_in_every_kind_of_storage(place: Place) -> None:
    write_runs(str(place.root), "run_1", "run_2", chunk_points=4096, storage_options=place.options)
    write_chunk_index(str(place.root), storage_options=place.options)
    remove_samples(place.root, ["run_1"], storage_options=place.options)
    name = StoreManifest.load(str(place.root), storage_options=place.options).index_name
    assert {key for key in place.files() if not key.startswith("run_2.zarr/")} == {"manifest.json", name}
    assert verify_store(place.root, storage_options=place.options).findings == ()


def test_a_dry_run_changes_nothing_and_returns_the_groups(root: Path) -> None:
    before = every_file(root)
    planned = remove_samples(root, ["run_2"], dry_run=True)
    assert every_file(root) == before
    assert planned == remove_samples(root, ["run_2"])


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "an unknown sample": (["run_2", "run_9"], UnknownNameError, r"'run_9'; nothing was changed; did you mean 'run_3'"),
    "no sample": ([], ArgumentError, "expected at least one sample to remove, got none"),
    "one str": ("run_2", ArgumentError, r"expected a list of ids, got the str 'run_2'; write \['run_2'\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_refused_before_anything_changes(root: Path, name: str) -> None:
    before = every_file(root)
    sample_ids, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        remove_samples(root, sample_ids)
    assert every_file(root) == before


def test_a_missing_store_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"so .* is no store"):
        remove_samples(tmp_path / "nowhere", ["run_2"])
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_store_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "part").rename(tmp_path / "disk2")
    (root / "part").symlink_to(tmp_path / "disk2")
    before = every_file(root) | every_file(tmp_path / "disk2")
    with pytest.raises(StorageError, match="a link leads out of"):
        remove_samples(root, ["run_2", "part/run_1"])
    assert every_file(root) | every_file(tmp_path / "disk2") == before


def test_a_linked_sample_loses_its_link_and_not_its_target(root: Path, tmp_path: Path) -> None:
    (root / GROUP).rename(tmp_path / GROUP)
    (root / GROUP).symlink_to(tmp_path / GROUP)
    before = every_file(tmp_path / GROUP)
    remove_samples(root, ["run_2"])
    assert not (root / GROUP).is_symlink()
    assert every_file(tmp_path / GROUP) == before


def test_a_group_with_an_unusual_path_is_removed(root: Path) -> None:
    """Stores of other programs may use any path within the store."""
    (root / GROUP).rename(root / "elsewhere")

    def move(manifest: StoreManifest) -> StoreManifest:
        manifest.samples["run_2"] = replace(manifest.samples["run_2"], relpath="elsewhere")
        return manifest

    StoreManifest.update(str(root), move)
    remove_samples(root, ["run_2"])
    assert not (root / "elsewhere").exists()
    assert verify_store(root).findings == ()


def test_a_sample_without_a_directory_is_removed(root: Path) -> None:
    shutil.rmtree(root / GROUP)
    assert remove_samples(root, ["run_2"]) == (RemovedGroup("run_2", GROUP, 0, 0),)
    assert list(manifest_of(root).samples) == list(STAY)
    assert verify_store(root).findings == ()


@pytest.mark.slow
def test_the_last_sample_can_be_removed_and_others_written_then(root: Path, source: TreeSource) -> None:
    remove_samples(root, IDS)
    assert sorted(key for key in every_file(root)) == ["conversion.json", "manifest.json"]
    convert(source, open_writer(root))
    assert list(manifest_of(root).samples) == list(IDS)


def test_staged_copies_do_not_restore_a_removed_sample(root: Path, source: TreeSource) -> None:
    """A writer that is killed just before the rename of a group leaves a complete staged copy."""
    copy(GROUP, f".{GROUP}.{STAGED}")(root)
    remove_samples(root, ["run_2"])
    open_writer(root).recover_staged(source.sample_ids())
    assert not (root / GROUP).exists()
    assert verify_store(root).findings == ()


# ---- the chunk index


def fail(*_: object) -> None:
    raise AssertionError("a shard was read")


def test_the_new_chunk_index_is_made_without_reading_shards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(index_making, "_gather_sample", fail)
        remove_samples(root, ["run_2"])
    name = manifest_of(root).index_name
    assert name is not None
    data = (root / name).read_bytes()
    assert write_chunk_index(root) == name
    assert (root / name).read_bytes() == data


def test_a_store_without_a_chunk_index_gets_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / str(manifest_of(root).index_name)).unlink()
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update={"sample_index": None}))
    monkeypatch.setattr(index_making, "_gather_sample", fail)
    remove_samples(root, ["run_2"])
    assert manifest_of(root).index_name is None


def flip_the_end(key: str) -> Damage:
    """Change the length of a chunk of the last sample, which stays."""
    return flip(key, -4)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip_the_end, remove], ids=["damaged", "gone"])
def test_a_damaged_chunk_index_is_rebuilt(root: Path, damage: Callable[[str], Damage]) -> None:
    name = str(manifest_of(root).index_name)
    damage(name)(root)
    remove_samples(root, ["run_2"])
    assert manifest_of(root).index_name not in (None, name)
    assert verify_store(root).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["recover_own", "write_index_without"])
def test_a_concurrently_added_sample_is_in_the_chunk_index(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The change comes before the new index is made, and after it was made for the other samples."""
    owner: Any = LocalStorage if moment == "recover_own" else removal
    act = getattr(owner, moment)

    def write_another(*arguments: Any) -> Any:
        result = act(*arguments)
        monkeypatch.undo()
        writer = open_writer(root)
        writer.write_sample("run_4", {field: values[:100] for field, values in load_run("run_4").items()})
        writer.save_manifest()
        return result

    monkeypatch.setattr(owner, moment, write_another)
    remove_samples(root, ["run_2"])
    now = manifest_of(root)
    assert list(now.samples) == [*STAY, "run_4"]
    assert now.index_name is not None
    assert verify_store(root).findings == ()


# ---- the report of conversions


def test_the_sample_is_removed_from_the_report(root: Path) -> None:
    runs = ReportFile.load(str(root)).runs
    remove_samples(root, ["run_2"])
    report = ReportFile.load(str(root))
    assert (list(report.samples), report.runs) == (list(STAY), runs)


@pytest.mark.parametrize("data", [b"{", None], ids=["damaged", "not there"])
def test_an_unreadable_report_stays_unchanged(root: Path, data: bytes | None) -> None:
    (root / "conversion.json").unlink()
    if data is not None:
        put("conversion.json", data)(root)
    remove_samples(root, ["run_2"])
    assert every_file(root).get("conversion.json") == data


# ---- interrupted and concurrent removals


def test_the_same_call_finishes_an_interrupted_removal(root: Path) -> None:
    begin(root, "run_2")
    with pytest.raises(UnknownNameError, match="its removal has begun"):
        ZarrChunkReader(root).read_arrays("run_2")
    remove_samples(root, ["run_2", "run_3"])
    assert not (root / GROUP).exists()
    assert (list(manifest_of(root).samples), manifest_of(root).removing) == (["part/run_1"], {})


def test_another_removal_ignores_an_interrupted_one(root: Path) -> None:
    begin(root, "run_2")
    remove_samples(root, ["run_3"])
    assert manifest_of(root).removing == {GROUP: "run_2"}
    assert (root / GROUP / "zarr.json").exists()


def test_merge_skips_and_names_a_group_under_removal(root: Path) -> None:
    begin(root, "run_2")
    report = merge_groups(root)
    assert (report.added, report.unchanged, report.removing) == ([], list(STAY), ["run_2"])
    assert list(manifest_of(root).samples) == list(STAY)
    ran = call("merge", root)
    assert ran.stdout.splitlines() == [
        "0 added, 0 updated, 2 unchanged",
        f"note: 1 sample left out, whose removal is unfinished: run_2; finish it with noether-zarr repair {root}",
    ]


@pytest.mark.slow
def test_merge_skips_a_group_whose_removal_begins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = StoreManifest.save

    def begin_first(self: StoreManifest, place: str, **keywords: Any) -> str:
        begin(root, "run_2")
        return save(self, place, **keywords)

    StoreManifest.update(
        str(root), lambda there: there.model_copy(update={"samples": without(there.samples, "part/run_1")})
    )
    writer = open_writer(root)
    entry = writer.write_group("run_2", load_run("run_1"))
    monkeypatch.setattr(StoreManifest, "save", begin_first)
    report = merge_groups(root)
    assert (report.added, report.updated) == (["part/run_1"], ["run_2"])
    assert entry.relpath in manifest_of(root).removing
    assert list(manifest_of(root).samples) == list(STAY)


def without(samples: Any, sample_id: str) -> dict[str, Any]:
    return {name: entry for name, entry in samples.items() if name != sample_id}


def test_an_open_writer_does_not_restore_a_removed_sample(root: Path) -> None:
    writer = open_writer(root)
    arrays = {field: values[:100] for field, values in load_run("run_1").items()}
    writer.write_sample("run_2", arrays)
    writer.write_sample("run_4", arrays)
    writer.save_manifest()
    for sample_id in ("run_2", "run_4", "run_5"):
        writer.write_sample(sample_id, arrays)
    remove_samples(root, ["run_2", "run_4"])
    with pytest.warns(UserWarning, match=r"2 samples are not recorded, such as 'run_2', because they were removed"):
        writer.save_manifest()
    assert list(manifest_of(root).samples) == list(writer.manifest.samples) == [*STAY, "run_5"]
    writer.save_manifest()
    assert list(manifest_of(root).samples) == [*STAY, "run_5"]
    writer.write_sample("run_2", arrays)
    writer.save_manifest()
    assert "run_2" in manifest_of(root).samples
    assert verify_store(root).is_sound


@pytest.mark.slow
def test_a_sample_written_after_an_interrupted_removal_stays(root: Path) -> None:
    begin(root, "run_2")
    (root / GROUP / "zarr.json").unlink()
    writer = open_writer(root)
    writer.write_sample("run_2", load_run("run_1"))
    writer.save_manifest()
    assert (list(manifest_of(root).samples), manifest_of(root).removing) == (list(IDS), {})
    assert verify_store(root).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["complete", "without its root", "removed"])
def test_a_conversion_converts_a_removed_sample_again(root: Path, source: TreeSource, step: str) -> None:
    """The removal was interrupted at any step, or had ended."""
    before = every_file(root)
    if step == "removed":
        remove_samples(root, ["run_2"])
    else:
        begin(root, "run_2")
    if step == "without its root":
        (root / GROUP / "zarr.json").unlink()
    convert(source, open_writer(root))
    after = every_file(root)
    assert {key for key in after if after[key] != before.get(key)} <= {"manifest.json", "conversion.json"}
    assert (list(manifest_of(root).samples), manifest_of(root).removing) == (list(IDS), {})
    assert verify_store(root).findings == ()


def test_a_copy_does_not_take_over_a_removal(root: Path, tmp_path: Path) -> None:
    begin(root, "run_2")
    copy_store(str(root), str(tmp_path / "copy"))
    assert (manifest_of(tmp_path / "copy").removing, list(manifest_of(tmp_path / "copy").samples)) == ({}, list(STAY))


@pytest.mark.slow
def test_a_sample_rewritten_during_each_removal_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, removed = open_writer(root), LocalStorage.remove_group

    def write_again(self: LocalStorage, relpath: str) -> None:
        removed(self, relpath)
        writer.write_group("run_2", load_run("run_1"))

    monkeypatch.setattr(LocalStorage, "remove_group", write_again)
    with pytest.raises(
        StorageError, match=rf"a writer wrote the group {GROUP} again during each of 3 removals; end the process"
    ):
        remove_samples(root, ["run_2"])
    monkeypatch.undo()
    remove_samples(root, ["run_2"])
    assert verify_store(root).findings == ()


# ---- the command


def test_the_command_prints_the_removed_samples(root: Path) -> None:
    ran = call("remove", root, "--sample", "run_2", "--sample", "part/run_1")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "removed run_2: 43 objects, 49.1 kB",
        "removed part/run_1: 43 objects, 48.8 kB",
        "removed 2 samples, 97.9 kB in all",
    ]
    assert list(manifest_of(root).samples) == ["run_3"]


def test_the_command_prints_a_dry_run(root: Path) -> None:
    before = every_file(root)
    ran = call("remove", root, "--sample", "run_2", "--dry-run")
    expected = ["would remove run_2: 43 objects, 49.1 kB", "would remove 1 sample, 49.1 kB in all"]
    assert (ran.code, ran.stdout.splitlines()) == (0, expected)
    assert every_file(root) == before


def test_the_command_reports_a_missing_group(root: Path) -> None:
    shutil.rmtree(root / GROUP)
    assert call("remove", root, "--sample", "run_2").stdout.splitlines()[0] == "removed run_2: no objects left"


def test_the_command_names_an_unknown_sample_and_exits_with_1(root: Path) -> None:
    ran = call("remove", root, "--sample", "run_22")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr == (
        "error: 1 of 1 samples are not in the store: 'run_22'; nothing was changed; did you mean 'run_2' or 'run_3'?\n"
    )
