"""Storages: their roots, and the promises of each to the library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from zarr.abc.buffer import Buffer
from zarr.storage import MemoryStore

from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.stores import (
    CountingStore,
    Storage,
    Traffic,
    is_remote,
    join,
    make_store,
    normalize_root,
    open_storage,
)
from support.places import PLACES, Place, local_place, make_place


class WatchedMemory(MemoryFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A file system that records the existing objects after each change."""

    protocol = "watchedmemory"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    states: ClassVar[list[set[str]]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("watchedmemory://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode=mode, **kwargs)
        self.states.append(set(self.store))

    def rm_file(self, path: str) -> None:
        super().rm_file(path)
        self.states.append(set(self.store))


fsspec.register_implementation("watchedmemory", WatchedMemory, clobber=True)

GROUP = [("a/zarr.json", b"a"), ("a/c/0/0", b"chunk" * 1000), ("zarr.json", b"root")]


@pytest.fixture(params=[*PLACES, pytest.param("s3-forked", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "s3-forked":
        # Simulate a process whose parent uses obstore.
        monkeypatch.setattr("noether.data.zarr_store.stores.bucket._user", os.getppid())
    return make_place("s3-obstore" if request.param == "s3-forked" else request.param, request)


@pytest.fixture
def storage(place: Place) -> Storage:
    return open_storage(place.root, place.options)


def under(relpath: str, objects: list[tuple[str, bytes]]) -> dict[str, bytes]:
    return {f"{relpath}/{key}": data for key, data in objects}


def in_parts(objects: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield objects as a writer does: small ones in a list, and shards piece by piece."""
    for key, data in objects:
        yield key, [data] if key.endswith("zarr.json") else iter([data[:1], data[1:]])


def interrupted(objects: list[tuple[str, bytes]], error: BaseException) -> Iterator[tuple[str, bytes]]:
    yield from objects
    raise error


@pytest.mark.parametrize(
    ("root", "remote"),
    [
        ("/data/store", False),
        (Path("/data/store"), False),
        ("store", False),
        ("file:///data/store", False),
        ("s3://bucket/store", True),
        ("memory://store", True),
        ("https://host/store", True),
    ],
)
def test_is_remote_is_false_only_for_local_paths(root: str | Path, remote: bool) -> None:
    assert is_remote(root) is remote


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data/store/", "/data/store"),
        (Path("/data/store"), "/data/store"),
        ("file:///data/my%20store", "/data/my store"),
        ("s3://bucket/store/", "s3://bucket/store"),
        ("s3://bucket/my%20store", "s3://bucket/my%20store"),
        ("memory://", "memory://"),
    ],
)
def test_a_root_is_an_absolute_path_or_a_url_without_a_slash_at_its_end(root: str | Path, expected: str) -> None:
    assert normalize_root(root) == expected
    assert normalize_root(normalize_root(root)) == expected


def test_a_relative_root_lies_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert normalize_root("a/store") == f"{tmp_path}/a/store"


def test_an_empty_root_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected a path or URL, got an empty string"):
        normalize_root("")


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data/store", "/data/store/a b#c/d?.zarr"),
        ("file:///data/store/", "/data/store/a b#c/d?.zarr"),
        ("s3://bucket/store/", "s3://bucket/store/a b#c/d?.zarr"),
    ],
)
def test_join_puts_a_relative_path_below_a_root_unchanged(root: str, expected: str) -> None:
    assert join(root, "a b#c/d?.zarr") == expected


@pytest.mark.parametrize("read_only", [True, False])
def test_make_store_opens_a_group_for_zarr_python(storage: Storage, place: Place, read_only: bool) -> None:
    memory: dict[str, Buffer] = {}
    zarr.create_array(MemoryStore(memory), shape=(4,), dtype="f4", fill_value=1)[:] = np.arange(4)
    storage.write_group("run_1.zarr", in_parts([(key, data.to_bytes()) for key, data in memory.items()]))
    store = make_store(f"{place.root}/run_1.zarr", read_only=read_only, storage_options=place.options)
    assert store.read_only is read_only
    np.testing.assert_array_equal(zarr.open_array(store, mode="r")[:], np.arange(4))


# SeaweedFS still lists directories that have become empty, and the file systems of fsspec have other bugs.
@pytest.mark.parametrize("place", ["local", pytest.param("s3-forked", marks=pytest.mark.s3)], indirect=True)
def test_zarr_python_writes_lists_and_deletes_unless_read_only(place: Place) -> None:
    def opened(*, read_only: bool) -> zarr.Group:
        store = make_store(f"{place.root}/run_1.zarr", read_only=read_only, storage_options=place.options)
        return zarr.open_group(store, mode="r" if read_only else "a")

    group = opened(read_only=False)
    for name in ("position", "pressure"):
        group.create_array(name, shape=(4,), chunks=(2,), dtype="f4")[:] = np.arange(4)
    assert sorted(opened(read_only=True).array_keys()) == ["position", "pressure"]
    del group["pressure"]
    assert sorted(opened(read_only=True).array_keys()) == ["position"]
    with pytest.raises(ValueError, match="read-only"):
        opened(read_only=True).create_group("more")


def test_a_missing_object_is_none(storage: Storage) -> None:
    assert storage.read_if_there("manifest.json") is None
    assert list(storage.objects()) == []
    assert list(storage.objects("run_1.zarr")) == []


def test_opening_a_place_creates_nothing(tmp_path: Path) -> None:
    open_storage(tmp_path / "store").read_if_there("manifest.json")
    assert list(tmp_path.iterdir()) == []


def test_update_replaces_the_bytes_by_the_result_of_change(storage: Storage, place: Place) -> None:
    given: list[bytes | None] = []

    def grow(current: bytes | None) -> bytes:
        given.append(current)
        return (current or b"") + b"x"

    for _ in range(3):
        storage.update("m.json", grow)
    assert given == [None, b"x", b"xx"]
    assert {key: data for key, data in place.files().items() if not key.endswith(".lock")} == {"m.json": b"xxx"}


def test_a_failed_update_changes_nothing(storage: Storage, place: Place) -> None:
    def fail(current: bytes | None) -> bytes:
        raise LookupError("no")

    storage.update("m.json", lambda _: b"one")
    before = place.files()
    with pytest.raises(LookupError, match="no"):
        storage.update("m.json", fail)
    assert place.files() == before


def test_updates_by_many_threads_come_one_after_the_other(storage: Storage) -> None:
    def add(number: int) -> None:
        storage.update("m.json", lambda current: (current or b"") + bytes([number]))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(40)))
    assert sorted(storage.read_if_there("m.json") or b"") == list(range(40))


def test_a_group_is_its_objects_below_its_path(storage: Storage, place: Place) -> None:
    storage.write_group("part/run_1.zarr", in_parts(GROUP))
    assert place.files() == under("part/run_1.zarr", GROUP)
    assert {(item.key, item.size) for item in storage.objects("part/run_1.zarr")} == {
        (key, len(data)) for key, data in under("part/run_1.zarr", GROUP).items()
    }


def test_objects_of_a_directory_with_a_longer_name_are_not_listed(storage: Storage) -> None:
    for relpath in ("run_1.zarr", "run_1.zarrx", "run_1.zarr2/run_1.zarr"):
        storage.write_group(relpath, in_parts(GROUP))
    assert {item.key for item in storage.objects("run_1.zarr")} == under("run_1.zarr", GROUP).keys()
    assert len(list(storage.objects())) == 3 * len(GROUP)


def test_the_version_of_an_object_changes_when_it_is_replaced_and_not_before(storage: Storage, place: Place) -> None:
    storage.write_group("run_1.zarr", in_parts(GROUP))

    def versions() -> dict[str, str]:
        return {item.key: item.version for item in storage.objects("run_1.zarr")}

    before = versions()
    assert versions() == before
    assert all(before.values())
    place.replace("run_1.zarr/a/c/0/0", b"other" * 1000)  # of the same size
    assert {key for key, version in versions().items() if before[key] != version} == {"run_1.zarr/a/c/0/0"}


def test_a_group_replaces_the_one_that_was_there(storage: Storage, place: Place) -> None:
    storage.write_group("run_1.zarr", in_parts(GROUP))
    smaller = [("b/zarr.json", b"b"), ("zarr.json", b"other root")]
    storage.write_group("run_1.zarr", in_parts(smaller))
    assert place.files() == under("run_1.zarr", smaller)


@pytest.mark.parametrize("n_written", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "error", [RuntimeError("broken off"), KeyboardInterrupt("broken off")], ids=["error", "ctrl-c"]
)
def test_a_failed_group_leaves_no_objects_and_keeps_other_groups(
    storage: Storage, place: Place, n_written: int, error: BaseException
) -> None:
    storage.write_group("run_1.zarr", in_parts(GROUP))
    with pytest.raises(type(error), match="broken off"):
        storage.write_group("run_2.zarr", in_parts(interrupted(GROUP[:n_written], error)))
    assert place.files() == under("run_1.zarr", GROUP)


def test_a_large_object_is_written_as_its_parts_come(storage: Storage, place: Place) -> None:
    parts = [bytes([number]) * 1_000_000 for number in range(21)]
    storage.write_group("run_1.zarr", [("a/c/0/0", iter(parts)), ("zarr.json", [b"root"])])
    assert place.files()["run_1.zarr/a/c/0/0"] == b"".join(parts)


def test_a_failed_large_object_leaves_nothing(storage: Storage, place: Place) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(21):
            yield bytes(1_000_000)
        raise OSError("the source has gone")

    with pytest.raises(StorageError, match="the source has gone"):
        storage.write_group("run_1.zarr", [("a/c/0/0", parts())])
    assert place.files() == {}


def test_a_failed_group_in_an_empty_place_leaves_it_empty(storage: Storage) -> None:
    with pytest.raises(RuntimeError, match="broken off"):
        storage.write_group("run_1.zarr", in_parts(interrupted(GROUP, RuntimeError("broken off"))))
    assert list(storage.objects()) == []
    assert list(storage.objects("run_1.zarr")) == []


def test_a_failed_group_leaves_the_former_one_whole_or_removes_it(storage: Storage, place: Place) -> None:
    storage.write_group("run_1.zarr", in_parts(GROUP))
    with pytest.raises(RuntimeError, match="broken off"):
        storage.write_group("run_1.zarr", in_parts(interrupted([("a/c/0/0", b"new")], RuntimeError("broken off"))))
    assert place.files() in ({}, under("run_1.zarr", GROUP))


def test_a_failed_local_group_leaves_the_former_one_whole(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    open_storage(tmp_path).write_group("run_1.zarr", in_parts(GROUP))
    with pytest.raises(RuntimeError, match="broken off"):
        open_storage(tmp_path).write_group("run_1.zarr", in_parts(interrupted(GROUP[:2], RuntimeError("broken off"))))
    assert place.files() == under("run_1.zarr", GROUP)


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["s3-obstore", "s3-s3fs"])
def test_a_put_that_the_server_refuses_leaves_nothing_of_the_group(kind: str, request: pytest.FixtureRequest) -> None:
    place = make_place(kind, request)
    storage = open_storage(place.root, place.options)
    storage.write_group("run_1.zarr", in_parts(GROUP))
    too_long = [*GROUP[:2], ("x" * 1100, b"S3 keys end at 1024 bytes")]
    with pytest.raises(StorageError, match=r"cannot write s3://bucket/.*/run_2\.zarr/xxx"):
        storage.write_group("run_2.zarr", in_parts(too_long))
    assert place.files() == under("run_1.zarr", GROUP)


def test_the_former_local_group_exists_until_it_is_replaced(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    versions = [[("zarr.json", bytes([i])), *((f"{i}", b"x") for i in range(20))] for i in range(2)]
    seen: set[bytes | None] = set()

    def replaced(turn: int) -> Iterator[tuple[str, bytes]]:
        for pair in versions[turn % 2]:
            seen.add(storage.read_if_there("run_1.zarr/zarr.json"))
            yield pair

    for turn in range(4):
        storage.write_group("run_1.zarr", in_parts(replaced(turn)))
    assert seen == {None, b"\0", b"\1"}


def test_in_object_storage_the_root_is_deleted_first_and_written_last(tmp_path: Path) -> None:
    states = WatchedMemory.states
    states.clear()
    storage = open_storage(f"watchedmemory://{tmp_path.name}")
    for _ in range(2):
        storage.write_group("run_1.zarr", in_parts(GROUP))
    whole = {f"/{tmp_path.name}/run_1.zarr/{key}" for key, _ in GROUP}
    assert len(states) == 2 * len(GROUP) + 1
    assert [state for state in states if any(key.endswith("run_1.zarr/zarr.json") for key in state)] == [whole, whole]


@pytest.mark.parametrize("n_first", range(len(GROUP) + 1))
@pytest.mark.parametrize("n_second", [0, 1, 2, None], ids=lambda n: "whole" if n is None else f"breaks off after {n}")
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
def test_two_writers_of_the_same_group_leave_it_whole_or_missing(
    request: pytest.FixtureRequest, n_first: int, n_second: int | None, is_there: bool
) -> None:
    place = make_place("memory", request)
    storage = open_storage(place.root)
    if is_there:
        storage.write_group("run_1.zarr", in_parts(GROUP))

    def first() -> Iterator[tuple[str, bytes]]:
        yield from GROUP[:n_first]
        second = GROUP if n_second is None else interrupted(GROUP[:n_second], RuntimeError("broken off"))
        with suppress(RuntimeError):
            storage.write_group("run_1.zarr", in_parts(second))
        yield from GROUP[n_first:]

    with suppress(StorageError):
        storage.write_group("run_1.zarr", in_parts(first()))
    if "run_1.zarr/zarr.json" in place.files():
        assert place.files() == under("run_1.zarr", GROUP)


def test_many_threads_that_write_one_group_leave_it_whole(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    versions = [[(f"{name}", bytes([i]) * 100) for name in ("a", "b", "zarr.json")] for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda objects: storage.write_group("run_1.zarr", in_parts(objects)), versions * 4))
    assert local_place(tmp_path).files() in [under("run_1.zarr", objects) for objects in versions]


def test_an_object_is_deleted_only_while_it_has_the_given_bytes(storage: Storage, place: Place) -> None:
    storage.update("m.json", lambda _: b"mine")
    storage.delete_if_same("m.json", b"theirs")
    assert storage.read_if_there("m.json") == b"mine"
    storage.delete_if_same("m.json", b"mine")
    storage.delete_if_same("m.json", b"mine")
    assert place.files() == {}


def test_a_local_place_that_another_process_locks_for_too_long_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noether.data.zarr_store.stores.locks._LOCK_SECONDS", 0.05)
    inner = open_storage(tmp_path)

    def update_within(current: bytes | None) -> bytes:
        inner.update("m.json", lambda _: b"inner")
        return b"outer"

    with pytest.raises(StorageError, match=r"m\.json: locked by another process for over .* s; wait for it to end"):
        open_storage(tmp_path).update("m.json", update_within)


def test_a_counting_store_counts_requests_bytes_and_keys(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(8,), chunks=(4,), dtype="u1", compressors=None, fill_value=9)[:] = 1
    traffic = Traffic()
    array = zarr.open_array(CountingStore(make_store(tmp_path / "a.zarr", read_only=True), traffic), mode="r")
    metadata = traffic.n_bytes
    array[0:4]
    assert (traffic.requests, traffic.n_bytes - metadata, traffic.keys[-1]) == (len(traffic.keys), 4, "c/0")
