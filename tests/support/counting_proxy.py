"""An HTTP proxy before a server that records every request and the number of bytes in its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["CountingProxy", "counting_proxy"]

# Headers of a connection, which the proxy writes again for the whole answer that it passes on.
_OF_A_CONNECTION = {"connection", "content-length", "transfer-encoding"}


@dataclass(frozen=True)
class CountingProxy:
    """A running proxy.

    Attributes
    ----------
    endpoint : str
        URL of the proxy.
    handled : list of (str, int)
        Method and path of every request so far, and number of bytes of the answer's body.
    in_flight : list of int
        For each request, the number of requests in flight when it came.
    on_request : list of callable of str
        Callbacks that get method and path of a request before it is passed on.
    """

    endpoint: str
    handled: list[tuple[str, int]] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    on_request: list[Callable[[str], object]] = field(default_factory=list)


@contextmanager
def counting_proxy(endpoint: str) -> Iterator[CountingProxy]:
    """Serve a proxy before the server at `endpoint` on loopback, from threads of this process."""
    handled: list[tuple[str, int]] = []
    in_flight: list[int] = []
    on_request: list[Callable[[str], object]] = []
    n_in_flight, lock = 0, threading.Lock()

    def begin_or_end(step: int) -> None:
        nonlocal n_in_flight
        with lock:
            n_in_flight += step
            if step > 0:
                in_flight.append(n_in_flight)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise the head and the body of an answer wait for each other.
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            connection = HTTPConnection(endpoint.removeprefix("http://"), timeout=30)
            begin_or_end(1)
            try:
                for hook in on_request:
                    hook(f"{self.command} {self.path}")
                connection.request(self.command, self.path, headers=dict(self.headers))
                answer = connection.getresponse()
                body = answer.read()
            finally:
                begin_or_end(-1)
                connection.close()
            handled.append((f"{self.command} {self.path}", len(body)))
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_A_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers["Content-Length"] or str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = pass_on  # noqa: N815  # the names that the base class calls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, name="counting-proxy")
        serving.start()
        try:
            yield CountingProxy(f"http://127.0.0.1:{server.server_port}", handled, in_flight, on_request)
        finally:
            server.shutdown()
            serving.join()
