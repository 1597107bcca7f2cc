"""Full disks, and disks without write permission: a clear error, no loss and no leftovers."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import StorageError
from support.ahmed import AHMED, RUNS
from support.disks import SmallMount, forbid_writing, small_mount, without_privileges, writing_allowed_again
from support.out_of_core import scratch_files, shrink
from support.places import local_place
from support.storm import read_whole, stored_bytes
from support.trees import Ran, call, finish, save_runs, start

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

PRESET = ("--preset", "ahmedml")


def run_command(*arguments: object) -> Ran:
    return finish(start("convert", *arguments, *PRESET))


def convert_here(*arguments: object) -> int:
    """Convert in this process, which is quicker, and return the exit code."""
    return call("convert", *arguments, *PRESET, "--workers", 0).code


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the bundled runs, of 0.5 MB each, on a disk with room."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    assert convert_here(AHMED, store) == 0
    return store


def bytes_of(store: Path) -> dict[str, bytes]:
    return stored_bytes(local_place(store))


def assert_whole_as_far_as_it_goes(store: Path, undisturbed: Path) -> None:
    """Check that all listed samples are correct, and that there is no other group, staged or half written."""
    found, expected = read_whole(store), read_whole(undisturbed)
    for sample_id, arrays in found.items():
        for field, values in arrays.items():
            np.testing.assert_array_equal(values, expected[sample_id][field])
    names = {path.name for path in store.iterdir() if path.is_dir()}
    assert names == {f"{sample_id}.zarr" for sample_id in found}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallMount]:
    with small_mount(tmp_path / "small", "2m") as mount:
        yield mount


@pytest.mark.faults
def test_samples_that_fill_the_disk_fail_and_are_converted_later(small: SmallMount, undisturbed: Path) -> None:
    store = small.path / "store"
    ran = run_command(AHMED, store, "--workers", 2)
    converted = set(StoreManifest.load(str(store)).samples)
    assert ran.code == 3
    assert 0 < len(converted) < len(RUNS)
    assert [line for line in ran.stderr.splitlines() if line.startswith("failed")] == [
        f"failed: sample '{run}': cannot write {store}/{run}.zarr: No space left on device; free space on this disk, "
        "and run the command again"
        for run in RUNS
        if run not in converted
    ]
    assert_whole_as_far_as_it_goes(store, undisturbed)
    small.change("size=16m")
    assert convert_here(AHMED, store) == 0
    assert bytes_of(store) == bytes_of(undisturbed)


@pytest.mark.faults
def test_a_full_disk_keeps_the_former_manifest_and_its_samples(small: SmallMount, undisturbed: Path) -> None:
    """The manifest does not fit on the disk."""
    store = small.path / "store"
    assert convert_here(AHMED, store, "--limit", 2) == 0
    former = (store / "manifest.json").read_bytes()
    small.fill()
    ran = run_command(AHMED, store)
    assert ran.code == 1
    assert ran.stderr.splitlines() == [
        f"error: cannot write {store}/manifest.json: No space left on device; free space on this disk, and run the "
        "command again"
    ]
    assert (store / "manifest.json").read_bytes() == former
    assert_whole_as_far_as_it_goes(store, undisturbed)
    small.clear()
    small.change("size=16m")
    assert convert_here(AHMED, store) == 0
    assert bytes_of(store) == bytes_of(undisturbed)


@pytest.mark.faults
def test_a_read_only_disk_can_be_read_and_writes_fail_clearly(small: SmallMount, undisturbed: Path) -> None:
    """Commands that write name the read-only disk."""
    store = small.path / "store"
    assert convert_here(AHMED, store, "--limit", 2) == 0
    before = bytes_of(store)
    small.change("ro")
    ran = run_command(AHMED, store)
    assert ran.code == 1
    assert ran.stderr.splitlines() == [
        f"error: cannot write {store}/manifest.json: Read-only file system; mount it for writing, or use another path"
    ]
    assert_whole_as_far_as_it_goes(store, undisturbed)
    assert call("verify", store).code == 0
    assert bytes_of(store) == before


@pytest.mark.faults
def test_a_file_size_limit_fails_only_the_affected_sample(tmp_path: Path) -> None:
    tree = save_runs(tmp_path / "tree", ["run_1", "run_2", "run_3"], n_points=100)
    save_runs(tmp_path / "tree", ["run_1"], n_points=10_000)
    store, limit = tmp_path / "store", 60_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        ran = run_command(tree, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.code == 3
    assert ran.stderr.splitlines()[-1] == (
        f"failed: sample 'run_1': cannot write {store}/run_1.zarr: File too large; raise the limit on the size of "
        "files (ulimit -f) or use smaller shards, and run the command again"
    )
    assert sorted(read_whole(store)) == ["run_2", "run_3"]
    assert convert_here(tree, store) == convert_here(tree, tmp_path / "at_once") == 0
    assert bytes_of(store) == bytes_of(tmp_path / "at_once")


@pytest.mark.faults
def test_a_log_on_a_full_disk_does_not_stop_a_conversion(tmp_path: Path) -> None:
    """All samples are converted, although the log cannot be written."""
    tree, store = save_runs(tmp_path / "tree"), tmp_path / "store"
    with Path("/dev/full").open("w") as full:
        ran = finish(start("convert", tree, store, *PRESET, stderr=full))
    assert ran.code == 0
    assert "2 converted, 0 complete before, 0 failed" in ran.stdout


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tree and its store that only root may write to."""
    save_runs(tmp_path / "tree")
    assert convert_here(tmp_path / "tree", tmp_path / "store") == 0
    with writing_allowed_again(tmp_path):
        forbid_writing(tmp_path)
        yield tmp_path


def test_a_store_without_write_permission_can_be_read(read_only: Path) -> None:
    """A command that writes names the missing permission."""
    tree, store = read_only / "tree", read_only / "store"
    before, expected = bytes_of(store), read_whole(store)
    arguments = ("convert", tree, store, *PRESET, "--workers", 0)
    ran = without_privileges(lambda: call(*arguments, "--overwrite"))
    assert ran.code == 1
    assert ran.stderr.startswith(f"error: cannot write {store}/manifest.json: Permission denied; ask its owner for the")
    assert bytes_of(store) == before
    found = without_privileges(lambda: read_whole(store))
    for sample_id, arrays in expected.items():
        for field, values in arrays.items():
            np.testing.assert_array_equal(found[sample_id][field], values)


def test_a_missing_permission_to_create_the_store_is_reported(read_only: Path) -> None:
    ran = without_privileges(lambda: call("convert", read_only / "tree", read_only / "new", *PRESET, "--workers", 0))
    assert ran.code == 1
    assert ran.stderr.startswith(f"error: cannot write {read_only}/new/manifest.json: Permission denied; ask its owner")
    assert not (read_only / "new").exists()


def test_a_shard_without_read_permission_is_named(read_only: Path) -> None:
    """The other samples can be read."""
    shard = read_only / "store" / "run_1.zarr" / "surface" / "pressure" / "c" / "0" / "0"
    shard.chmod(0)

    def read() -> tuple[str, list[str]]:
        reader = ZarrChunkReader(read_only / "store")
        with pytest.raises(StorageError) as raised:
            reader.read_arrays("run_1")
        return str(raised.value), list(reader.read_arrays("run_2", fields=["surface_pressure"]))

    message, fields = without_privileges(read)
    assert f"cannot read {shard}: Permission denied" in message
    assert fields == ["surface_pressure"]


def test_a_temporary_directory_without_room_fails_the_sample_that_needs_it(
    small: SmallMount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample leaves nothing in the directory."""
    shrink(monkeypatch, 1 << 16)
    monkeypatch.setenv("TMPDIR", str(small.path))
    np.save(tmp_path / "positions.npy", np.random.default_rng(0).random((200_000, 3), "f4"))
    positions = np.load(tmp_path / "positions.npy", mmap_mode="r")
    writer = ZarrStoreWriter(tmp_path / "store", FileMap(volume_position="positions.npy"), "large")
    with pytest.raises(StorageError) as raised:
        writer.write_sample("large", {"volume_position": positions})
    assert str(raised.value) == (
        f"sample 'large', field volume_position: cannot keep 2,400,000 bytes in a temporary file in {small.path} (No "
        "space left on device); set TMPDIR to a directory on a disk with enough free space"
    )
    assert scratch_files(small.path) == []
    assert not (tmp_path / "store").exists()
    writer.write_sample("small", {"volume_position": positions[:1000]})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    writer.write_sample("large", {"volume_position": positions})
    writer.save_manifest()
    np.testing.assert_array_equal(read_whole(tmp_path / "store")["large"]["volume_position"], positions)
