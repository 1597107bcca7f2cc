"""An HTTP proxy that delays every request like a distant server, and counts requests, bytes and rounds.

It runs as its own process, ``python -m benchmarks.proxy HOST PORT DELAY_S``, so that it takes no time from the
interpreter whose reads are timed. It prints its port, answers every line on stdin with its counts as JSON, and ends
when stdin is closed, so that it never outlives the benchmark. `start_proxy` starts and stops it. Counts are kept by the
name of the object, which is the last component of its key.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.settings import REPOSITORY

__all__ = ["Counts", "ObjectCounts", "Proxy", "start_proxy"]

_PIECE_BYTES = 1 << 18
_LIMIT_BYTES = 1 << 20
_BODILESS = frozenset({204, 304})
_FIRST_FINAL = 200
_PRECONDITION_FAILED = 412
_LATE_BODY_S = 0.1


class Counts(NamedTuple):
    """Counts of the whole traffic.

    Attributes
    ----------
    requests : int
        Number of requests.
    n_bytes : int
        Bytes of the bodies of responses.
    rounds : int
        Length of the longest chain of requests in which each request came after the response to the one before. The
        client waited for the delay this many times.
    """

    requests: int
    n_bytes: int
    rounds: int


class ObjectCounts(NamedTuple):
    """Counts of the traffic for the objects of one name.

    Attributes
    ----------
    requests, puts, refused : int
        Number of requests, of puts among them, and of puts that the server refused since another put came first.
    received, sent : int
        Bytes of the bodies of responses and of requests.
    """

    requests: int = 0
    puts: int = 0
    refused: int = 0
    received: int = 0
    sent: int = 0

    def plus(self, other: ObjectCounts) -> ObjectCounts:
        """Return the sum of both counts."""
        return ObjectCounts(*map(sum, zip(self, other, strict=True)))


@dataclass(frozen=True)
class Proxy:
    """Handle of a running proxy, in the process that started it."""

    endpoint: str
    _process: subprocess.Popen[str]

    def counts(self) -> Counts:
        """Return the counts of the whole traffic so far."""
        by_name, rounds = self._ask()
        requests = sum(each.requests for each in by_name.values())
        return Counts(requests, sum(each.received for each in by_name.values()), rounds)

    def counts_by_name(self) -> dict[str, ObjectCounts]:
        """Return the counts so far by name of the object; requests to the bucket have the bucket's name."""
        by_name, _ = self._ask()
        return by_name

    def _ask(self) -> tuple[dict[str, ObjectCounts], int]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the proxy was started without pipes")
        stdin.write("counts\n")
        stdin.flush()
        by_name, rounds = json.loads(stdout.readline())
        return {name: ObjectCounts(*counts) for name, counts in by_name.items()}, rounds


@contextmanager
def start_proxy(endpoint: str, delay_s: float) -> Iterator[Proxy]:
    """Start a proxy in front of the server at `endpoint`, and stop it on exit."""
    host, port = endpoint.removeprefix("http://").split(":")
    command = [sys.executable, "-m", "benchmarks.proxy", host, port, str(delay_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError("the proxy did not start")
        yield Proxy(f"http://127.0.0.1:{int(line)}", process)
    finally:
        process.terminate()
        process.communicate()


class _Server:
    def __init__(self, host: str, port: int, delay_s: float) -> None:
        self._host, self._port, self._delay_s = host, port, delay_s
        self.by_name: dict[str, ObjectCounts] = {}
        self.rounds = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client over one connection to the server, until the client closes it."""
        upstream = _Upstream(self._host, self._port)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer, upstream):
                    pass
        finally:
            writer.close()
            upstream.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: _Upstream) -> bool:
        """Forward one request and its response. Return whether the client's connection stays open."""
        request = await _read_head(reader)
        self._count(request, ObjectCounts(requests=1, puts=int(request.is_put)))
        round_number = self.rounds + 1
        await asyncio.sleep(self._delay_s)
        answers, server = await upstream.connected()
        server.write(request.data)
        # Send the body while waiting for the response: after "Expect: 100-continue", an interim response comes first.
        sending = asyncio.create_task(_copy_body(reader, server, request.body_length(default=0), request.chunked))
        try:
            response = await self._pass_back(request, answers, writer)
            self.rounds = max(self.rounds, round_number)
            # If the server answers before it has the whole body, it wants no more of it; then the connection ends.
            await asyncio.wait({sending}, timeout=_LATE_BODY_S)
            sent = sending.done()
            if sent:
                self._count(request, ObjectCounts(sent=sending.result()))
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        if response.closes:
            upstream.close()
        return sent and not response.until_end and not request.closes and not response.closes

    async def _pass_back(self, request: _Head, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Head:
        """Forward a response and the interim responses before it to the client; return the head of the response."""
        while True:
            response = await _read_head(answers)
            writer.write(response.data)
            await writer.drain()
            if response.status >= _FIRST_FINAL:
                break
        if not (request.is_head or response.bodiless):
            length = response.body_length(default=None)
            received = await _copy_body(answers, writer, length, response.chunked)
            self._count(request, ObjectCounts(received=received))
        if request.is_put and response.status == _PRECONDITION_FAILED:
            self._count(request, ObjectCounts(refused=1))
        return response

    def _count(self, request: _Head, counts: ObjectCounts) -> None:
        name = request.object_name
        self.by_name[name] = self.by_name.get(name, ObjectCounts()).plus(counts)


class _Upstream:
    """Connection to the server for one connection of a client."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the streams of the connection. Connect again if the server has closed it."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port, limit=_LIMIT_BYTES)
        return self._streams

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass(frozen=True)
class _Head:
    """Start line and headers of a message."""

    data: bytes
    start: list[str]
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.start[1])

    @property
    def is_head(self) -> bool:
        return self.start[0] == "HEAD"

    @property
    def is_put(self) -> bool:
        return self.start[0] == "PUT"

    @property
    def object_name(self) -> str:
        """Last component of the key in the request."""
        return self.start[1].partition("?")[0].rpartition("/")[2]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def bodiless(self) -> bool:
        return self.status in _BODILESS

    @property
    def until_end(self) -> bool:
        """Whether the body of this response ends with the connection."""
        return not (self.bodiless or self.chunked or "content-length" in self.headers)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    def body_length(self, default: int | None) -> int | None:
        """Return the length of the body from the headers, or `default` if they have none."""
        return int(self.headers["content-length"]) if "content-length" in self.headers else default


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    data = await reader.readuntil(b"\r\n\r\n")
    first, *lines = data.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return _Head(data, first.split(" "), {name.strip().lower(): value.strip() for name, _, value in pairs})


async def _copy_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None, chunked: bool
) -> int:
    """Copy the body of a message as it arrives; return its number of bytes, including chunk framing."""
    if chunked:
        return await _copy_chunks(reader, writer)
    copied = 0
    while length is None or copied < length:
        wanted = _PIECE_BYTES if length is None else min(_PIECE_BYTES, length - copied)
        piece = await reader.read(wanted)
        if not piece:
            if length is None:
                break
            raise ConnectionError("the body ended early")
        writer.write(piece)
        await writer.drain()
        copied += len(piece)
    return copied


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    copied = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        writer.write(line)
        copied += len(line)
        if size == 0:
            break
        copied += await _copy_body(reader, writer, size + 2, chunked=False)
    # Optional trailers, and the empty line that ends the message.
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        copied += len(line)
        if line == b"\r\n":
            break
    await writer.drain()
    return copied


async def _main(host: str, port: int, delay_s: float) -> None:
    proxy = _Server(host, port, delay_s)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=_LIMIT_BYTES)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        sys.stdout.write(json.dumps([proxy.by_name, proxy.rounds]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
