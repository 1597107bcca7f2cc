"""The manifest is saved before the first sample, so that a store that cannot be written fails at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionReport, convert, turns
from noether.data.zarr_store.errors import ManifestConflictError, StorageError
from noether.data.zarr_store.manifest import save_splits
from noether.data.zarr_store.sources import SourceSample, TreeSource
from noether.data.zarr_store.stores import Storage, is_remote, open_storage
from support.places import PLACES, Place, local_place, make_place
from support.trees import TREE_FILEMAP, call, expected_fields, identities, save_array, save_runs

PRESET = ("--preset", "ahmedml", "--workers", "0")


class WatchingSource(TreeSource):
    """Records the files of a store at each load of a sample."""

    def __init__(self, tree: Path, place: Place) -> None:
        super().__init__(tree, TREE_FILEMAP)
        self._place = place
        self.seen: list[dict[str, bytes]] = []

    def load(self, sample_id: str) -> SourceSample:
        self.seen.append(self._place.files())
        return super().load(sample_id)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def open_writer(place: Place, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(place.root, TREE_FILEMAP, "ahmed", storage_options=place.options, **settings)


def run(source: WatchingSource, place: Place, **settings: Any) -> ConversionReport:
    return convert(source, open_writer(place), **settings)


def test_a_new_store_has_a_manifest_before_its_first_sample(tree: Path, place: Place) -> None:
    source = WatchingSource(tree, place)
    run(source, place)
    assert list(source.seen[0]) == ["manifest.json"]
    manifest = StoreManifest.parse(source.seen[0]["manifest.json"], "manifest.json")
    assert (manifest.samples, manifest.dataset_name, manifest.shuffle_seed) == ({}, "ahmed", 0)


def test_an_existing_store_keeps_the_bytes_of_its_manifest(tree: Path, place: Place) -> None:
    """The manifest has splits and unknown keys."""
    run(WatchingSource(tree, place), place, limit=1)
    save_splits(place.root, {"train": ["run_1"]}, storage_options=place.options)
    edited = place.files()["manifest.json"].replace(b'"checksum": true', b'"unit": "Pa",    "checksum": true')
    place.replace("manifest.json", edited)
    source = WatchingSource(tree, place)
    run(source, place)
    assert [files["manifest.json"] for files in source.seen] == [edited]
    assert StoreManifest.load(str(place.root), storage_options=place.options).splits == {"train": ["run_1"]}


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_a_new_store_that_cannot_be_written_leaves_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = local_place(tmp_path / "stores" / "store")
    source = WatchingSource(tree, place)
    fill_disk(monkeypatch)
    with pytest.raises(StorageError, match=r"cannot write .*(stores|manifest\.json): No space left on device"):
        run(source, place)
    assert source.seen == []
    assert sorted(tmp_path.iterdir()) == [tree]


def test_a_store_that_cannot_be_written_stays_unchanged(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = local_place(tmp_path / "store")
    run(WatchingSource(tree, place), place, limit=1)
    before = identities(tmp_path)
    source = WatchingSource(tree, place)
    fill_disk(monkeypatch)
    with pytest.raises(StorageError, match=r"cannot write .*manifest\.json: No space left on device"):
        run(source, place)
    assert source.seen == []
    assert identities(tmp_path) == before


def test_a_store_that_another_writer_created_is_refused(tree: Path, place: Place) -> None:
    source, writer = WatchingSource(tree, place), open_writer(place)
    open_writer(place, shuffle_seed=1).save_manifest()
    before = place.files()
    with pytest.raises(ManifestConflictError, match="shuffle_seed: the store has 1, this writer 0"):
        convert(source, writer)
    assert source.seen == []
    assert place.files() == before


def test_an_empty_manifest_is_removed(tree: Path, place: Place) -> None:
    """The manifest would fix the settings of a store without samples."""
    for sample_id in ("run_1", "run_2"):
        (tree / sample_id / "surface_pressure.npy").write_bytes(b"broken")
    assert len(run(WatchingSource(tree, place), place).having("failed")) == 2
    assert [key for key in place.files() if not key.endswith(".lock")] == ["conversion.json"]


def test_an_existing_empty_manifest_stays(tree: Path, place: Place) -> None:
    """Only a manifest that this conversion created is removed."""
    open_writer(place).save_manifest()
    before = place.files()
    for sample_id in ("run_1", "run_2"):
        (tree / sample_id / "surface_pressure.npy").write_bytes(b"broken")
    run(WatchingSource(tree, place), place)
    assert place.files()["manifest.json"] == before["manifest.json"]


def test_the_dtype_can_change_after_a_failed_first_conversion(tree: Path, tmp_path: Path) -> None:
    for sample_id in ("run_1", "run_2"):
        save_array(tree / sample_id / "surface_pressure.npy", np.full_like(expected_fields()["surface_pressure"], 1e6))
    assert call("convert", tree, tmp_path / "store", *PRESET).code == 1
    assert call("convert", tree, tmp_path / "store", *PRESET, "--values-dtype", "float32").code == 0


@pytest.mark.slow
def test_a_dry_run_saves_nothing(tree: Path, tmp_path: Path) -> None:
    assert call("convert", tree, tmp_path / "store", *PRESET, "--dry-run").code == 0
    assert not (tmp_path / "store").exists()


def test_a_conversion_without_samples_saves_nothing(tree: Path, tmp_path: Path) -> None:
    place = local_place(tmp_path / "store")
    run(WatchingSource(tree, place), place)
    (tmp_path / "store" / "manifest.json").unlink()
    before = identities(tmp_path)
    assert run(WatchingSource(tree, place), place, mode="retry-failed").results == []
    assert identities(tmp_path) == before


def test_a_large_manifest_in_object_storage_is_not_written_first(
    tree: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small object is written instead, and removed again."""
    run(WatchingSource(tree, place), place, limit=1)
    monkeypatch.setattr(turns, "_MANY_SAMPLES", 1)
    written: list[str] = []
    storage = type(open_storage(place.root, place.options))
    update = storage.update

    def watched(self: Storage, key: str, change: Callable[[bytes | None], bytes]) -> None:
        written.append(key)
        update(self, key, change)

    monkeypatch.setattr(storage, "update", watched)
    before = place.files()
    source = WatchingSource(tree, place)
    run(source, place)
    before_the_manifest = ["noether-zarr.probe", "noether-zarr.turn"] if is_remote(place.root) else []
    assert written[: written.index("manifest.json")] == before_the_manifest
    assert source.seen == [before]
    assert "noether-zarr.probe" not in place.files()


def test_a_large_store_that_cannot_be_written_fails_first(
    tree: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place("memory", request)
    run(WatchingSource(tree, place), place, limit=1)
    monkeypatch.setattr(turns, "_MANY_SAMPLES", 1)
    before = place.files()
    full = replace(place, root=str(place.root).replace("memory", "smallmemory"), options={"budget": 0})
    source = WatchingSource(tree, place)
    with pytest.raises(StorageError, match=r"cannot write .*noether-zarr\.probe: .*No space left on device"):
        run(source, full)
    assert source.seen == []
    assert {key: data for key, data in place.files().items() if data} == before
