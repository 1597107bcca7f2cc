"""One DEBUG line per request, without URLs and options, which can hold secrets."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.stores import CountingStore, Storage, Traffic, make_store, open_storage
from support.counting_proxy import counting_proxy
from support.damage import flip
from support.faulty_proxy import FaultyProxy, Script, faulty_proxy
from support.reading import write_runs
from support.s3_server import S3Server

LOGGER = "noether.data.zarr_store"
LINE = re.compile(r"(read|look for|write|delete|list) .+: ([\d,]+ bytes|done|failed, .+) in \d+\.\d ms, try \d+")
SHORT_WAITS = {"retry_config": {"max_retries": 3, "backoff": {"init_backoff": timedelta(milliseconds=2)}}}
DRAW = {"volume": 5000, "surface": 100}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the lines since the last call."""
    caplog.set_level(logging.DEBUG, LOGGER)

    def new_lines() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        assert all(record.levelno == logging.DEBUG and record.name.startswith(LOGGER) for record in caplog.records)
        assert [line for line in found if not LINE.fullmatch(line)] == []
        caplog.clear()
        return found

    return new_lines


@pytest.mark.usefixtures("compiled_or_not")
def test_each_read_of_a_local_store_is_a_line(tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    write_runs(tmp_path / "store", "run_1", chunk_points=256)
    lines()
    reader = ZarrChunkReader(tmp_path / "store")
    assert [line.partition(":")[0] for line in lines()] == ["read manifest.json"]
    reader.read_arrays("run_1", DRAW, 0)
    counted, found = reader.io_statistics(), lines()
    assert len(found) == counted.requests + counted.metadata_requests
    n_bytes = [int(line.rpartition(" bytes in")[0].rpartition(" ")[2].replace(",", "")) for line in found]
    assert sum(n_bytes) == counted.n_bytes + counted.metadata_bytes
    chunks = [line for line in found if "/c/" in line and "last" not in line]
    assert re.match(r"read run_1.zarr/surface/position/c/0/0, bytes \d+ to \d+: [\d,]+ bytes in ", chunks[0])


@pytest.mark.usefixtures("compiled_or_not")
def test_a_range_with_a_damaged_chunk_is_one_line(tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    flip("run_1.zarr/volume/pressure/c/0/0", -2000)(root)
    reader = ZarrChunkReader(root)
    reader.cost("run_1", None, ["volume_pressure"])
    lines()
    with pytest.raises(CorruptDataError):
        reader.read_arrays("run_1", fields=["volume_pressure"])
    assert len(lines()) == reader.io_statistics().requests == 1


def test_reads_by_zarr_python_are_logged_too(tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    write_runs(tmp_path / "store", "run_1", chunk_points=256)
    traffic = Traffic()
    reader = ZarrChunkReader(tmp_path / "store", store_factory=lambda path: CountingStore(make_store(path), traffic))
    lines()
    reader.read_arrays("run_1", DRAW, 0)
    found = lines()
    assert len(found) == traffic.requests
    assert all(key in line for key, line in zip(traffic.keys, found, strict=True))


def test_nothing_is_logged_above_the_debug_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    write_runs(tmp_path / "store", "run_1", chunk_points=256)
    ZarrChunkReader(tmp_path / "store").read_arrays("run_1", DRAW, 0)
    assert caplog.records == []


def test_the_library_installs_no_handler() -> None:
    """Without a handler, Python prints warnings on stderr, such as warnings of skipped samples."""
    code = f"""
import logging
import noether.data.zarr_store.datasets, noether.data.zarr_store.writer
names = [name for name in logging.root.manager.loggerDict if name.startswith({LOGGER!r})]
print([name for name in names if logging.getLogger(name).handlers], logging.root.handlers)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[] []"


def send_all(storage: Storage) -> None:
    """Send each kind of request."""
    storage.write("a", b"0123456789")
    assert storage.read_if_there("a") == b"0123456789"
    assert bytes(storage.read_range("a", 2, 3)) == b"234"
    assert storage.read_tail("a", 4) == (b"6789", 10)
    assert storage.read_if_there("none") is None
    assert [item.key for item in storage.objects()] == ["a"]
    storage.update("a", lambda _: b"new")
    storage.delete(["a"])


def test_each_request_to_object_storage_is_a_line(
    s3_server: S3Server, s3_root: str, lines: Callable[[], list[str]]
) -> None:
    with counting_proxy(s3_server.endpoint) as proxy:
        storage = open_storage(s3_root, replace(s3_server, endpoint=proxy.endpoint).obstore_options)
        open_storage(s3_root, s3_server.obstore_options).write("a", b"0123456789")
        lines()
        proxy.handled.clear()
        assert bytes(storage.read_range("a", 2, 3)) == b"234"
        assert storage.read_tail("a", 4) == (b"6789", 10)
        assert storage.read_if_there("none") is None
        assert [item.key for item in storage.objects()] == ["a"]
        found = [line.partition(" in ")[0] for line in lines()]
        assert len(found) == len(proxy.handled)
    assert found == [
        "read a, bytes 2 to 5: 3 bytes",
        "read a, its last 4 bytes: 4 bytes",
        "read none: failed, status 404 Not Found",
        "list the root: done",
    ]


@pytest.fixture
def faulty(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


def test_each_try_is_a_line_with_its_number_and_the_status(
    s3_server: S3Server, s3_root: str, faulty: FaultyProxy, lines: Callable[[], list[str]]
) -> None:
    open_storage(s3_root, s3_server.obstore_options).write("a", b"0123456789")
    storage = open_storage(s3_root, faulty.server.obstore_options | SHORT_WAITS)
    lines()
    faulty.play(Script(["503"], limit=2))
    storage.read_range("a", 2, 3)
    assert len(faulty.stop_faults()) == 3
    assert [re.sub(r"\d+\.\d", "?", line) for line in lines()] == [
        "read a, bytes 2 to 5: failed, status 503 Service Unavailable in ? ms, try 1",
        "read a, bytes 2 to 5: failed, status 503 Service Unavailable in ? ms, try 2",
        "read a, bytes 2 to 5: 3 bytes in ? ms, try 3",
    ]


@pytest.mark.parametrize("kind", ["obstore", pytest.param("s3fs", marks=pytest.mark.s3)])
def test_no_secret_is_logged(kind: str, s3_server: S3Server, s3_root: str, lines: Callable[[], list[str]]) -> None:
    options: dict[str, Any] = getattr(s3_server, f"{kind}_options")
    storage = open_storage(s3_root, options)
    send_all(storage)
    found = lines()
    assert len(found) >= 8
    secrets = [str(value) for name, value in options.items() if "key" in name or "secret" in name]
    assert len(secrets) >= 2
    assert not any(secret in line for secret in (*secrets, s3_server.endpoint) for line in found)


def test_credentials_in_a_url_are_not_logged(lines: Callable[[], list[str]]) -> None:
    storage = open_storage("http://ann:pa55word@127.0.0.1:9/bucket?token=t0ken", {**SHORT_WAITS})
    with pytest.raises(StorageError):
        storage.read_range("a", 0, 3)
    found = lines()
    assert [line.partition(" in ")[0] for line in found] == ["read a, bytes 0 to 3: failed, GenericError"] * 4
    assert not any(secret in line for secret in ("ann", "pa55word", "t0ken", "127.0.0.1") for line in found)
