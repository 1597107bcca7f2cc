"""Every request to object storage, through a network with injected faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, open_storage
from support.effort import in_full_mode
from support.faulty_proxy import FAULTS, FaultyProxy, Script, faulty_proxy
from support.lanes import few_fast
from support.s3_server import S3Server

DATA = bytes(range(256)) * 40
# Three parts of an upload.
LARGE_PARTS = [bytes([number]) * (1 << 20) for number in range(20)]
# Short waits for the tests.
BACKOFF = {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)}
SHORT_WAITS: dict[str, Any] = {"retry_config": {"max_retries": 6, "backoff": BACKOFF}}
SHORT_TIMEOUT: dict[str, Any] = {"client_options": {"timeout": timedelta(seconds=0.4), "allow_http": True}}
BOTH = ("obstore", "obstore in a forked process")
KINDS = BOTH if in_full_mode() else BOTH[:1]
UPLOAD_FAULTS = FAULTS if in_full_mode() else ("cut and reset", "drop answer", "repeat")


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def direct(s3_server: S3Server, s3_root: str) -> Storage:
    """The same storage, without the proxy."""
    storage = open_storage(s3_root, s3_server.obstore_options)
    storage.write("a", DATA)
    return storage


@pytest.fixture
def storage(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, direct: Storage, proxy: FaultyProxy
) -> Iterator[Storage]:
    if request.param != BOTH[0]:
        # A process that was forked from a process that uses obstore.
        monkeypatch.setattr("noether.data.zarr_store.stores.bucket._user", os.getppid())
    yield open_storage(direct.root, proxy.server.obstore_options | SHORT_WAITS)
    proxy.stop_faults()


def append(byte: bytes) -> Callable[[bytes | None], bytes]:
    return lambda current: (current or b"") + byte


def all_requests(storage: Storage, direct: Storage) -> None:
    """Send each kind of request, and check the result without the proxy."""
    assert storage.read_if_there("a") == DATA
    assert storage.read_range("a", 100, 3000) == DATA[100:3100]
    assert storage.read_tail("a", 700) == (DATA[-700:], len(DATA))
    assert storage.read_if_there("none") is None
    assert [(item.key, item.size) for item in storage.objects()] == [("a", len(DATA))]
    storage.write("b", DATA[:999])
    assert direct.read_if_there("b") == DATA[:999]
    storage.delete(["b", "none"])
    assert direct.read_if_there("b") is None
    for byte in (b"x", b"y", b"z"):
        storage.update("m.json", append(byte))
    assert direct.read_if_there("m.json") == b"xyz"
    storage.write_group("g.zarr", [("c/0/0", iter([b"one", b"two"])), ("zarr.json", [b"root"])])
    assert direct.read_if_there("g.zarr/c/0/0") == b"onetwo"


@pytest.mark.parametrize("storage", few_fast(BOTH, others=pytest.mark.faults), indirect=True)
@pytest.mark.parametrize("fault", few_fast(FAULTS, 3, others=pytest.mark.faults))
def test_requests_succeed_after_a_temporary_fault(
    fault: str, storage: Storage, direct: Storage, proxy: FaultyProxy
) -> None:
    """Each kind of request is retried until the fault has passed."""
    proxy.play(Script([fault], limit=2))
    all_requests(storage, direct)
    assert {one.fault for one in proxy.stop_faults()} == {fault, None}


@pytest.mark.faults
def test_an_unanswered_request_is_sent_again(direct: Storage, proxy: FaultyProxy) -> None:
    """The request is retried after its timeout."""
    storage = open_storage(direct.root, proxy.server.obstore_options | SHORT_WAITS | SHORT_TIMEOUT)
    proxy.play(Script(["stall"], pattern="/(a|m.json)$|delete"))
    all_requests(storage, direct)
    assert "stall" in {one.fault for one in proxy.stop_faults()}


@pytest.mark.faults
@pytest.mark.parametrize("storage", BOTH, indirect=True)
@pytest.mark.parametrize("seed", range(20 if in_full_mode() else 4))
def test_requests_survive_a_sequence_of_all_faults(
    seed: int, storage: Storage, direct: Storage, proxy: FaultyProxy
) -> None:
    # The rest of a truncated body may be a separate request, which obstore does not retry.
    proxy.play(Script(FAULTS, seed=seed, chance=0.7, limit=3))
    all_requests(storage, direct)


READS: dict[str, Callable[[Storage], object]] = {
    "whole": lambda storage: storage.read_if_there("a"),
    "range": lambda storage: storage.read_range("a", 100, 3000),
    "tail": lambda storage: storage.read_tail("a", 700),
}
CHANGES: dict[str, Callable[[Storage], object]] = {
    "write": lambda storage: storage.write("a", b"x"),
    "update": lambda storage: storage.update("a", append(b"x")),
}


@pytest.mark.parametrize("storage", few_fast(KINDS, others=pytest.mark.faults), indirect=True)
@pytest.mark.parametrize(
    "fault", few_fast(["drop", "reset", "500", "503", "cut", "cut and reset"], others=pytest.mark.faults)
)
@pytest.mark.parametrize("what", READS)
def test_a_failing_read_names_the_object_and_the_tries(
    what: str, fault: str, storage: Storage, proxy: FaultyProxy
) -> None:
    proxy.play(Script([fault], limit=None))
    with pytest.raises(StorageError, match=rf"cannot read {storage.root}/a: .*; tried \d+ times in \d"):
        READS[what](storage)
    # For a body that is always truncated, obstore requests the rest repeatedly, and retries that, too.
    assert 7 <= len(proxy.stop_faults()) <= 7 * 7


@pytest.mark.parametrize("storage", few_fast(KINDS, others=pytest.mark.faults), indirect=True)
@pytest.mark.parametrize("fault", few_fast(["drop", "reset", "500", "503"], others=pytest.mark.faults))
@pytest.mark.parametrize("what", CHANGES)
def test_a_failing_change_changes_nothing(
    what: str, fault: str, storage: Storage, direct: Storage, proxy: FaultyProxy
) -> None:
    proxy.play(Script([fault], limit=None, methods="PUT"))
    with pytest.raises(StorageError, match=rf"cannot write {storage.root}/a: .*; tried 7 times in \d"):
        CHANGES[what](storage)
    assert [one.method for one in proxy.stop_faults()].count("PUT") == 7
    assert direct.read_if_there("a") == DATA


@pytest.mark.parametrize("storage", few_fast(KINDS, others=pytest.mark.faults), indirect=True)
@pytest.mark.parametrize("what", few_fast([*READS, *CHANGES], others=pytest.mark.faults))
def test_a_forbidden_request_is_not_retried(what: str, storage: Storage, proxy: FaultyProxy) -> None:
    proxy.play(Script(["403"], limit=None))
    with pytest.raises(StorageError, match=r"cannot (read|write) .*/a: ") as raised:
        (READS | CHANGES)[what](storage)
    assert "tried" not in str(raised.value)
    assert len(proxy.stop_faults()) == 1


@pytest.mark.faults
@pytest.mark.parametrize("storage", KINDS, indirect=True)
def test_a_missing_object_is_not_retried(storage: Storage, proxy: FaultyProxy) -> None:
    proxy.stop_faults()
    assert storage.read_if_there("none") is None
    assert len(proxy.stop_faults()) == 1


@pytest.mark.faults
def test_a_missing_bucket_is_not_retried(proxy: FaultyProxy) -> None:
    storage = open_storage("s3://no-such-bucket/store", proxy.server.obstore_options)
    proxy.stop_faults()
    with pytest.raises(StorageError, match="cannot list s3://no-such-bucket/store"):
        list(storage.objects())
    assert len(proxy.stop_faults()) == 1


def uploads_under_way(server: S3Server, key: str) -> bool:
    with urlopen(f"{server.endpoint}/{server.bucket}?uploads", timeout=10) as answer:
        return key in answer.read().decode()


@pytest.mark.parametrize("storage", few_fast(KINDS, others=pytest.mark.faults), indirect=True)
@pytest.mark.parametrize("fault", few_fast(UPLOAD_FAULTS, others=pytest.mark.faults))
def test_a_multipart_upload_is_complete_or_leaves_nothing(
    fault: str, storage: Storage, direct: Storage, proxy: FaultyProxy, s3_server: S3Server
) -> None:
    key = f"{direct.root.removeprefix(f's3://{s3_server.bucket}/')}/g.zarr/c/0/0"
    proxy.play(Script([fault], pattern="partNumber=[13]"))
    storage.write_group("g.zarr", [("c/0/0", iter(LARGE_PARTS)), ("zarr.json", [b"root"])])
    assert {one.fault for one in proxy.stop_faults()} == {fault, None}
    assert direct.read_if_there("g.zarr/c/0/0") == b"".join(LARGE_PARTS)
    assert not uploads_under_way(s3_server, key)


@pytest.mark.faults
@pytest.mark.parametrize("storage", KINDS, indirect=True)
@pytest.mark.parametrize("pattern", ["partNumber=2", "uploads", "uploadId=[^&]*$"], ids=["part", "begin", "end"])
def test_a_failing_multipart_upload_leaves_nothing(
    pattern: str, storage: Storage, direct: Storage, proxy: FaultyProxy, s3_server: S3Server
) -> None:
    key = f"{direct.root.removeprefix(f's3://{s3_server.bucket}/')}/g.zarr/c/0/0"
    # A DELETE aborts the upload.
    proxy.play(Script(["503"], limit=None, pattern=pattern, methods="PUT POST"))
    with pytest.raises(StorageError, match=rf"cannot write {storage.root}/g.zarr/c/0/0: "):
        storage.write_group("g.zarr", [("c/0/0", iter(LARGE_PARTS)), ("zarr.json", [b"root"])])
    assert [item.key for item in direct.objects()] == ["a"]
    assert not uploads_under_way(s3_server, key)
