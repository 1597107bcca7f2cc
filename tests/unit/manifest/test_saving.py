"""Saving a manifest: merged entries, unparsed copies, and concurrent saves."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import StoreManifest, store_manifest
from support.manifests import Json, entry, minimal, parse

CHANGES: dict[str, Json] = {
    "a sample that is added": {"run_2": entry("run_2")},
    "a sample that is changed": {"run_1": entry("run_1", attributes={"angle": 25.0})},
    "one that is there and one that is added": {"run_1": entry("run_1"), "run_2": entry("run_2")},
}


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Return a store of one sample, with a chunk index and splits."""
    content = minimal() | {
        "chunk_index": "chunk_index-0f.npy",
        "splits": {"train": ["run_1"], "test": []},
        "unit": "Pa",
    }
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return str(tmp_path)


def of_samples(samples: Json, **more: object) -> StoreManifest:
    return parse(minimal()).model_copy(update={"samples": samples, **more})


def content_of(root: str) -> Json:
    content: Json = json.loads(Path(root, "manifest.json").read_bytes())
    return content


def test_each_sample_has_a_line_of_its_own_in_plain_json_sorted_by_id(tmp_path: Path) -> None:
    of_samples({name: entry(name, attributes={"note": "a\nb"}) for name in ("b", "ä", "a/b")}).save(str(tmp_path))
    lines = (tmp_path / "manifest.json").read_text("utf-8").splitlines()
    first = lines.index('  "samples": {') + 1
    assert [line.split(":")[0].strip() for line in lines[first:]] == ['"a/b"', '"b"', '"ä"', "}", "}"]
    assert list(content_of(str(tmp_path))["samples"]) == ["a/b", "b", "ä"]


def test_the_saved_file_does_not_depend_on_the_order_of_samples(tmp_path: Path) -> None:
    files = set()
    for number, order in enumerate(itertools.permutations(["run_2", "run_10", "part/run_1"])):
        root = str(tmp_path / str(number))
        for sample_id in order:
            of_samples({sample_id: entry(sample_id)}).save(root)
        files.add(Path(root, "manifest.json").read_bytes())
        of_samples({sample_id: entry(sample_id) for sample_id in order}).save(root + "-at-once")
        files.add(Path(root + "-at-once", "manifest.json").read_bytes())
    assert len(files) == 1
    assert list(json.loads(files.pop())["samples"]) == ["part/run_1", "run_10", "run_2"]


def test_a_manifest_without_samples_is_saved_and_read(tmp_path: Path) -> None:
    of_samples({}).save(str(tmp_path))
    assert StoreManifest.load(str(tmp_path)) == of_samples({})


def test_unchanged_samples_are_copied_unparsed_with_all_their_keys(tmp_path: Path) -> None:
    of_samples({"a": entry("a"), "b": entry("b")}).save(str(tmp_path))
    file = tmp_path / "manifest.json"
    strange = file.read_text().replace('{"relpath":"a.zarr"', '{ "mesh": {"cells": 7}, "relpath":7')
    file.write_text(strange)
    of_samples({"c": entry("c")}).save(str(tmp_path))
    kept = [line for line in strange.splitlines() if '"mesh"' in line]
    assert [line for line in file.read_text().splitlines() if line in kept] == kept != []
    assert StoreManifest.load(str(tmp_path)).sample("c") == entry("c")


def test_after_saving_a_manifest_matches_the_file(root: str) -> None:
    mine = of_samples({"run_2": entry("run_2")}, splits={"test": ["run_2"]}, chunk_index="chunk_index-1e.npy")
    mine.save(root)
    there = StoreManifest.load(root)
    assert (mine.samples, mine.splits, mine.chunk_index) == (there.samples, there.splits, there.chunk_index)
    assert list(mine.samples) == ["run_1", "run_2"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_saved_entry_replaces_the_entry_in_the_file(root: str, change: str) -> None:
    of_samples(CHANGES[change]).save(root)
    assert StoreManifest.load(root).samples == {"run_1": entry("run_1")} | CHANGES[change]


@pytest.mark.parametrize("change", CHANGES)
def test_saving_a_sample_drops_the_name_of_the_chunk_index(root: str, change: str) -> None:
    of_samples(CHANGES[change]).save(root)
    assert content_of(root)["chunk_index"] is None


def test_saving_no_sample_keeps_the_name_of_the_chunk_index(root: str) -> None:
    of_samples({}).save(root)
    assert content_of(root)["chunk_index"] == "chunk_index-0f.npy"


def test_a_chunk_index_that_is_no_longer_named_is_deleted(root: str) -> None:
    file = Path(root, "chunk_index-0f.npy")
    file.write_bytes(b"lengths")
    of_samples({}).save(root)
    assert file.exists()
    # A sample that is written again can have other bytes with an equal entry.
    of_samples({"run_1": entry("run_1")}).save(root)
    assert content_of(root)["chunk_index"] is None
    assert not file.exists()


def test_a_chunk_index_of_another_store_is_not_named_in_a_new_one(root: str, tmp_path: Path) -> None:
    StoreManifest.load(root).save(str(tmp_path / "new"))
    assert content_of(str(tmp_path / "new"))["chunk_index"] is None


def test_saving_keeps_the_other_splits_of_the_store(root: str) -> None:
    of_samples({}, splits={"test": ["run_1"], "validation": []}).save(root)
    assert content_of(root)["splits"] == {"train": ["run_1"], "test": ["run_1"], "validation": []}


def test_saving_keeps_unknown_keys(root: str) -> None:
    of_samples({"run_2": entry("run_2")}).save(root)
    assert content_of(root)["unit"] == "Pa"


def test_an_update_replaces_the_manifest_by_the_result_of_change(root: str) -> None:
    before = content_of(root)
    StoreManifest.update(
        root, lambda there: there.model_copy(update={"chunk_index": "chunk_index-2d.npy", "splits": {"a": []}})
    )
    after = content_of(root)
    changed = {"chunk_index": "chunk_index-2d.npy", "splits": {"a": []}}
    assert {key: after[key] for key in before if key != "samples"} == {
        key: value for key, value in (before | changed).items() if key != "samples"
    }
    assert StoreManifest.load(root).samples == {"run_1": entry("run_1")}


def test_an_update_may_remove_samples_and_leaves_the_others_in_their_order(tmp_path: Path) -> None:
    content = minimal() | {"samples": {}}
    for sample_id in "cab":
        content["samples"][sample_id] = {"relpath": sample_id, "domains": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(content))

    def without_a(there: StoreManifest) -> StoreManifest:
        del there.samples["a"]
        return there

    StoreManifest.update(str(tmp_path), without_a)
    assert list(content_of(str(tmp_path))["samples"]) == ["c", "b"]


def test_an_update_that_changes_nothing_leaves_the_bytes_that_the_library_wrote(root: str) -> None:
    of_samples({"run_2": entry("run_2")}).save(root)
    before = Path(root, "manifest.json").read_bytes()
    StoreManifest.update(root, lambda there: there)
    assert Path(root, "manifest.json").read_bytes() == before


def test_a_failed_update_leaves_the_manifest_unchanged(root: str) -> None:
    before = Path(root, "manifest.json").read_bytes()

    def fail(_: StoreManifest) -> StoreManifest:
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"):
        StoreManifest.update(root, fail)
    assert Path(root, "manifest.json").read_bytes() == before


def test_an_update_to_an_invalid_manifest_is_refused(root: str) -> None:
    before = Path(root, "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="splits"):
        StoreManifest.update(root, lambda there: there.model_copy(update={"splits": 7}))
    assert Path(root, "manifest.json").read_bytes() == before


def test_an_update_without_a_store_is_refused_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json: not found, so .* is no store; check the path"):
        StoreManifest.update(str(tmp_path / "store"), lambda there: there)
    assert list(tmp_path.iterdir()) == []


class ContestedStorage:
    """Object storage in which another writer comes first once, so that `change` is called twice."""

    def __init__(self, *versions: StoreManifest) -> None:
        self._versions = [json.dumps(json.loads(version.model_dump_json())).encode() for version in versions]
        self.written = b""

    def read_if_there(self, _: str) -> bytes:
        return self._versions[0]

    def update(self, _: str, change: Callable[[bytes | None], bytes]) -> None:
        for version in self._versions:
            self.written = change(version)


def test_a_save_by_another_writer_during_a_save_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = entry("run_1", attributes={"angle": 25.0})
    storage = ContestedStorage(of_samples({"run_1": entry("run_1")}), of_samples({"run_1": newer}, splits={"a": []}))
    monkeypatch.setattr(store_manifest, "open_storage", lambda *_: storage)
    mine = of_samples({"run_2": entry("run_2")})
    mine.save("s3://bucket/store")
    saved = StoreManifest.parse(storage.written, "m")
    assert saved.samples == mine.samples == {"run_1": newer, "run_2": entry("run_2")}
    assert saved.splits == mine.splits == {"a": []}


def test_an_update_is_repeated_after_a_save_by_another_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = ContestedStorage(of_samples({"a": entry("a")}), of_samples({"b": entry("b")}))
    monkeypatch.setattr(store_manifest, "open_storage", lambda *_: storage)
    StoreManifest.update(
        "s3://bucket/store", lambda there: there.model_copy(update={"splits": {"all": list(there.samples)}})
    )
    saved = StoreManifest.parse(storage.written, "m")
    assert (saved.samples, saved.splits) == ({"b": entry("b")}, {"all": ["b"]})
