"""zarrita.js in a headless Chromium, which reads a group over HTTP and posts the arrays back.

`./scripts/test` installs both if it has the rights. Node 20 would need no browser, but it has no `Float16Array`.
"""

from __future__ import annotations

import json
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from support.bound_process import BoundProcess

_BROWSER = Path(__file__).with_name("browser")
_MODULES = _BROWSER / "node_modules"
_COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_SECONDS = 60.0
_TYPES = {".html": "text/html", ".js": "text/javascript"}  # a browser requires this type for a module


@dataclass
class FoundGroup:
    """The content of a group as zarrita reads it: arrays and their JavaScript types by path, and the attributes."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def missing() -> str | None:
    """Return the name of a missing program and its installation command; None if nothing is missing."""
    if _browser() is None:
        return "Chromium, which runs zarrita.js, is not installed; on Debian: apt-get install chromium-headless-shell"
    if not (_MODULES / "zarrita").is_dir():
        return f"zarrita.js is not installed; install it with: npm ci --prefix {_BROWSER}"
    return None


def read_with_zarrita(group: Path) -> FoundGroup:
    """Return all arrays in the consolidated metadata of a group."""
    found, ended = FoundGroup(), queue.SimpleQueue[str]()
    with _serve(group, found, ended) as url, _open_in_browser(url) as log:
        try:
            error = ended.get(timeout=_SECONDS)
        except queue.Empty:
            error = f"no answer from the browser after {_SECONDS:.0f} s:\n{log.read_text()[-2000:]}"
    if error:
        raise RuntimeError(error)
    return found


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, _COMMANDS)), None)


@contextmanager
def _open_in_browser(url: str) -> Iterator[Path]:
    """Open a page, yield the log file of the browser, and close the browser at the end."""
    command = _browser()
    if command is None:
        raise RuntimeError(missing())
    # The sandbox does not start for root or in containers. It is not needed: all pages come from this process.
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Path(profile, "log").open("wb") as log:
        process = BoundProcess([command, *flags, f"--user-data-dir={profile}", url], log)
        try:
            yield Path(log.name)
        finally:
            process.kill()


@contextmanager
def _serve(group: Path, found: FoundGroup, ended: queue.SimpleQueue[str]) -> Iterator[str]:
    """Serve page, modules and group on loopback, record the posts of the page, and yield the URL of the page."""

    class Handler(_Handler):
        places: ClassVar = {"page.html": _BROWSER, "modules": _MODULES, "group": group}

        def take(self, path: str, query: dict[str, str], body: bytes) -> None:
            if path == "/attributes":
                found.attributes.update(json.loads(body))
            elif path in ("/done", "/failed"):
                ended.put(body.decode())
            else:
                name = path.removeprefix("/array/")
                shape = tuple(map(int, query["shape"].split(",")))
                found.arrays[name] = np.frombuffer(body, query["dtype"]).reshape(shape)
                found.types[name] = query["type"]

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.html"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """A handler that serves files, whose directory depends on the first name in the path, with single byte ranges."""

    places: ClassVar[dict[str, Path]]

    def take(self, path: str, query: dict[str, str], body: bytes) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.take(url.path, query, self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(HTTPStatus.NO_CONTENT, b"")

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            self._answer(HTTPStatus.NOT_FOUND, b"")
            return
        data, wanted = path.read_bytes(), self.headers["Range"]
        if wanted is None:
            self._answer(HTTPStatus.OK, data, _TYPES.get(path.suffix, "application/octet-stream"))
            return
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        self._answer(HTTPStatus.PARTIAL_CONTENT, data[first : last + 1])

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """No-op, so that requests are not printed."""

    def _path(self) -> Path | None:
        place, _, rest = self.path.removeprefix("/").partition("/")
        directory = self.places.get(place)
        if directory is None:
            return None
        path = (directory / (rest or place)).resolve()
        return path if path.is_relative_to(directory.resolve()) and path.is_file() else None

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
