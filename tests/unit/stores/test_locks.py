"""The lock for changes of a local file, also on a file system without locks."""

from __future__ import annotations

import errno
import fcntl
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import SoftFileLock

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, StorageWarning, locks, open_storage

# The errors of NFS without a lock daemon, of file systems that return the kernel's own error, and of others.
NO_LOCKS = {
    "ENOLCK": errno.ENOLCK,
    "ENOTSUPP": 524,
    "EOPNOTSUPP": errno.EOPNOTSUPP,
    "ENOSYS": errno.ENOSYS,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "stores" / "store"


@pytest.fixture
def storage(root: Path) -> Storage:
    return open_storage(root)


def without_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Make every lock of the operating system fail with an error."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fail)


def append(byte: bytes) -> Callable[[bytes | None], bytes]:
    return lambda current: (current or b"") + byte


def fail_to_change(_current: bytes | None) -> bytes:
    raise OSError(errno.ENOSPC, "No space left on device")


def everything(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.mark.parametrize("code", NO_LOCKS.values(), ids=NO_LOCKS)
def test_without_locks_a_file_replaces_them_with_one_warning(
    code: int, root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, code)
    marker = root / ".m.json.lock-file"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StorageWarning)
        storage.update("m.json", lambda _: str(marker.exists()).encode())
        storage.update("m.json", append(b"!"))
        storage.update("n.json", append(b"n"))
    assert [str(one.message).partition(" (")[0] for one in caught] == [f"{root}: this file system has no locks"]
    assert "If a killed process leaves such a file, delete it" in str(caught[0].message)
    assert storage.read_if_there("m.json") == b"True!"
    assert not marker.exists()


@pytest.mark.parametrize("code", NO_LOCKS.values(), ids=NO_LOCKS)
@pytest.mark.filterwarnings("ignore:.*no locks")
def test_without_locks_concurrent_changes_are_not_lost(
    code: int, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, code)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: storage.update("m.json", append(b"x")), range(24)))
    assert storage.read_if_there("m.json") == b"x" * 24


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_a_stale_lock_file_is_named_and_can_be_deleted(
    root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, errno.ENOLCK)
    monkeypatch.setattr(locks, "_LOCK_SECONDS", 0.1)
    root.mkdir(parents=True)
    marker = root / ".m.json.lock-file"
    with (
        SoftFileLock(marker),
        pytest.raises(StorageError, match=f"locked by another process .*; wait for it to end, or delete {marker}"),
    ):
        storage.update("m.json", append(b"x"))
    assert not (root / "m.json").exists()


def test_another_failure_of_a_lock_is_an_error(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch, errno.EIO)
    with pytest.raises(StorageError, match=r"cannot write .*m\.json: Input/output error"):
        storage.update("m.json", append(b"x"))


def test_a_failed_change_of_a_new_file_leaves_nothing(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(StorageError, match="No space left on device"):
        storage.update("m.json", fail_to_change)
    assert everything(tmp_path) == []


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_without_locks_a_failed_change_leaves_nothing_either(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, errno.ENOLCK)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.update("m.json", fail_to_change)
    assert everything(tmp_path) == []


def test_a_failed_change_leaves_the_former_file(tmp_path: Path, root: Path, storage: Storage) -> None:
    storage.update("m.json", append(b"x"))
    before = everything(tmp_path)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.update("m.json", fail_to_change)
    assert everything(tmp_path) == before
    assert (root / "m.json").read_bytes() == b"x"


def test_a_change_to_the_same_bytes_keeps_the_file_but_tests_the_disk(
    root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The staged write detects a disk that cannot be written."""
    storage.update("m.json", append(b"x"))
    before = (root / "m.json").stat()
    storage.update("m.json", lambda current: current or b"")
    after = (root / "m.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert everything(root) == [".m.json.lock", "m.json"]

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device; free space"):
        storage.update("m.json", lambda current: current or b"")
    assert (root / "m.json").read_bytes() == b"x"


def test_with_locks_there_is_no_warning(storage: Storage) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        storage.update("m.json", append(b"x"))
