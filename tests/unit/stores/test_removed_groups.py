"""Removal of groups: the root first, with the staged copies of killed writers, and never through a link."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import LocalStorage, Storage, StoredObject, open_storage
from noether.data.zarr_store.stores.base import StorageByObjects
from support.damage import STAGED
from support.disk_changes import Disk, changes_seen
from support.places import PLACES, Place, local_place, make_place

GROUP, OTHER = "part/deep/run_1.zarr", "part/run_2.zarr"
# Directories are removed in any order. With this many, one comes before the root, unless the root is removed alone.
OBJECTS = [(f"{domain}/{key}", [b"x"]) for domain in "abcdefgh" for key in ("zarr.json", "c/0/0", "c/1/0")]
OBJECTS += [("zarr.json", [b"root"])]
KEYS = [key for key, _ in OBJECTS]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    """Return a directory with both groups."""
    storage = LocalStorage(str(tmp_path / "store"))
    write_both(storage)
    return storage


def write_both(storage: Storage) -> None:
    for group in (GROUP, OTHER):
        storage.write_group(group, OBJECTS)


def test_a_removed_group_loses_all_objects_and_others_stay(place: Place) -> None:
    storage = open_storage(place.root, place.options)
    write_both(storage)
    place.replace(f"{GROUP}/notes.txt", b"not of this library")
    storage.remove_group(GROUP)
    assert sorted(place.files()) == sorted(f"{OTHER}/{key}" for key in KEYS)


@pytest.mark.parametrize("kind", ["local", "staged"])
def test_directories_that_become_empty_go_too(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = make_place(kind, request)
    storage = open_storage(place.root, place.options)
    write_both(storage)
    storage.remove_group(GROUP)
    assert [path.name for path in (tmp_path / "store" / "part").iterdir()] == ["run_2.zarr"]
    storage.remove_group(OTHER)
    assert list((tmp_path / "store").iterdir()) == []


def test_the_removal_of_a_missing_group_is_a_no_op(place: Place) -> None:
    storage = open_storage(place.root, place.options)
    storage.write_group(OTHER, OBJECTS)
    before = place.files()
    storage.remove_group(GROUP)
    storage.remove_group("run_3.zarr")
    assert place.files() == before


def has_root_without_objects(there: Iterable[str]) -> bool:
    keys = set(there)
    return f"{GROUP}/zarr.json" in keys and not keys.issuperset(f"{GROUP}/{key}" for key in KEYS)


def test_at_no_moment_is_there_a_root_without_its_objects(local: LocalStorage) -> None:
    place, seen = local_place(Path(local.root)), list[bool]()
    with changes_seen(lambda: seen.append(has_root_without_objects(place.files()))):
        local.remove_group(GROUP)
    assert len(seen) > len(OBJECTS)
    assert not any(seen)


def test_no_loss_of_power_leaves_a_root_without_its_objects(local: LocalStorage) -> None:
    root, seen = Path(local.root), list[bool]()
    with closing(Disk(root)) as disk:
        inside = [path for path in (root / GROUP).rglob("*") if path.is_dir()]

        def take() -> None:
            # After a loss of power, unsynced removals of names can be lost or kept.
            seen.extend(has_root_without_objects(disk.files(*early)) for early in ([], inside))

        with changes_seen(take, disk.sync):
            local.remove_group(GROUP)
        take()
        assert sorted(disk.files()) == sorted(f"{OTHER}/{key}" for key in KEYS)
    assert not any(seen)


class NotedDeletes(StorageByObjects):
    """Objects in a dictionary, with a record of the keys that each request deletes."""

    root = "noted://"

    def __init__(self, keys: Iterable[str], *, put_again: bool = False) -> None:
        self.keys = set(keys)
        self.requests: list[list[str]] = []
        self._again = frozenset(self.keys) if put_again else frozenset()

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        return (StoredObject(key, 1, "") for key in sorted(self.keys) if key.startswith(f"{prefix}/"))

    def delete(self, keys: list[str]) -> None:
        self.requests.append(keys)
        self.keys = (self.keys - set(keys)) | self._again

    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        raise NotImplementedError

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        raise NotImplementedError


def test_in_object_storage_the_root_is_deleted_in_its_own_request() -> None:
    storage = NotedDeletes(f"{GROUP}/{key}" for key in KEYS)
    storage.remove_group(GROUP)
    root, *others = storage.requests
    assert root == [f"{GROUP}/zarr.json"]
    assert sorted(key for keys in others for key in keys) == sorted(f"{GROUP}/{key}" for key in KEYS[:-1])


def test_the_removal_of_a_group_that_is_always_rewritten_is_an_error() -> None:
    storage = NotedDeletes([f"{GROUP}/a/zarr.json"], put_again=True)
    with pytest.raises(StorageError, match=rf"cannot remove noted:///{GROUP}: another process writes it"):
        storage.remove_group(GROUP)


def test_staged_copies_of_killed_writers_are_removed_before_the_group(local: LocalStorage) -> None:
    """Otherwise, after a kill, the next conversion or repair would restore a staged copy as the only copy."""
    root = Path(local.root)
    for name in (f".run_1.zarr.{STAGED}", f".run_1.zarr.{STAGED}.former", f".run_1.zarr.2.{STAGED}"):
        shutil.copytree(root / GROUP, (root / GROUP).with_name(name))
    restored: list[str] = []
    with changes_seen(lambda: restored.extend(one.target for one in local.abandoned() if one.restores)):
        local.remove_group(GROUP)
    assert GROUP not in restored
    # The last one belongs to another sample.
    assert [staged.target for staged in local.abandoned()] == ["part/deep/run_1.zarr.2"]


def test_a_link_is_removed_and_its_target_stays(local: LocalStorage, tmp_path: Path) -> None:
    target = tmp_path / "disk2" / "run_1.zarr"
    target.parent.mkdir()
    (Path(local.root) / GROUP).rename(target)
    (Path(local.root) / GROUP).symlink_to(target)
    local.remove_group(GROUP)
    assert not (Path(local.root) / GROUP).is_symlink()
    assert sorted(local_place(target).files()) == sorted(KEYS)


@pytest.mark.parametrize("act", ["remove_group", "require_changeable"])
def test_nothing_is_removed_behind_a_link_that_leaves_the_store(local: LocalStorage, tmp_path: Path, act: str) -> None:
    part = Path(local.root) / "part"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="a link leads out of"):
        getattr(local, act)(GROUP)
    assert len(local_place(tmp_path / "elsewhere").files()) == 2 * len(KEYS)


@pytest.mark.parametrize(
    ("link", "expected"), [(GROUP, True), ("part", True), ("part/deep", True), (OTHER, False), ("part/other", False)]
)
def test_links_in_the_path_of_a_group_are_detected(
    local: LocalStorage, tmp_path: Path, link: str, expected: bool
) -> None:
    shutil.rmtree(Path(local.root) / link, ignore_errors=True)
    (Path(local.root) / link).symlink_to(tmp_path / "not mounted")
    assert local.is_linked(GROUP) == expected


@pytest.mark.slow
def test_two_concurrent_removals_of_a_group_both_succeed(local: LocalStorage) -> None:
    for _ in range(20):
        local.write_group(GROUP, [(f"a/c/{number}/0", [b"x"]) for number in range(50)] + OBJECTS[-1:])
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(local.remove_group, [GROUP, GROUP]))
        assert [item.key for item in local.objects(GROUP)] == []
