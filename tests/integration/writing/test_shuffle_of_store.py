"""The shuffle is a setting of the store: samples that are added to an old store have the shuffle of that store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import ManifestConflictError
from noether.data.zarr_store.sampling.shuffle import permutation
from noether.data.zarr_store.sources import TreeSource, mapped_files
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.archive import FILEMAP, SETTINGS, STORE_ARRAY_PATHS, source_fields
from support.out_of_core import shrink
from support.places import local_place
from support.trees import assert_same_arrays

NEW = "run_9"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store whose shuffle is ``mt19937-v1``."""
    return Path(shutil.copytree(STORE_ARRAY_PATHS, tmp_path / "store"))


def test_a_new_store_is_shuffled_by_hashes(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "ahmed", **SETTINGS)
    writer.write_sample(NEW, source_fields("run_2"))
    writer.save_manifest()
    assert StoreManifest.load(str(tmp_path)).shuffle_algorithm == "hash-v1"


def test_a_sample_that_is_added_has_the_shuffle_of_the_store(root: Path) -> None:
    fields = source_fields("part/run_1")
    writer = ZarrStoreWriter(root, FILEMAP, "ahmed", **SETTINGS)
    copied: Any = ZarrStoreWriter(**writer.to_init_kwargs())  # type: ignore[arg-type]
    copied.write_sample(NEW, fields)
    copied.save_manifest()
    reader = ZarrChunkReader(root)
    assert reader.manifest.shuffle_algorithm == "mt19937-v1"
    order = permutation(2600, algorithm="mt19937-v1", shuffle_seed=7, sample_id=NEW, domain="volume")
    np.testing.assert_array_equal(reader.permutation(NEW, "volume"), order)
    stored = reader.read_arrays(NEW, dtype=None)["volume_position"]
    np.testing.assert_array_equal(stored, fields["volume_position"][order])
    restored = reader.read_arrays(NEW, order="original", dtype=None)
    assert_same_arrays(restored, {name: values.astype(restored[name].dtype) for name, values in fields.items()})


def test_data_that_do_not_fit_in_memory_have_the_shuffle_of_the_store_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = source_fields("part/run_1")
    ZarrStoreWriter(root, FILEMAP, "ahmed", **SETTINGS).write_group("in_memory/run_9", fields)
    mapped = {}
    for name, values in fields.items():
        np.save(tmp_path / f"{name}.npy", values)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    other = Path(shutil.copytree(STORE_ARRAY_PATHS, tmp_path / "other"))
    shrink(monkeypatch, 1 << 12, block_bytes=1 << 11, block_rows=300)
    ZarrStoreWriter(other, FILEMAP, "ahmed", **SETTINGS).write_group("in_memory/run_9", mapped)
    expected, found = (local_place(store / "in_memory").files() for store in (root, other))
    assert found == expected


@pytest.mark.parametrize("fits_in_memory", [True, False])
def test_a_store_of_either_shuffle_is_verified_and_repaired_from_its_source(
    fits_in_memory: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fits_in_memory:
        shrink(monkeypatch, 1 << 12, block_bytes=1 << 11, block_rows=300)
        monkeypatch.setattr(mapped_files, "_MAP_BYTES", 1)
    for name, values in source_fields("run_2").items():
        (tmp_path / "tree/run_2").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "tree/run_2" / getattr(FILEMAP, name), values)
    source = TreeSource(tmp_path / "tree", FILEMAP)
    made = tmp_path / "made"
    convert(source, ZarrStoreWriter(made, FILEMAP, "ahmed", **SETTINGS))
    for store in (root, made):
        expected = ZarrChunkReader(store).read_arrays("run_2", dtype=None)
        assert verify_store(store, level="source", source=source, sample_ids=["run_2"]).findings == ()
        shard = store / "run_2.zarr/surface/pressure/c/0/0"
        shard.write_bytes(shard.read_bytes()[:-5])
        repair_store(store, source=source)
        assert_same_arrays(ZarrChunkReader(store).read_arrays("run_2", dtype=None), expected)
        assert verify_store(store, level="source", source=source, sample_ids=["run_2"]).findings == ()


def test_a_store_of_an_unknown_shuffle_is_not_added_to(root: Path) -> None:
    StoreManifest.update(str(root), lambda there: there.model_copy(update={"shuffle_algorithm": "philox-v9"}))
    with pytest.raises(ManifestConflictError, match="shuffle_algorithm: the store has philox-v9, this writer hash-v1"):
        ZarrStoreWriter(root, FILEMAP, "ahmed", **SETTINGS)
