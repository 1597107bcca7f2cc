"""Staged writes of killed writers: their names, and their recovery."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from noether.data.zarr_store.stores import LocalStorage, StagedWrite
from noether.data.zarr_store.stores.staging import staged_name, target_of
from support.damage import STAGED

GROUP = "part/run_1.zarr"
STAGED_GROUP, FORMER = f"part/.run_1.zarr.{STAGED}", f"part/.run_1.zarr.{STAGED}.former"
STAGED_FILE = f".manifest.json.{'0f' * 16}"


def make(root: Path, *keys: str) -> LocalStorage:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_text(key)
    return LocalStorage(str(root))


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_staged_names_contain_their_targets() -> None:
    assert target_of(f"a/{staged_name('manifest.json')}") == ("a/manifest.json", os.getpid())
    assert target_of(f"a/{staged_name('run_1.zarr')}.former") == ("a/run_1.zarr", os.getpid())
    assert target_of(f"a/{STAGED_FILE}") == ("a/manifest.json", None)


@pytest.mark.parametrize(
    "key",
    [
        "manifest.json",
        ".manifest.json.lock",
        ".DS_Store",
        ".nfs000000000123456700000001",
        "run_1.zarr.12-0123456789abcdef",
        ".run_1.zarr.12-0123456789abcde",
        ".run_1.zarr.12-0123456789abcdef.old",
        f".{'0f' * 16}",
    ],
)
def test_other_names_are_not_recognised(key: str) -> None:
    assert target_of(key) is None


def test_staged_files_and_groups_are_listed_and_other_hidden_files_not(tmp_path: Path) -> None:
    storage = make(tmp_path, f"{STAGED_GROUP}/volume/zarr.json", STAGED_FILE, ".manifest.json.lock", ".git/x")
    assert storage.abandoned() == [StagedWrite(STAGED_FILE, "manifest.json"), StagedWrite(STAGED_GROUP, GROUP)]
    for leftover in storage.abandoned():
        storage.recover(leftover)
    assert files(tmp_path) == {".manifest.json.lock", ".git/x"}


def test_staged_writes_of_a_running_process_are_not_listed(tmp_path: Path) -> None:
    assert make(tmp_path, f".run_1.zarr.{os.getpid()}-0123456789abcdef/zarr.json").abandoned() == []


def test_the_only_complete_copy_of_a_group_is_restored(tmp_path: Path) -> None:
    storage = make(tmp_path, f"{STAGED_GROUP}/zarr.json")
    [leftover] = storage.abandoned()
    assert leftover == StagedWrite(STAGED_GROUP, GROUP, restores=True)
    storage.recover(leftover)
    assert files(tmp_path) == {f"{GROUP}/zarr.json"}


def test_of_two_copies_the_former_one_is_restored(tmp_path: Path) -> None:
    storage = make(tmp_path, f"{STAGED_GROUP}/zarr.json", f"{FORMER}/zarr.json")
    assert storage.abandoned() == [StagedWrite(FORMER, GROUP, restores=True), StagedWrite(STAGED_GROUP, GROUP)]
    for leftover in storage.abandoned():
        storage.recover(leftover)
    assert (tmp_path / GROUP / "zarr.json").read_text() == f"{FORMER}/zarr.json"
    assert files(tmp_path) == {f"{GROUP}/zarr.json"}


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([f"{STAGED_GROUP}/zarr.json", f"{GROUP}/zarr.json"], id="another is in its place"),
        pytest.param([f"{STAGED_GROUP}/volume/zarr.json"], id="it is not complete"),
    ],
)
def test_other_copies_are_removed(tmp_path: Path, keys: list[str]) -> None:
    storage = make(tmp_path, *keys)
    [leftover] = storage.abandoned()
    assert not leftover.restores
    storage.recover(leftover)
    assert files(tmp_path) == {key for key in keys if key.startswith(GROUP)}


@pytest.fixture
def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_staged_writes_of_a_dead_process_of_this_machine_are_recovered(tmp_path: Path, dead: int) -> None:
    names = [staged_name(name).replace(f".{os.getpid()}-", f".{dead}-") for name in ("manifest.json", "run_1.zarr")]
    keys = [names[0], f"part/{names[1]}/zarr.json", f"elsewhere/{names[1]}/volume/zarr.json"]
    make(tmp_path, *keys).recover_own([GROUP])
    assert files(tmp_path) == {f"{GROUP}/zarr.json", keys[2]}


def test_staged_writes_of_possibly_running_processes_are_not_recovered(tmp_path: Path) -> None:
    mine = f"part/{staged_name('run_1.zarr')}/volume/zarr.json"
    of_another_machine = f"{STAGED_GROUP}/volume/zarr.json"
    make(tmp_path, mine, of_another_machine, STAGED_FILE).recover_own([GROUP])
    assert files(tmp_path) == {mine, of_another_machine, STAGED_FILE}


def test_recovery_in_a_missing_directory_is_no_error(tmp_path: Path) -> None:
    LocalStorage(str(tmp_path / "nowhere")).recover_own([GROUP])
    assert not (tmp_path / "nowhere").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", f"{STAGED_GROUP}/zarr.json")
    storage = make(tmp_path / "store", "manifest.json")
    (tmp_path / "store" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store" / f".run_1.zarr.{STAGED}").symlink_to(tmp_path / "elsewhere")
    [leftover] = storage.abandoned()
    storage.recover(leftover)
    assert files(tmp_path / "elsewhere") == {f"{STAGED_GROUP}/zarr.json"}


def test_directories_that_become_empty_are_removed_with_their_files(tmp_path: Path) -> None:
    storage = make(tmp_path, "part/run_1.zarr/volume/c/0/0", "part/run_2.zarr/zarr.json")
    storage.delete(["part/run_1.zarr/volume/c/0/0"])
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == ["run_2.zarr"]
