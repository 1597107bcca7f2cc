"""The manifest and its chunk index are replaced together, or the index is rebuilt."""

from __future__ import annotations

from pathlib import Path

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.manifest import begin_removal
from noether.data.zarr_store.reading import update_with_index, write_chunk_index, write_index_without
from noether.data.zarr_store.stores import open_storage
from support.trees import TREE_FILEMAP, expected_fields


def add(root: Path, *sample_ids: str) -> None:
    writer = ZarrStoreWriter(root, TREE_FILEMAP, "tiny")
    for sample_id in sample_ids:
        writer.write_sample(sample_id, expected_fields(sample_id))
    writer.save_manifest()
    write_chunk_index(root)


def remove_run_2(root: Path, seen: StoreManifest, made: tuple[str, dict[str, str]] | None) -> bool:
    return update_with_index(open_storage(root), seen, made, seen, lambda current: begin_removal(current, ["run_2"]))


def test_an_index_of_the_new_manifest_is_named_with_it(tmp_path: Path) -> None:
    add(tmp_path, "run_1", "run_2")
    seen = StoreManifest.load(str(tmp_path))
    made = write_index_without(open_storage(tmp_path), seen, frozenset(["run_2"]))
    assert made is not None
    assert not remove_run_2(tmp_path, seen, made)
    assert StoreManifest.load(str(tmp_path)).index_name == made[0]
    assert [path.name for path in tmp_path.glob("*index-*")] == [made[0]]


def test_an_index_is_not_named_if_another_process_changed_the_manifest(tmp_path: Path) -> None:
    add(tmp_path, "run_1", "run_2")
    seen = StoreManifest.load(str(tmp_path))
    made = write_index_without(open_storage(tmp_path), seen, frozenset(["run_2"]))
    add(tmp_path, "run_3")
    assert remove_run_2(tmp_path, seen, made)
    assert StoreManifest.load(str(tmp_path)).index_names == []
    assert list(tmp_path.glob("*index-*")) == []
