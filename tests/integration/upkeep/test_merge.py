"""Merging groups into the manifest, after a lost manifest or conversions that did not save it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep.merge import merge_groups
from support.ahmed import load_run
from support.places import Place, make_place
from support.trees import TREE_FILEMAP, call, identities, save_runs, visible_files

IDS = ["part/run_1", "run_2", "run_3"]


def open_writer(root: Path | str, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", **{"chunk_points": 64, **settings})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("merge")
    convert(TreeSource(save_runs(root / "tree", IDS), TREE_FILEMAP), open_writer(root / "store"))
    return root / "store"


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


def forget(store: Path, *sample_ids: str) -> None:
    """Remove samples from the manifest, but keep their groups."""
    manifest = json.loads((store / "manifest.json").read_bytes())
    for sample_id in sample_ids:
        del manifest["samples"][sample_id]
    manifest["sample_index"] = None
    (store / "manifest.json").write_text(json.dumps(manifest))
    for index in store.glob("sample_index-*"):
        index.unlink()


def forget_all(store: Path) -> None:
    (store / "manifest.json").unlink()
    for index in store.glob("sample_index-*"):
        index.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lose", "added"),
    [(forget_all, IDS), (lambda store: forget(store, "run_3"), ["run_3"]), (lambda store: forget(store), [])],
    ids=["the manifest", "a sample of the manifest", "the chunk index"],
)
def test_a_lost_manifest_is_rebuilt_to_the_same_bytes(
    store: Path, original: Path, lose: Callable[[Path], None], added: list[str]
) -> None:
    """No group is changed."""
    lose(store)
    groups = identities(store, "*.zarr/**/*")
    report = merge_groups(store)
    assert (report.added, report.updated, report.missing, report.refused) == (added, [], [], {})
    assert sorted(report.added + report.unchanged) == IDS
    assert visible_files(store) == visible_files(original)
    assert identities(store, "*.zarr/**/*") == groups


def test_an_intact_store_stays_unchanged(store: Path) -> None:
    before = identities(store)
    assert merge_groups(store).unchanged == IDS
    assert identities(store) == before


@pytest.mark.parametrize("kind", [pytest.param("s3-obstore", marks=pytest.mark.s3), "memory"])
def test_groups_in_every_kind_of_storage_are_merged(kind: str, request: pytest.FixtureRequest) -> None:
    place: Place = make_place(kind, request)
    writer = open_writer(str(place.root), storage_options=place.options)
    for run in ("run_1", "run_2"):
        writer.write_group(run, load_run(run))
    assert merge_groups(place.root, storage_options=place.options).added == ["run_1", "run_2"]
    manifest = StoreManifest.load(str(place.root), storage_options=place.options)
    assert manifest.index_name in place.files()


def test_a_replaced_group_updates_its_entry(store: Path) -> None:
    open_writer(store, chunk_points=32).write_group("run_2", load_run("run_2"))
    assert merge_groups(store).updated == ["run_2"]
    assert StoreManifest.load(str(store)).sample("run_2").domains["surface"].chunk_points == 32


def test_splits_stay_unchanged(store: Path) -> None:
    manifest = StoreManifest.load(str(store))
    manifest.splits = {"train": ["run_2"]}
    manifest.save(str(store))
    forget(store, "run_3")
    merge_groups(store)
    assert StoreManifest.load(str(store)).splits == {"train": ["run_2"]}


def test_samples_without_a_group_are_reported_and_stay_listed(store: Path) -> None:
    shutil.rmtree(store / "run_2.zarr")
    (store / "run_3.zarr" / "zarr.json").unlink()
    assert merge_groups(store).missing == ["run_2", "run_3"]
    assert list(StoreManifest.load(str(store)).samples) == IDS


def other_settings(store: Path) -> str:
    ZarrStoreWriter(store.with_name("other"), TREE_FILEMAP, "ahmed", shuffle_seed=7).write_group("x", load_run("run_1"))
    shutil.move(store.with_name("other") / "x.zarr", store)
    return "shuffle_seed: the store has 0, this writer 7"


def written_by_others(store: Path) -> str:
    zarr.open_group(store / "x.zarr", mode="w")
    return "not a group of this library"


def moved(store: Path) -> str:
    shutil.copytree(store / "run_2.zarr", store / "x.zarr")
    return "expected a group that was written here, got the group run_2.zarr; move it back to its path"


def truncated(store: Path) -> str:
    (store / "x.zarr").mkdir()
    (store / "x.zarr" / "zarr.json").write_bytes((store / "run_2.zarr" / "zarr.json").read_bytes()[:-9])
    return "not a group of this library"


@pytest.mark.parametrize("add", [other_settings, written_by_others, moved, truncated])
def test_a_group_of_another_store_is_refused(store: Path, add: Callable[[Path], str]) -> None:
    """The other groups are merged."""
    reason = add(store)
    forget(store, "run_2")
    report = merge_groups(store)
    assert (report.added, list(report.refused)) == (["run_2"], ["x.zarr"])
    assert reason in report.refused["x.zarr"]
    assert list(StoreManifest.load(str(store)).samples) == IDS


def test_nested_and_staged_groups_are_ignored(store: Path) -> None:
    for place in ("run_2.zarr/copy.zarr", ".run_9.zarr.1-2"):
        shutil.copytree(store / "run_3.zarr", store / place)
    report = merge_groups(store)
    assert (report.unchanged, report.refused) == (IDS, {})


def test_an_empty_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected a manifest or a complete group, got neither; check the path"):
        merge_groups(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_command_prints_its_result(store: Path) -> None:
    shutil.rmtree(store / "run_2.zarr")
    forget(store, "run_3")
    ran = call("merge", store)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "1 added, 0 updated, 1 unchanged",
        "note: 1 sample of the manifest without a group: run_2; convert them again",
    ]


def test_the_command_names_refused_groups_and_exits_with_3(store: Path) -> None:
    written_by_others(store)
    ran = call("merge", store)
    assert ran.code == 3
    assert ran.stderr.startswith(f"refused: {store}/x.zarr: not a group of this library")


def test_the_command_exits_with_1_without_a_store(tmp_path: Path) -> None:
    ran = call("merge", tmp_path)
    assert (ran.code, ran.stdout) == (1, "")
    assert "expected a manifest or a complete group, got neither" in ran.stderr
