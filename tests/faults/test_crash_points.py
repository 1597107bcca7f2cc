"""Conversions that end before any of their changes to the disk, by a kill or a power loss."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import Mode, convert
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.sources import TreeSource
from support.ahmed import Arrays
from support.disk_changes import Disk, States, changes_seen, count_changes, killed_before, put_files
from support.effort import in_full_mode
from support.lanes import few_fast
from support.places import local_place
from support.storm import read_whole, stored_bytes
from support.trees import save_run

FILEMAP = FileMap(surface_position="surface_position_vtp.npy", surface_pressure="surface_pressure.npy")
IDS = ("part/run_1", "run_2")
# The tests fork, and conversions have threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
# Every few of some hundred moments.
STRIDE = 3 if in_full_mode() else 13


def convert_tree(tree: Path, store: Path | str, mode: Mode = "resume", limit: int | None = None) -> None:
    writer = ZarrStoreWriter(store, FILEMAP, "ahmed", chunk_points=96, shard_points=96)
    report = convert(TreeSource(tree, FILEMAP), writer, mode=mode, limit=limit)
    assert report.having("failed") == []


def is_one_of(found: Arrays, *expected: Arrays) -> bool:
    return any(all(np.array_equal(values, one[field]) for field, values in found.items()) for one in expected)


@pytest.fixture
def tree(quick_path: Path) -> Path:
    for number, sample_id in enumerate(IDS, start=1):
        save_run(quick_path / "tree" / sample_id, f"run_{number}", n_points=200)
    return quick_path / "tree"


def add_samples(tree: Path, store: Path) -> None:
    convert_tree(tree, store)


def convert_changed_sources(tree: Path, store: Path) -> None:
    convert_tree(tree, store)


def convert_all_again(tree: Path, store: Path) -> None:
    convert_tree(tree, store, "overwrite")


def change_sources(tree: Path) -> None:
    """Other values of the same points, with fewer bytes."""
    for file in tree.rglob("surface_pressure.npy"):
        np.save(file, np.full_like(np.load(file), 7))


def read_or_none(reader: ZarrChunkReader, sample_id: str) -> Arrays | None:
    """Read a sample; return None if the error says that it is missing."""
    try:
        return reader.read_arrays(sample_id, order="original")
    except StoreError as error:
        if sample_id not in str(error):
            raise
        return None


def not_hidden(files: dict[str, bytes]) -> dict[str, bytes]:
    return {key: data for key, data in files.items() if "/." not in f"/{key}"}


@pytest.mark.parametrize(
    "act",
    few_fast([add_samples, convert_changed_sources, convert_all_again], others=pytest.mark.faults),
    ids=lambda act: act.__name__,
)
def test_a_kill_before_any_change_of_the_disk_loses_nothing(
    act: Callable[[Path, Path], None], tree: Path, quick_path: Path
) -> None:
    """The same command again ends in the bytes of a conversion without faults."""
    before, store, undisturbed = (quick_path / name for name in ("before", "store", "undisturbed"))
    convert_tree(tree, before, limit=1 if act is add_samples else None)
    former = read_whole(before)
    if act is not add_samples:
        change_sources(tree)
    shutil.copytree(before, undisturbed)
    n_changes = count_changes(lambda: act(tree, undisturbed))
    expected, new = stored_bytes(local_place(undisturbed)), read_whole(undisturbed)
    for number in range(0, n_changes, STRIDE):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(before, store)
        killed_before(number, lambda: act(tree, store))
        found = read_whole(store)
        assert former.keys() <= found.keys()
        for sample_id, arrays in found.items():
            assert is_one_of(arrays, new[sample_id], former.get(sample_id, new[sample_id])), sample_id
        act(tree, store)
        assert stored_bytes(local_place(store)) == expected


@pytest.mark.parametrize(
    "is_there", few_fast([True, False], others=pytest.mark.faults), ids=["that replaces samples", "of a new sample"]
)
def test_a_kill_in_object_storage_leaves_no_partial_sample(is_there: bool, tree: Path, quick_path: Path) -> None:
    """Samples are complete or missing, and the same command again ends in the bytes of a conversion without faults."""
    before, store, undisturbed = (quick_path / name for name in ("before", "store", "undisturbed"))
    convert_tree(tree, before, limit=None if is_there else 1)
    former = read_whole(before)
    if is_there:
        change_sources(tree)
    shutil.copytree(before, undisturbed)
    # A storage on disk that writes object by object.
    root = f"local://{store}"
    n_changes = count_changes(lambda: convert_tree(tree, f"local://{undisturbed}"))
    expected, new = not_hidden(stored_bytes(local_place(undisturbed))), read_whole(undisturbed)
    for number in range(0, n_changes, STRIDE):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(before, store)
        killed_before(number, lambda: convert_tree(tree, root))
        reader = ZarrChunkReader(root)
        assert former.keys() <= reader.manifest.samples.keys()
        for sample_id in reader.manifest.samples:
            arrays = read_or_none(reader, sample_id)
            # A sample that is being replaced may be missing.
            assert is_there or arrays is not None
            if arrays is not None:
                assert is_one_of(arrays, new[sample_id], former.get(sample_id, new[sample_id])), sample_id
        convert_tree(tree, root)
        assert not_hidden(stored_bytes(local_place(store))) == expected


@pytest.mark.parametrize(
    "is_there", few_fast([True, False], others=pytest.mark.faults), ids=["that replaces samples", "of a new store"]
)
def test_a_power_loss_at_any_moment_keeps_all_listed_samples(is_there: bool, tree: Path, quick_path: Path) -> None:
    """The same command again ends in the bytes of a conversion without faults."""
    root = quick_path / "disk"
    root.mkdir()
    store, lost = root / "stores" / "store", quick_path / "lost" / "stores" / "store"
    former = {}
    if is_there:
        convert_tree(tree, store)
        former = read_whole(store)
        change_sources(tree)
    with closing(Disk(root)) as disk:
        states = States(disk, root, store.parent, store, store / "part")
        with changes_seen(states.take, disk.sync):
            convert_tree(tree, store)
        put_files(quick_path / "lost", disk.files())
    expected, new = not_hidden(stored_bytes(local_place(store))), read_whole(store)
    assert not_hidden(stored_bytes(local_place(lost))) == expected
    for number, files in enumerate(states.all()):
        put_files(quick_path / "lost", files)
        if (lost / "manifest.json").exists():
            found = read_whole(lost)
            assert former.keys() <= found.keys()
            for sample_id, arrays in found.items():
                assert is_one_of(arrays, new[sample_id], former.get(sample_id, new[sample_id])), sample_id
        if number % STRIDE == 0:
            convert_tree(tree, lost)
            assert not_hidden(stored_bytes(local_place(lost))) == expected
