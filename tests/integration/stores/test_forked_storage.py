"""Storage in forked processes, and the server process that sends their requests to object storage."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, StorageError, StoreError
from noether.data.zarr_store.stores import Storage, open_storage
from support.ahmed import AHMED_FILEMAP, load_run
from support.forks import children, has_ended, in_fork, in_fork_that_stays
from support.s3_server import S3Server

pytestmark = [
    pytest.mark.s3,
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

KEY = "run_1.zarr/zarr.json"


@pytest.fixture
def storage(s3_server: S3Server, s3_root: str) -> Storage:
    """Return a storage that this process has written to."""
    storage = open_storage(s3_root, s3_server.obstore_options)
    storage.write(KEY, b"root")
    return storage


@contextmanager
def staying(work: Callable[[], Any]) -> Iterator[tuple[int, Any]]:
    """Yield the id of a forked process and the result of its work. The process is killed at the end."""
    pid, result = in_fork_that_stays(work)
    try:
        yield pid, result
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def server_of_this() -> int:
    [server] = children()
    return server


def read_and_find_server(storage: Storage) -> int:
    assert storage.read_if_there(KEY) == b"root"
    return server_of_this()


def test_all_storages_and_threads_of_a_forked_process_share_one_server(storage: Storage, s3_server: S3Server) -> None:
    def read() -> list[int]:
        for _ in range(3):
            assert open_storage(storage.root, s3_server.obstore_options).read_range(KEY, 1, 2) == b"oo"
        return [*children(), read_and_find_server(storage)]

    first, second = in_fork(read)
    assert first == second


def test_the_server_ends_with_the_process_that_started_it_and_leaves_no_zombie(storage: Storage) -> None:
    server = in_fork(lambda: read_and_find_server(storage))
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_the_server_ends_when_its_process_is_killed(storage: Storage) -> None:
    with staying(lambda: read_and_find_server(storage)) as (pid, server):
        assert children(pid) == [server]
    assert has_ended(server)


def test_the_server_ends_although_a_later_fork_lives_on(storage: Storage) -> None:
    def read_and_fork() -> tuple[int, int]:
        server = read_and_find_server(storage)
        other, _ = in_fork_that_stays(lambda: None)
        return server, other

    with staying(read_and_fork) as (_, (server, other)):
        pass
    assert has_ended(server)
    os.kill(other, signal.SIGKILL)


def test_ctrl_c_on_the_terminal_does_not_reach_the_server(storage: Storage) -> None:
    def interrupt_all() -> bytes | None:
        os.setpgid(0, 0)
        server = read_and_find_server(storage)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.killpg(0, signal.SIGINT)
        assert read_and_find_server(storage) == server
        return storage.read_if_there(KEY)

    assert in_fork(interrupt_all) == b"root"


def test_after_a_kill_of_the_server_one_read_fails_and_the_next_works(storage: Storage) -> None:
    def kill_and_read() -> tuple[str, bytes | None]:
        os.kill(read_and_find_server(storage), signal.SIGKILL)
        with pytest.raises(StorageError) as caught:
            storage.read_range(KEY, 0, 4)
        return str(caught.value), storage.read_if_there(KEY)

    message, data = in_fork(kill_and_read)
    assert f"cannot read {storage.root}/{KEY}: the process" in message
    assert "has ended, with exit code -9; try again" in message
    assert data == b"root"


def test_the_server_has_no_options_on_its_command_line_or_in_its_environment(
    storage: Storage, s3_server: S3Server
) -> None:
    options = s3_server.obstore_options | {"secret_access_key": "a-secret-indeed"}

    def public() -> bytes:
        assert open_storage(storage.root, options).read_if_there(KEY) == b"root"
        server = Path(f"/proc/{server_of_this()}")
        return (server / "cmdline").read_bytes() + (server / "environ").read_bytes()

    assert b"a-secret-indeed" not in in_fork(public)


def errors_of(storage: Storage, options: dict[str, Any]) -> list[tuple[type[StoreError], str]]:
    """Return the errors of several failing requests."""
    dead = options | {"endpoint": "http://127.0.0.1:9", "retry_config": {"max_retries": 0}}
    attempts: list[Callable[[], object]] = [
        lambda: storage.read_range("nowhere", 0, 4),
        lambda: storage.write("x" * 1100, b"S3 keys end at 1024 bytes"),
        lambda: open_storage(storage.root, dead).read_if_there(KEY),
        lambda: open_storage(storage.root, options | {"colour": "red"}),
    ]
    errors = []
    for attempt in attempts:
        with pytest.raises(StoreError) as caught:
            attempt()
        errors.append((caught.type, str(caught.value).split(" in ")[0]))  # without the duration
    return errors


def test_errors_are_those_of_a_process_that_was_not_forked(storage: Storage, s3_server: S3Server) -> None:
    errors = in_fork(lambda: errors_of(storage, s3_server.obstore_options))
    assert errors == errors_of(storage, s3_server.obstore_options)
    assert [kind for kind, _ in errors] == [StorageError, StorageError, StorageError, ArgumentError]


def test_a_large_upload_that_fails_leaves_none_of_its_parts_for_the_next_request(storage: Storage) -> None:
    def fail_and_read() -> bytes | None:
        with pytest.raises(StorageError, match="400 Bad Request"):
            storage.write_group("run_2.zarr", [("x" * 1100, iter([bytes(1 << 20)] * 40))])
        return storage.read_if_there(KEY)

    assert in_fork(fail_and_read) == b"root"


class Credentials:
    """A provider of credentials for obstore, which another process cannot import."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("credentials stay here")

    def __call__(self) -> dict[str, Any]:
        return {"access_key_id": "any", "secret_access_key": "any", "expires_at": None}


def test_unpicklable_options_are_refused_only_in_a_forked_process(storage: Storage, s3_server: S3Server) -> None:
    options = {"endpoint": s3_server.endpoint, "region": "us-east-1", "credential_provider": Credentials()}
    assert open_storage(storage.root, options).read_if_there(KEY) == b"root"

    def refused() -> str:
        with pytest.raises(ArgumentError) as caught:
            open_storage(storage.root, options)
        return str(caught.value)

    assert "credentials stay here); leave out such options, or start processes by 'spawn'" in in_fork(refused)


@pytest.mark.parametrize("kind", ["obstore", "s3fs"])
def test_a_forked_process_writes_with_the_writer_of_its_parent(kind: str, s3_server: S3Server, s3_root: str) -> None:
    options = s3_server.obstore_options if kind == "obstore" else s3_server.s3fs_options
    writer = ZarrStoreWriter(s3_root, AHMED_FILEMAP, "ahmed", chunk_points=512, storage_options=options)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()

    def write() -> None:
        writer.write_sample("run_2", load_run("run_2"))
        writer.save_manifest()

    in_fork(write)
    reader = ZarrChunkReader(s3_root, storage_options=options)
    assert list(reader.manifest.samples) == ["run_1", "run_2"]
    for run in reader.manifest.samples:
        position = reader.read_arrays(run, fields=["volume_position"], order="original")["volume_position"]
        np.testing.assert_array_equal(position, load_run(run)["volume_position"])


def test_a_process_forked_during_an_update_can_update(tmp_path: Path) -> None:
    storage = open_storage(f"memory://{tmp_path.name}")

    def update_in_fork(_: bytes | None) -> bytes:
        def update() -> bytes | None:
            storage.update("theirs", lambda _: b"updated")
            return storage.read_if_there("theirs")

        return in_fork(update) or b""

    storage.update("ours", update_in_fork)
    assert storage.read_if_there("ours") == b"updated"


@pytest.mark.parametrize(
    ("options", "inherited"),
    [
        ("obstore_options", lambda storage: storage._opened._bucket),
        ("obstore_options", lambda storage: storage.zarr_store("run_1.zarr", read_only=True).store),
        ("s3fs_options", lambda storage: storage._opened),
        ("s3fs_options", lambda storage: storage.zarr_store("run_1.zarr", read_only=True).fs),
    ],
    ids=["obstore", "zarr through obstore", "s3fs", "zarr through s3fs"],
)
def test_a_forked_process_never_destroys_inherited_objects(
    s3_server: S3Server, s3_root: str, options: str, inherited: Callable[[Any], object]
) -> None:
    # The effect of a destruction is random: one process in 200 hung, or the parent waited for 15 s.
    held: list[Any] = [open_storage(s3_root, getattr(s3_server, options))]
    held.append(inherited(held[0]))
    watched = weakref.ref(held[1])

    def let_go() -> bool:
        held.clear()
        # fsspec keeps its file systems until it opens another.
        open_storage(s3_root, getattr(s3_server, options))
        gc.collect()
        return watched() is not None

    assert in_fork(let_go)
