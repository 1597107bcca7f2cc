"""What the server of `noether-zarr view` answers, without a browser."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ManifestError, StorageError, UnknownNameError
from noether.data.zarr_store.viewing import ViewServer, export_page, page
from support.ahmed import load_run
from support.reading import write_samples
from support.viewer import serving


@pytest.fixture(autouse=True)
def built_page(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of one file, where none was built: these tests need no npm."""
    directory = tmp_path_factory.mktemp("page")
    (directory / "index.html").write_text("<!doctype html><title>page</title>")
    monkeypatch.setattr(page, "_PAGE", directory)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_samples(tmp_path_factory.mktemp("served") / "store", {"run_1": load_run("run_1")}))


@pytest.fixture
def server(store: Path) -> Iterator[ViewServer]:
    with serving(str(store)) as served:
        yield served


def ask(
    server: ViewServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Send a request with a path as it is, dots and all."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_objects_have_the_bytes_of_the_files(server: ViewServer, store: Path) -> None:
    key = "run_1.zarr/volume/velocity/c/0/0"
    data = (store / key).read_bytes()
    assert ask(server, f"/store/{key}")[:2] == (200, data)
    status, body, headers = ask(server, f"/store/{key}", Range="bytes=10-99")
    assert (status, body) == (206, data[10:100])
    assert headers["Content-Range"] == "bytes 10-99/*"
    assert ask(server, f"/store/{key}", Range="bytes=-20")[:2] == (206, data[-20:])
    assert ask(server, f"/store/{key}", Range="bytes=-20")[2]["Content-Range"].endswith(f"/{len(data)}")
    assert ask(server, f"/store/{key}", Range=f"bytes=-{len(data) + 9}")[:2] == (206, data)
    assert ask(server, f"/store/{key}", Range=f"bytes=5-{len(data) + 9}")[:2] == (206, data[5:])
    assert ask(server, f"/store/{key}", Range=f"bytes={len(data)}-")[0] == 416
    assert ask(server, f"/store/{key}", Range=f"bytes={len(data)}-{len(data) + 9}")[0] == 416
    status, body, headers = ask(server, f"/store/{key}", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(data)))


@pytest.mark.parametrize(
    "path",
    [
        "/store/../secret",
        "/store/run_1.zarr/../../secret",
        "/store/%2e%2e/secret",
        "/store//etc/passwd",
        "/store/.hidden",
        "/store/run_1.zarr/nothing",
        "/store/run_1.zarr",
        "/../secret",
    ],
)
def test_nothing_but_the_objects_of_the_store_is_served(server: ViewServer, store: Path, path: str) -> None:
    (store.parent / "secret").write_text("secret")
    (store / ".hidden").write_text("secret")
    status, body, _ = ask(server, path)
    assert status == (502 if path.endswith("run_1.zarr") else 404)  # a directory cannot be read
    assert b"secret" not in body


@pytest.mark.parametrize(("host", "status"), [("evil.example", 400), ("localhost", 200), ("127.0.0.1:1", 200)])
def test_only_names_of_this_machine_are_answered(server: ViewServer, host: str, status: int) -> None:
    """Else a page elsewhere could read the store through a name that leads here (DNS rebinding)."""
    assert ask(server, "/store/manifest.json", Host=host)[0] == status


def test_other_pages_get_no_leave_to_read(server: ViewServer) -> None:
    headers = ask(server, "/store/manifest.json", Origin="https://evil.example")[2]
    assert "Access-Control-Allow-Origin" not in headers


def test_the_source_row_is_that_of_the_permutation(server: ViewServer, store: Path) -> None:
    permutation = ZarrChunkReader(store).permutation("run_1", "surface")
    for row in (0, 7, len(permutation) - 1):
        status, body, _ = ask(server, f"/source-row?sample=run_1&domain=surface&row={row}")
        assert (status, json.loads(body)) == (200, {"source_row": permutation[row]})
    assert np.unique(permutation).size == len(permutation)


@pytest.mark.parametrize(
    "query",
    ["sample=run_1&domain=surface&row=-1", "sample=run_1&domain=surface&row=x", "sample=no&domain=surface&row=0", ""],
)
def test_a_row_that_is_not_there_is_refused(server: ViewServer, query: str) -> None:
    status, body, _ = ask(server, f"/source-row?{query}")
    assert status == 400
    assert json.loads(body)["error"]


def test_a_place_without_a_store_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        ViewServer(str(tmp_path / "nothing"))


def test_a_taken_port_is_refused_with_the_way_out(server: ViewServer, store: Path) -> None:
    port = urlsplit(server.url).port
    assert port is not None
    with pytest.raises(StorageError, match=f"port {port}: .*--port"):
        ViewServer(str(store), port=port)


def test_an_unknown_sample_is_refused(server: ViewServer) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'run_1'"):
        server.address_of("run_2")


def test_an_export_leaves_other_files_alone(tmp_path: Path) -> None:
    assert export_page(tmp_path / "page").read_text().startswith("<!doctype html>")
    export_page(tmp_path / "page")  # a page may be replaced
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    with pytest.raises(StorageError, match="holds other files"):
        export_page(tmp_path / "thesis")
    assert [one.name for one in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


COMMAND = """
import sys
from pathlib import Path
from noether.data.zarr_store.viewing import page
page._PAGE = Path(sys.argv[1])
from noether.data.zarr_store.cli import app
sys.argv[1:] = ["view", sys.argv[2], "run_1", "--no-browser"]
app()
"""


def test_the_command_prints_the_address_and_ends_with_ctrl_c(store: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(page.page_directory()), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("/?sample=run_1")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130), errors
    assert "Traceback" not in errors
