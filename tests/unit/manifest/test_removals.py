"""The manifest's record of groups that are being removed: begin, end, and the checks that respect it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.errors import ArgumentError, ManifestError, UnknownNameError
from noether.data.zarr_store.manifest import (
    SampleEntry,
    SeenManifest,
    StoreManifest,
    begin_removal,
    end_removal,
    groups_of,
    require_apart,
    unfinished_removals,
)
from noether.data.zarr_store.manifest import removals as removals_module
from noether.data.zarr_store.manifest.lines import SampleLines
from noether.data.zarr_store.manifest.removals import live_records
from support.manifests import Json, entry, minimal, parse

IDS = ("a", "b", "part/c")


def manifest(*sample_ids: str, **more: object) -> StoreManifest:
    """Return the bytes of a manifest with samples, an index, splits and an unknown key."""
    samples = {sample_id: entry(sample_id) for sample_id in sample_ids or IDS}
    content: Json = {"splits": {"train": ["a", "b"], "test": ["part/c"]}, "chunk_index": "chunk_index-0f.npy"}
    base = parse(minimal() | content | {"unit": "Pa"})
    return again(base.model_copy(update={"samples": samples, **more}))


def again(content: StoreManifest) -> StoreManifest:
    """Return the manifest after a round trip through its bytes."""
    return StoreManifest.parse(content.to_json("m"), "m")


def at(path: str) -> SampleEntry:
    return replace(entry("a"), relpath=path)


def always(_: str) -> bool:
    return True


def never(_: str) -> bool:
    return False


def test_a_removal_begins_with_a_manifest_without_the_samples() -> None:
    begun = again(begin_removal(manifest(), ["a", "part/c"]))
    assert list(begun.samples) == ["b"]
    assert begun.splits == {"train": ["b"], "test": []}
    assert begun.chunk_index is None
    assert begun.removing == {"a.zarr": "a", "part/c.zarr": "part/c"}
    assert begun.model_extra == {"unit": "Pa"}


def test_a_removal_ends_with_a_manifest_without_traces() -> None:
    begun = begin_removal(manifest(), ["a"])
    ended, left = end_removal(begun, {"a.zarr": "a"}, never)
    assert left == {}
    expected = manifest("b", "part/c", splits={"train": ["b"], "test": ["part/c"]}, chunk_index=None)
    assert ended.to_json("m") == expected.to_json("m")


def test_a_manifest_without_removals_has_no_key_for_them() -> None:
    assert b"removing" not in manifest().to_json("m")
    assert b'"removing"' in begin_removal(manifest(), ["a"]).to_json("m")


def test_no_group_has_the_removals_of_its_store() -> None:
    begun = begin_removal(manifest(), ["a"])
    attributes = begun.as_group_attributes("b", begun.sample("b"))
    assert "removing" not in attributes["manifest"]


def test_lines_of_samples_that_stay_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    large = manifest(*(f"run_{number}" for number in range(50)))
    parsed: list[str] = []
    get = SampleLines.__getitem__

    def note(self: SampleLines, sample_id: str) -> SampleEntry:
        parsed.append(sample_id)
        return get(self, sample_id)

    monkeypatch.setattr(SampleLines, "__getitem__", note)
    begun = begin_removal(large, ["run_7"])
    begun.to_json("m")
    end_removal(begun, {"run_7.zarr": "run_7"}, never)[0].to_json("m")
    assert set(parsed) == {"run_7"}


def test_a_sample_that_the_store_lacks_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"1 of 2 samples are not in the store: 'part/d'; nothing .* 'part/c'\?"):
        begin_removal(manifest(), ["a", "part/d"])


def test_a_removal_that_has_begun_can_be_begun_again() -> None:
    begun = begin_removal(manifest(), ["a"])
    assert begin_removal(begun, ["a", "b"]).removing == {"a.zarr": "a", "b.zarr": "b"}
    assert groups_of(begun, ["a"]) == {"a.zarr": "a"}


def test_too_many_samples_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest with more values beside its samples could not be read."""
    monkeypatch.setattr(removals_module, "_MAX_REMOVALS", 2)
    assert len(begin_removal(manifest(), ["a", "b"]).removing) == 2
    with pytest.raises(ArgumentError, match="expected at most 2 samples to remove at once, got 3"):
        begin_removal(manifest(), IDS)


@pytest.mark.parametrize(
    ("path", "other"),
    [
        pytest.param("x.zarr", "x.zarr", id="the same group"),
        pytest.param("part", "part/b.zarr", id="inside of the one removed"),
        pytest.param("b/a.zarr", "b", id="around the one removed"),
    ],
)
@pytest.mark.parametrize("written_by", ["this library", "another program"])
def test_a_group_that_shares_objects_with_one_that_stays_is_refused(path: str, other: str, written_by: str) -> None:
    samples = {"a": at(path), "b": at(other)}
    content = manifest().model_copy(update={"samples": samples})
    if written_by == "another program":
        plain = json.loads(content.to_json("m"))
        content = StoreManifest.parse(json.dumps(plain, indent=3).encode(), "m")
    with pytest.raises(
        ManifestError, match=rf"sample 'a': its group {path} cannot be removed: .* {other}, the group of"
    ):
        begin_removal(again(content), ["a"])


def test_a_mark_on_the_group_of_a_sample_that_stays_is_refused() -> None:
    """A manifest from an untrusted source can claim anything."""
    forged = manifest(removing={"b.zarr": "x"})
    with pytest.raises(ManifestError, match=r"sample 'x': its group b\.zarr cannot be removed"):
        groups_of(forged, ["x"])
    with pytest.raises(ManifestError, match=r"it shares objects with b\.zarr, the group of sample 'b'"):
        require_apart(forged, forged.removing)


@pytest.mark.parametrize("path", ["../a.zarr", "/a.zarr", ".hidden", "", "a\\b"])
@pytest.mark.parametrize("is_path", [True, False], ids=["path", "sample id"])
def test_a_record_that_leaves_the_store_is_refused(path: str, is_path: bool) -> None:
    with pytest.raises(ManifestError, match="removing"):
        parse(minimal() | {"removing": {path: "a"} if is_path else {"a.zarr": path}})


def test_paths_with_escapes_are_found_in_lines() -> None:
    names = ['a"b', "ä", "run 1"]
    found = again(manifest(*names)).samples
    assert isinstance(found, SampleLines)
    assert dict(found.relpaths()) == {name: f"{name}.zarr" for name in names}


def test_unfinished_removals_are_groups_without_a_sample() -> None:
    """An older release keeps the key, which it does not know, when it writes a sample again."""
    content = manifest(removing={"a.zarr": "a", "gone.zarr": "gone"})
    assert unfinished_removals(content) == {"gone.zarr": "gone"}
    assert unfinished_removals(manifest()) == {}


def test_the_error_for_a_removed_sample_names_its_removal() -> None:
    with pytest.raises(UnknownNameError, match="'a' is not in the store; its removal has begun"):
        begin_removal(manifest(), ["a"]).sample("a")


ENTRY = entry("a")
LISTED, MARKED, GONE = manifest(), begin_removal(manifest(), ["a"]), manifest("b", "part/c")
SEEN = SeenManifest.of
Case = tuple[StoreManifest, SeenManifest, Callable[[str], bool], bool]

RECORDS: dict[str, Case] = {
    "a new sample": (GONE, SEEN(GONE), never, True),
    "a new sample of a new store": (GONE, SeenManifest(), never, True),
    "a sample that is listed": (LISTED, SEEN(LISTED), never, True),
    # It was written before or during the removal, so its group is removed.
    "one whose removal goes on": (MARKED, SEEN(LISTED), always, False),
    "one that was removed": (GONE, SEEN(LISTED), never, False),
    "one that was removed and written again": (GONE, SEEN(LISTED), always, True),
    # The writer was opened after the removal had begun.
    "one that was written after an interrupted removal": (MARKED, SEEN(MARKED), always, True),
    "one whose removal went on after it was written": (MARKED, SEEN(MARKED), never, False),
    "one whose removal ended after it was written": (GONE, SEEN(MARKED), never, False),
    "one that was written while a removal ended": (GONE, SEEN(MARKED), always, True),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_kept_unless_its_sample_was_removed_since(name: str) -> None:
    there, seen, has_root, is_kept = RECORDS[name]
    assert live_records(there, {"a": ENTRY}, seen, has_root) == ({"a": ENTRY} if is_kept else {})


def test_a_recorded_group_is_no_longer_being_removed() -> None:
    merged = MARKED.merged_with(LISTED, "m")
    assert (merged.removing, list(merged.samples)) == ({}, list(IDS))
    elsewhere = manifest("a").model_copy(update={"samples": {"a": at("elsewhere")}})
    assert MARKED.merged_with(elsewhere, "m").removing == {"a.zarr": "a"}


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Return a store that is removing its sample `a`, whose group exists."""
    (tmp_path / "manifest.json").write_bytes(MARKED.to_json("m"))
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_bytes(b"{}")
    return str(tmp_path)


@pytest.mark.parametrize(("seen", "kept"), [(SEEN(MARKED), ["a"]), (SEEN(LISTED), [])], ids=["after", "before"])
def test_saving_checks_the_group_of_a_sample_in_removal(root: str, seen: SeenManifest, kept: list[str]) -> None:
    mine = GONE.model_copy(update={"samples": {"a": ENTRY, "z": entry("z")}})
    mine.save(root, seen=seen)
    assert list(mine.samples) == list(StoreManifest.load(root).samples) == [*kept, "b", "part/c", "z"]
    assert mine.removing == StoreManifest.load(root).removing == ({} if kept else {"a.zarr": "a"})


def test_saving_without_a_group_adds_no_sample_in_removal(root: str) -> None:
    Path(root, "a.zarr", "zarr.json").unlink()
    GONE.model_copy(update={"samples": {"a": ENTRY}}).save(root)
    assert "a" not in StoreManifest.load(root).samples


def test_saving_in_a_new_place_records_no_removal(tmp_path: Path) -> None:
    MARKED.model_copy().save(str(tmp_path / "new"))
    assert StoreManifest.load(str(tmp_path / "new")).removing == {}


def test_a_group_that_was_written_again_is_returned() -> None:
    ended, left = end_removal(MARKED, {"a.zarr": "a"}, always)
    assert left == ended.removing == {"a.zarr": "a"}


@pytest.mark.parametrize(("has_root", "listed"), [(always, list(IDS)), (never, ["b", "part/c"])], ids=["there", "gone"])
def test_a_sample_that_was_listed_again_stays_if_its_group_exists(has_root: Any, listed: list[str]) -> None:
    ended, left = end_removal(LISTED, {"a.zarr": "a"}, has_root)
    assert (list(ended.samples), left, ended.removing) == (listed, {}, {})
    assert (ended.chunk_index is None) == (has_root is never)
