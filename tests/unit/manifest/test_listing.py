"""The listing of objects by group, and the manifest that is built from groups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.manifest.listing import (
    OwnManifest,
    directories_of,
    is_own_key,
    list_store,
    shards_by_array,
    united,
)
from noether.data.zarr_store.stores import StoredObject
from noether.data.zarr_store.writing.group_encoding import root_document
from support.manifests import entry, minimal, parse

SETTINGS = parse(minimal() | {"samples": {}, "shuffle_algorithm": "mt19937-v1", "checksum": True})


def own(sample_id: str, settings: StoreManifest = SETTINGS, **more: Any) -> OwnManifest:
    document = root_document(settings.as_group_attributes(sample_id, entry(sample_id, **more)), {})
    return OwnManifest.of_root(document, f"{sample_id}.zarr", "zarr.json")


def listed(*sample_ids: str, **more: Any) -> StoreManifest:
    samples = {sample_id: entry(sample_id) for sample_id in sample_ids}
    return SETTINGS.model_copy(update={"samples": samples, **more})


def test_objects_are_listed_by_group() -> None:
    keys = ["manifest.json", "a.zarr/zarr.json", "part/b.zarr/x/zarr.json", "part/b.zarr/in.zarr/zarr.json", "c/d"]
    listing = list_store([StoredObject(key, len(key), "") for key in keys])
    assert listing.others == {"manifest.json": 13, "c/d": 3}
    assert listing.groups == {"a.zarr": {"zarr.json": 16}, "part/b.zarr": {"x/zarr.json": 23, "in.zarr/zarr.json": 29}}
    assert (listing.n_objects, listing.complete) == (5, ["a.zarr"])


def test_directories_are_all_parents_of_objects() -> None:
    assert directories_of(["zarr.json", "a/b/c/0/0", "a/b/c/1/0", "d/zarr.json"]) == {
        *("a", "a/b", "a/b/c", "a/b/c/0", "a/b/c/1", "d")
    }


def test_a_group_in_the_manifest_can_have_any_name() -> None:
    keys = ["data/zarr.json", "data/run_1/zarr.json", "data/run_1/x.zarr/0"]
    listing = list_store([StoredObject(key, 1, "") for key in keys], {"data/run_1"})
    assert listing.groups == {"data/run_1": {"zarr.json": 1, "x.zarr/0": 1}}
    assert listing.others == {"data/zarr.json": 1}


@pytest.mark.parametrize("key", [".x", "a.zarr/.zarr.json.1", "part/.a.zarr.1-0/zarr.json"])
def test_hidden_objects_are_left_out(key: str) -> None:
    assert list_store([StoredObject(key, 1, "")]).n_objects == 0


@pytest.mark.parametrize(
    ("key", "is_own"),
    [
        ("zarr.json", True),
        ("surface/zarr.json", True),
        ("surface/pressure/zarr.json", True),
        ("surface/pressure/c/12/0", True),
        ("volume/zarr.json", False),
        ("surface/velocity/zarr.json", False),
        ("surface/pressure/c/012/0", False),
        ("surface/pressure/c/1/1", False),
        ("surface/pressure/c/1", False),
        ("surface/pressure/c/1/0/0", False),
        ("notes.txt", False),
        ("surface/notes.txt", False),
    ],
)
def test_own_keys_are_the_keys_of_the_writer(key: str, is_own: bool) -> None:
    assert is_own_key(key, SETTINGS.domains) == is_own


def test_shards_are_found_by_array_and_number() -> None:
    sizes = {"a/b/c/0/0": 5, "a/b/c/10/0": 6, "a/b/zarr.json": 1, "a/b/c/x/0": 1, "a/d/c/1/0": 7}
    assert shards_by_array(sizes) == {"a/b": {0: 5, 10: 6}, "a/d": {1: 7}}


def test_a_group_at_another_path_than_its_own_is_refused() -> None:
    document = root_document(SETTINGS.as_group_attributes("run_1", entry("run_1")), {})
    with pytest.raises(
        ManifestError,
        match=r"^run_2.zarr: expected a group that was written here, got the group run_1.zarr; move it back",
    ):
        OwnManifest.of_root(document, "run_2.zarr", "zarr.json")


def test_groups_and_a_trusted_manifest_unite_their_samples() -> None:
    current = listed("run_1", "run_2", splits={"train": ["run_1"]})
    made = united(current, [own("run_2", attributes={"a": 1}), own("run_3")], ["run_1.zarr"], trusted=True)
    assert made is not None
    assert list(made.samples) == ["run_1", "run_2", "run_3"]
    assert made.sample("run_2").attributes == {"a": 1}
    assert made.splits == {"train": ["run_1"]}


def test_an_untrusted_manifest_keeps_only_incomplete_samples() -> None:
    """An incomplete sample has no complete group."""
    current = listed("run_1", "run_2", "run_3", splits={"train": ["run_1"]})
    current = current.model_copy(update={"dataset_name": "forged"})
    complete = ["run_1.zarr", "run_2.zarr"]
    made = united(current, [own("run_1")], complete, trusted=False)
    assert made is not None
    # The root of run_2 is damaged as well, so its right entry is unknown.
    assert list(made.samples) == ["run_1", "run_3"]
    assert (made.dataset_name, made.splits) == (SETTINGS.dataset_name, {"train": ["run_1"]})


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "damaged"])
def test_only_a_trusted_manifest_keeps_its_removals(trusted: bool) -> None:
    """A flipped bit can have changed the path. A complete group proves that it was not removed."""
    current = listed("run_1", removing={"run_2.zarr": "run_2"})
    made = united(current, [own("run_1"), own("run_2")], ["run_1.zarr", "run_2.zarr"], trusted=trusted)
    assert made is not None
    assert list(made.samples) == (["run_1"] if trusted else ["run_1", "run_2"])
    assert made.removing == ({"run_2.zarr": "run_2"} if trusted else {})


def test_without_a_manifest_the_most_common_settings_win() -> None:
    other = SETTINGS.model_copy(update={"shuffle_seed": 9})
    made = united(None, [own("run_1"), own("run_2", other), own("run_3")], [], trusted=False)
    assert made is not None
    assert (made.shuffle_seed, list(made.samples)) == (SETTINGS.shuffle_seed, ["run_1", "run_3"])


def test_without_groups_and_manifest_the_result_is_none() -> None:
    assert united(None, [], [], trusted=False) is None


def test_unknown_keys_are_kept() -> None:
    current = parse(json.loads(json.dumps(minimal())) | {"samples": {}, "units": {"p": "Pa"}})
    made = united(current, [own("run_1")], [], trusted=False)
    assert made is not None
    assert made.model_extra == {"units": {"p": "Pa"}}
