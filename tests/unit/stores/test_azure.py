"""Azure: obstore's client for it does not support byte ranges that count from the end of an object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from noether.data.zarr_store.stores import Storage, open_storage

DATA = bytes(range(200))


class OneBlob(BaseHTTPRequestHandler):
    """A handler that answers as Azure's blob service, for one blob and without authentication."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if not self.path.startswith("/account/container/store/blob"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or self.headers.get("x-ms-range") or "")
        start, stop = (int(wanted[1]), int(wanted[2]) + 1) if wanted else (0, len(DATA))
        body = DATA[start:stop]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(DATA)}")
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("ETag", '"0x1"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """No-op, so that requests are not printed."""


@pytest.fixture
def storage() -> Iterator[Storage]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneBlob) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        options = {
            "account_name": "account",
            "account_key": "a2V5",
            "endpoint": f"http://127.0.0.1:{server.server_port}/account",
        }
        yield open_storage("az://container/store", options)
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 20, 200, 1000])
def test_the_end_of_an_object_is_read(storage: Storage, length: int) -> None:
    found = storage.read_tail("blob", length)
    assert found is not None
    assert (bytes(found[0]), found[1]) == (DATA[-length:], len(DATA))


@pytest.mark.slow
def test_the_end_of_a_missing_object_is_none(storage: Storage) -> None:
    assert storage.read_tail("nothing", 20) is None


@pytest.mark.slow
def test_a_range_is_read(storage: Storage) -> None:
    assert bytes(storage.read_range("blob", 10, 5)) == DATA[10:15]
