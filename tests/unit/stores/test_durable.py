"""Atomic replacement of groups, and durable directories."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import LocalStorage, durable
from support.disk_changes import changes_seen
from support.disks import without_privileges, writing_allowed_again

GROUP = "part/run_1.zarr"


def write(root: Path, data: bytes) -> None:
    LocalStorage(str(root)).write_group(GROUP, [("volume/zarr.json", [b"{}"]), ("zarr.json", [data])])


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def with_root(data: bytes) -> dict[str, bytes]:
    return {f"{GROUP}/volume/zarr.json": b"{}", f"{GROUP}/zarr.json": data}


def test_a_replaced_group_is_whole_after_every_change_of_the_disk(tmp_path: Path) -> None:
    write(tmp_path, b"old")
    seen = []

    def look() -> None:
        seen.append((tmp_path / GROUP / "zarr.json").read_bytes())
        assert (tmp_path / GROUP / "volume" / "zarr.json").exists()

    with changes_seen(look):
        write(tmp_path, b"new")
    assert sorted(set(seen)) == [b"new", b"old"]
    assert seen == sorted(seen, reverse=True)
    assert files(tmp_path) == with_root(b"new")


def test_without_exchange_a_group_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_exchanged", lambda *_: False)
    write(tmp_path, b"old")
    write(tmp_path, b"new")
    assert files(tmp_path) == with_root(b"new")
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["run_1.zarr"]


def test_an_exchange_with_nothing_or_on_an_old_system_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    assert not durable._exchanged(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not durable._exchanged(tmp_path / "one", tmp_path / "other")


def test_created_directories_are_durable_in_their_parents(tmp_path: Path) -> None:
    synced: list[str] = []
    with changes_seen(int, lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))):
        durable.make_directory(tmp_path / "a" / "b")
        durable.make_directory(tmp_path / "a" / "c")
        durable.make_directory(tmp_path / "a" / "c")
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a")]


def test_a_file_system_that_cannot_sync_directories_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other failure of a sync is an error."""
    sync, code = os.fsync, errno.EINVAL

    def sync_files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_files_alone)
    write(tmp_path, b"new")
    assert files(tmp_path) == with_root(b"new")
    code = errno.EIO
    with pytest.raises(StorageError, match=r"cannot write .*run_1\.zarr: Input/output error"):
        write(tmp_path, b"newer")


@pytest.mark.parametrize("file", ["volume/zarr.json", "zarr.json"])
def test_a_failed_sync_is_an_error_and_the_old_group_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """A full or broken disk can report its error late, since files are synced while others are written."""
    write(tmp_path, b"old")
    sync = os.fsync

    def fail(descriptor: int) -> None:
        staged = str(Path(f"/proc/self/fd/{descriptor}").readlink()).partition("/.run_1.zarr.")[2]
        if staged.partition("/")[2] == file:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"cannot write .*run_1\.zarr: Input/output error"):
        write(tmp_path, b"new")
    monkeypatch.undo()
    assert files(tmp_path) == with_root(b"old")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_directory_is_created_without_the_right_to_list_its_parent(tmp_path: Path) -> None:
    with writing_allowed_again(tmp_path):
        tmp_path.chmod(0o333)
        without_privileges(lambda: durable.make_directory(tmp_path / "a" / "b"))
        assert (tmp_path / "a" / "b").is_dir()
