"""Links, pipes and devices in a hostile directory: no read waits for them, and no write goes through them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import CorruptDataError, SourceError, StorageError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import Storage, open_storage
from support.bounds import bounded
from support.hostile_stores import FILEMAP, SAMPLE, edit_json, make_small_store

SHARD = "s1.zarr/surface/position/c/0/0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_small_store(tmp_path / "store")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a directory outside of the store, which must stay unchanged."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "precious").write_text("as it was")
    return directory


def writer_of(root: Path) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, FILEMAP, "ahmed", chunk_points=8)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    if path.exists():
        path.unlink()
    make(path)


NO_FILES = {
    "a pipe": os.mkfifo,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a directory": Path.mkdir,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("key", ["manifest.json", "s1.zarr/zarr.json", SHARD])
def test_a_pipe_or_device_is_refused_at_once(root: Path, key: str, make: Callable[[Path], object]) -> None:
    replace_by(root / key, make)
    with bounded(), pytest.raises(StorageError, match=rf"cannot read .*{key}: it is not a regular file$"):
        ZarrChunkReader(root).read_arrays("s1")


def test_a_shard_that_becomes_a_pipe_after_its_index_was_read_is_refused_at_once(root: Path) -> None:
    reader = ZarrChunkReader(root)
    reader.cost("s1")
    replace_by(root / SHARD, os.mkfifo)
    with bounded(), pytest.raises(StorageError, match=r"it is not a regular file$"):
        reader.read_arrays("s1")


def test_samples_that_are_linked_to_are_read(root: Path, elsewhere: Path) -> None:
    expected = ZarrChunkReader(root).read_arrays("s1")
    (root / "s1.zarr").rename(elsewhere / "s1")
    (root / "s1.zarr").symlink_to(elsewhere / "s1")
    for field, values in ZarrChunkReader(root).read_arrays("s1").items():
        np.testing.assert_array_equal(values, expected[field])


def test_no_sample_is_written_through_a_link_that_leaves_the_store(root: Path, elsewhere: Path) -> None:
    (root / "part").symlink_to(elsewhere)
    before = contents(elsewhere)
    with pytest.raises(StorageError, match=rf"cannot change .*part/x\.zarr: a link leads out of .* to {elsewhere}"):
        writer_of(root).write_sample("part/x", SAMPLE)
    with pytest.raises(StorageError, match="a link leads out"):
        writer_of(root).write_sample("part/deeper/x", SAMPLE)
    assert contents(elsewhere) == before
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]


def test_a_sample_is_written_through_a_link_that_stays_in_the_store(root: Path) -> None:
    (root / "real").mkdir()
    (root / "part").symlink_to("real")
    writer_of(root).write_sample("part/x", SAMPLE)
    assert (root / "real/x.zarr/zarr.json").is_file()


def test_a_store_whose_root_is_a_link_is_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    writer_of(tmp_path / "link").write_sample("s3", SAMPLE)
    assert (root / "s3.zarr/zarr.json").is_file()


def test_a_linked_sample_is_replaced_and_its_target_stays(root: Path, elsewhere: Path) -> None:
    (root / "s1.zarr").rename(elsewhere / "s1")
    (root / "s1.zarr").symlink_to(elsewhere / "s1")
    before = contents(elsewhere)
    writer_of(root).write_sample("s1", {field: values + 1 for field, values in SAMPLE.items()})
    assert not (root / "s1.zarr").is_symlink()
    assert contents(elsewhere) == before
    assert sorted(path.name for path in root.glob("*.zarr")) == ["s1.zarr", "s2.zarr"]
    assert not list(root.glob(".s1*"))


def test_nothing_is_deleted_through_a_link_that_leaves_the_store(root: Path, elsewhere: Path) -> None:
    (root / "part").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="a link leads out"):
        open_storage(root).delete(["part/precious"])
    assert (elsewhere / "precious").exists()


def test_a_chunk_index_or_manifest_that_is_a_link_is_replaced_and_its_target_stays(root: Path, elsewhere: Path) -> None:
    for name in ("manifest.json", "chunk_index-0f.npy"):
        (elsewhere / name).write_bytes((root / "manifest.json").read_bytes())
        replace_by(root / name, lambda path: path.symlink_to(elsewhere / path.name))
    before = contents(elsewhere)
    edit_json(root / "manifest.json", lambda manifest: manifest.update(chunk_index="chunk_index-0f.npy"))
    before = contents(elsewhere)
    write_chunk_index(root)
    assert contents(elsewhere) == before
    assert not (root / "manifest.json").is_symlink()
    assert not (root / "chunk_index-0f.npy").exists()


def test_a_lock_that_is_a_link_is_not_followed(root: Path, elsewhere: Path) -> None:
    replace_by(root / ".manifest.json.lock", lambda path: path.symlink_to(elsewhere / "precious"))
    writer = writer_of(root)
    writer.write_sample("s3", SAMPLE)
    with pytest.raises(StorageError, match=r"cannot write .*manifest\.json"):
        writer.save_manifest()
    assert (elsewhere / "precious").read_text() == "as it was"


@pytest.mark.parametrize("key", ["s1.zarr/zarr.json", SHARD])
def test_a_link_to_a_foreign_file_shows_none_of_its_content(root: Path, elsewhere: Path, key: str) -> None:
    replace_by(root / key, lambda path: path.symlink_to(elsewhere / "precious"))
    with pytest.raises(CorruptDataError) as caught:
        ZarrChunkReader(root).read_arrays("s1")
    assert "as it was" not in str(caught.value)


def make_maze(top: Path, n_levels: int) -> None:
    """Create directories with two links to the next one each. They have 2 ** n_levels paths."""
    for level in range(n_levels):
        (top / f"d{level}").mkdir(parents=True)
        for name in ("left", "right"):
            (top / f"d{level}" / name).symlink_to(f"../d{level + 1}")


@pytest.mark.slow
def test_a_maze_of_links_is_abandoned_after_a_bounded_number_of_steps(tmp_path: Path) -> None:
    make_maze(tmp_path, 30)
    with bounded(), pytest.raises(StorageError, match=r"links make [\d,]+ paths to only [\d,]+ directories"):
        TreeSource(tmp_path, FILEMAP)


def test_one_directory_that_a_thousand_samples_link_to_is_listed_for_each(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/points.npy").touch()
    for i in range(1000):
        (tmp_path / f"run_{i}").mkdir()
        (tmp_path / f"run_{i}/mesh").symlink_to("../mesh")
    assert sum(item.key.endswith("points.npy") for item in open_storage(tmp_path).objects()) == 1001


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda storage: list(storage.objects()), id="objects"),
        pytest.param(lambda storage: storage.abandoned(), id="what killed writers left"),
    ],
)
def test_endlessly_nested_directories_are_refused(tmp_path: Path, look: Callable[[Storage], object]) -> None:
    path = "/".join(["d"] * 400)
    (tmp_path / path).mkdir(parents=True)
    with pytest.raises(StorageError, match="directories are nested more than 100 deep"):
        look(open_storage(tmp_path))


def test_a_source_whose_links_lead_in_circles_has_no_sample(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(".")
    with bounded(), pytest.raises(SourceError, match="no sample found"):
        TreeSource(tmp_path, FILEMAP)
