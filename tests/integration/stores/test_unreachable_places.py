"""Storages that cannot be reached: a host without an address, a missing bucket, a closed port."""

from __future__ import annotations

import os
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import fsspec_store, open_storage
from support.s3_server import S3Server
from support.trees import call, save_runs

# A name that never resolves (RFC 2606).
HOST = "no-such-host.invalid"
NOWHERE = {
    "obstore": S3Server(f"http://{HOST}:9000").obstore_options,
    "s3fs": S3Server(f"http://{HOST}:9000").s3fs_options,
}
PRESET = ("--preset", "ahmedml", "--workers", "0")


def flags(options: dict[str, Any]) -> list[str]:
    return [f"--storage-option={key}={value}" for key, value in options.items()]


def unknown_host(*_: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture(autouse=True)
def _names_looked_up_anew() -> None:
    fsspec_store._look_up.cache_clear()


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source whose samples must not be loaded."""

    def refuse(source: TreeSource, sample_id: str) -> None:
        raise AssertionError(sample_id)

    monkeypatch.setattr(TreeSource, "load", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("user", ["this process", "a forked process"])
def test_a_host_without_an_address_is_named_after_a_few_tries(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if user != "this process":
        monkeypatch.setattr("noether.data.zarr_store.stores.bucket._user", os.getppid())
    storage = open_storage("s3://bucket/store", NOWHERE["obstore"])
    with pytest.raises(StorageError, match=r"cannot read s3://bucket/store/manifest\.json: ") as raised:
        storage.read_if_there("manifest.json")
    assert str(raised.value).endswith(
        f"; the host name {HOST} does not resolve; check the URL, and the endpoint in storage_options"
    )
    # obstore would try eleven times, which takes half a minute.
    tried = re.search(r"tried (\d+) times", str(raised.value))
    assert tried is None or int(tried[1]) < 11


def test_s3fs_does_not_look_for_a_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    with pytest.raises(StorageError) as raised:
        open_storage("s3://bucket/store", NOWHERE["s3fs"])
    assert str(raised.value) == (
        f"cannot open s3://bucket/store: the host name {HOST} does not resolve; check endpoint_url in storage_options"
    )


@pytest.mark.parametrize("why", ["the name server is busy", "a proxy looks names up"])
def test_a_host_that_does_not_resolve_yet_is_left_to_s3fs(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    if why == "a proxy looks names up":
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host if "proxy" in why else busy)
    assert open_storage("s3://bucket/store", NOWHERE["s3fs"]).root == "s3://bucket/store"


@pytest.mark.slow
@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("driver", NOWHERE)
def test_a_conversion_to_a_host_without_an_address_ends_before_the_first_sample(tmp_path: Path, driver: str) -> None:
    tree = save_runs(tmp_path / "tree")
    ran = call("convert", tree, "s3://bucket/store", *PRESET, *flags(NOWHERE[driver]))
    assert ran.code == 1
    assert ran.stderr.startswith("error: cannot ")
    assert driver == "s3fs" or f"the host name {HOST} does not resolve; check " in ran.stderr


def test_a_closed_port_is_tried_as_often_as_the_options_allow() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        options = S3Server(f"http://127.0.0.1:{closed.getsockname()[1]}").obstore_options
        backoff = {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)}
        options["retry_config"] = {"max_retries": 6, "backoff": backoff}
        storage = open_storage("s3://bucket/store", options)
        with pytest.raises(StorageError, match=r"cannot read .*; tried 7 times in") as raised:
            storage.read_if_there("manifest.json")
    assert "does not resolve" not in str(raised.value)


@pytest.mark.s3
@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
def test_the_error_for_a_missing_bucket_names_it(s3_server: S3Server, driver: str) -> None:
    options = s3_server.obstore_options if driver == "obstore" else s3_server.s3fs_options
    storage = open_storage("s3://no-such-bucket/store", options)
    with pytest.raises(StorageError) as raised:
        storage.update("manifest.json", lambda _: b"x")
    assert str(raised.value) == (
        "cannot write s3://no-such-bucket/store/manifest.json: the bucket does not exist; create it, or correct the URL"
    )


@pytest.mark.s3
@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
def test_a_conversion_to_a_missing_bucket_ends_before_the_first_sample(
    tmp_path: Path, s3_server: S3Server, driver: str
) -> None:
    options = s3_server.obstore_options if driver == "obstore" else s3_server.s3fs_options
    tree = save_runs(tmp_path / "tree")
    ran = call("convert", tree, "s3://no-such-bucket/store", *PRESET, *flags(options))
    assert ran.code == 1
    assert ran.stderr == (
        "error: cannot write s3://no-such-bucket/store/manifest.json: the bucket does not exist; create it, or correct "
        "the URL\n"
    )


@pytest.mark.s3
def test_the_error_for_a_source_in_a_missing_bucket_names_it(tmp_path: Path, s3_server: S3Server) -> None:
    pairs = [f"--source-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    ran = call("convert", "s3://no-such-bucket/tree", tmp_path / "store", *PRESET, *pairs)
    assert ran.code == 1
    assert "the bucket does not exist; create it, or correct the URL" in ran.stderr
    assert not (tmp_path / "store").exists()
