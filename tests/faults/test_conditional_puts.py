"""Object storage without conditional puts: only one machine at a time may write, and one warning says so."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, StorageWarning, open_storage
from support.ahmed import AHMED, RUNS
from support.faulty_proxy import FaultyProxy, Script, faulty_proxy
from support.forks import in_fork
from support.s3_server import S3Server
from support.trees import call, finish, start

# The answer of a server without conditional puts, at every request.
NO_CONDITIONS = Script(["501"], limit=None, methods="PUT", header="^if-(none-)?match:")
# Settings with which obstore sends no conditions, and servers that refuse conditions.
WAYS: dict[str, dict[str, Any]] = {"refused": {}, "disabled": {"conditional_put": "disabled"}}
WARNING = (
    "this storage has no conditional writes. Let only one machine write to the store at a time: two can lose each "
    "other's samples; noether-zarr merge recovers them."
)


@pytest.fixture(scope="module")
def module_proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def proxy(module_proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    module_proxy.play(NO_CONDITIONS)
    yield module_proxy
    module_proxy.stop_faults()


@pytest.fixture
def direct(s3_server: S3Server, s3_root: str) -> Storage:
    """The same storage, without the proxy."""
    return open_storage(s3_root, s3_server.obstore_options)


def append(byte: bytes) -> Callable[[bytes | None], bytes]:
    return lambda current: (current or b"") + byte


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("user", ["this process", "a forked process"])
def test_an_unconditional_change_warns_once(
    way: str, user: str, proxy: FaultyProxy, direct: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without conditional puts still takes the change."""
    if user != "this process":
        monkeypatch.setattr("noether.data.zarr_store.stores.bucket._user", os.getppid())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StorageWarning)
        for byte in (b"x", b"y", b"z"):
            open_storage(direct.root, proxy.server.obstore_options | WAYS[way]).update("m.json", append(byte))
    assert direct.read_if_there("m.json") == b"xyz"
    assert [str(one.message) for one in caught] == [f"{direct.root}: {WARNING}"]
    # A server that has refused a condition is not asked again.
    assert [one.fault for one in proxy.stop_faults()].count("501") == (way == "refused")


@pytest.mark.filterwarnings("ignore:.*no conditional writes")
@pytest.mark.parametrize("way", WAYS)
def test_concurrent_changes_of_one_machine_lose_nothing(way: str, proxy: FaultyProxy, direct: Storage) -> None:
    def add(_: int) -> None:
        open_storage(direct.root, proxy.server.obstore_options | WAYS[way]).update("m.json", append(b"x"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    assert direct.read_if_there("m.json") == b"x" * 12


@pytest.mark.filterwarnings("ignore:.*no conditional writes")
def test_a_change_by_another_machine_is_detected(proxy: FaultyProxy, direct: Storage) -> None:
    storage = open_storage(direct.root, proxy.server.obstore_options)
    storage.update("m.json", append(b"x"))
    seen: list[bytes | None] = []

    def change(current: bytes | None) -> bytes:
        seen.append(current)
        if len(seen) == 1:
            direct.write("m.json", b"xtheirs")
        return append(b"ours")(current)

    storage.update("m.json", change)
    assert direct.read_if_there("m.json") == b"xtheirsours"
    assert seen == [b"x", b"xtheirs"]


@pytest.mark.filterwarnings("ignore:.*no conditional writes")
def test_a_write_that_is_not_implemented_is_not_retried(module_proxy: FaultyProxy, direct: Storage) -> None:
    storage = open_storage(direct.root, module_proxy.server.obstore_options)
    module_proxy.play(Script(["501"], limit=None, methods="PUT"))
    with pytest.raises(StorageError, match=r"cannot write .*/a: .*501 Not Implemented") as raised:
        storage.write("a", b"x")
    assert "tried" not in str(raised.value)
    assert [one.fault for one in module_proxy.stop_faults()] == ["501"]


@pytest.mark.s3
@pytest.mark.parametrize("way", WAYS)
def test_a_conversion_first_warns_of_missing_conditional_puts(way: str, proxy: FaultyProxy, direct: Storage) -> None:
    options = proxy.server.obstore_options | WAYS[way]
    flags = [f"--storage-option={key}={value}" for key, value in options.items()]
    running = [
        start("convert", AHMED, direct.root, "--preset", "ahmedml", "--overwrite", "--part", part, *flags)
        for part in ("1/2", "2/2")
    ]
    for ran in [finish(one) for one in running]:
        assert ran.code == 0, ran
        first, *others = ran.stderr.splitlines()
        assert first == f"warning: {direct.root}: {WARNING}"
        assert not any("warning" in line.lower() for line in others)
    found = StoreManifest.load(direct.root, storage_options=proxy.server.obstore_options)
    assert list(found.samples) == list(RUNS)


def test_a_server_with_conditional_puts_causes_no_warning(s3_server: S3Server, direct: Storage) -> None:
    flags = [f"--storage-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    ran = call("convert", AHMED, direct.root, "--preset", "ahmedml", "--workers", 0, "--limit", 1, *flags)
    assert (ran.code, "warning" in ran.stderr) == (0, False)


def test_a_forked_process_probes_the_server_again(proxy: FaultyProxy, direct: Storage) -> None:
    storage = open_storage(direct.root, proxy.server.obstore_options)

    def update() -> bytes | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StorageWarning)
            storage.update("m.json", append(b"x"))
        return storage.read_if_there("m.json")

    assert in_fork(update) == b"x"
