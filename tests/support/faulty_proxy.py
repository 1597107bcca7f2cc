"""An HTTP proxy before an S3 server that fails on purpose, by a script.

It runs as a separate process, ``python -m support.faulty_proxy HOST PORT``. So it takes no time from the interpreter
under test, and processes that a test forks inherit none of its sockets, which would keep dropped connections open. It
prints its port. A script is a line of JSON on stdin; the answer is a line with the requests of the previous script. The
process ends with stdin, so that it never outlives the tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from support.s3_server import S3Server

__all__ = ["FAULTS", "LOST_ANSWERS", "FaultyProxy", "Handled", "Script", "faulty_proxy"]

# Faults before the server has seen the request.
_REFUSALS = ("drop", "reset", "500", "503")
# Faults after the server has processed the request.
LOST_ANSWERS = ("drop answer", "500 for answer")
_CUTS = ("cut", "cut and reset")
_REPEATS = ("repeat", "repeat, last answer")
_DELAY = "delay"
# A stall lasts until the client gives up, or for this time.
_STALL, _STALL_S = "stall", 60.0
_CODES = {
    "403": "AccessDenied",
    "404": "NoSuchKey",
    "500": "InternalError",
    "501": "NotImplemented",
    "503": "SlowDown",
}

FAULTS = (*_REFUSALS, *LOST_ANSWERS, *_CUTS, *_REPEATS, _DELAY)
"""Faults that a retry overcomes. Others: "stall" lasts until the client's timeout; "403", "404" and "501" are final."""

_DELAY_S = 0.05
_LIMIT_BYTES = 1 << 20
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Script:
    """The faults to inject. The same request meets the same faults in every run, whatever other requests are in flight.

    Attributes
    ----------
    faults : sequence of str
        Members of `FAULTS`, "stall", "403", "404" and "501". A request meets a random one of them.
    seed : int
        Seed of all random choices.
    chance : float
        Probability of a request to meet a fault.
    limit : int or None
        Maximum number of faults of the same request. Requests are the same if method, path, query and end of the range
        are: a client's request for the rest of a body that was cut is the same request.
    methods : str
        Methods that meet faults, in any format; by default all methods.
    pattern : str
        Regular expression that must match in path and query.
    header : str
        Regular expression that must match in one of the headers.
    """

    faults: Sequence[str] = ()
    seed: int = 0
    chance: float = 1.0
    limit: int | None = 1
    methods: str = ""
    pattern: str = ""
    header: str = ""

    def fault(self, request: _Request, n_before: int) -> str | None:
        """Return the fault of a request that came `n_before` times before."""
        if not self.faults or (self.limit is not None and n_before >= self.limit):
            return None
        if (self.methods and request.method not in self.methods) or not re.search(self.pattern, request.target):
            return None
        if not any(re.search(self.header, line.decode("latin-1"), re.IGNORECASE) for line in request.headers):
            return None
        rng = Random(f"{self.seed} {request.key} {n_before}")
        return rng.choice(list(self.faults)) if rng.random() < self.chance else None


class Handled(NamedTuple):
    """A request that came, and the fault that it met."""

    method: str
    target: str
    fault: str | None


class FaultyProxy:
    """A running proxy, seen from the process that started it."""

    def __init__(self, server: S3Server, process: subprocess.Popen[str], port: int) -> None:
        self.server = replace(server, endpoint=f"http://127.0.0.1:{port}")
        self._process = process

    def play(self, script: Script) -> list[Handled]:
        """Follow a script from now on; return the requests since the last script."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asdict(script)) + "\n")
        stdin.flush()
        return [Handled(*one) for one in json.loads(stdout.readline())]

    def stop_faults(self) -> list[Handled]:
        """Pass everything on from now on; return the requests since the last script."""
        return self.play(Script())


@contextmanager
def faulty_proxy(server: S3Server) -> Iterator[FaultyProxy]:
    """Start a proxy that passes everything on until it gets a script, and stop it at the end."""
    host, port = server.endpoint.removeprefix("http://").split(":")
    process = subprocess.Popen(
        [sys.executable, "-m", "support.faulty_proxy", host, port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        assert line, "the proxy did not start"
        yield FaultyProxy(server, process, int(line))
    finally:
        process.terminate()
        process.communicate()


@dataclass(frozen=True)
class _Request:
    """A whole request, which is passed on over a new connection."""

    method: str
    target: str
    headers: list[bytes]
    body: bytes

    @property
    def key(self) -> str:
        ends = [line.rpartition(b"-")[2] for line in self.headers if line.lower().startswith(b"range:")]
        return f"{self.method} {self.target} {ends}"

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1".encode("latin-1"), *self.headers, b"Connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


class _Proxy:
    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._script = Script()
        self._times: Counter[str] = Counter()
        self._handled: list[Handled] = []

    def play(self, script: Script) -> list[Handled]:
        handled = self._handled
        self._script, self._handled, self._times = script, [], Counter()
        return handled

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, or not."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read_request(reader, writer)
            fault = self._script.fault(request, self._times[request.key])
            self._times[request.key] += 1
            self._handled.append(Handled(request.method, request.target, fault))
            await self._answer(request, fault, reader, writer)
        writer.close()

    async def _answer(
        self, request: _Request, fault: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if fault in ("drop", "reset"):
            _end(writer, reset=fault == "reset")
            return
        if fault in _CODES:
            await _send(writer, _failure(request, fault))
            return
        if fault == _STALL:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(), _STALL_S)
            return
        if fault == _DELAY:
            await asyncio.sleep(_DELAY_S)
        answers = [await self._ask(request) for _ in range(1 + (fault in _REPEATS))]
        answer = answers[fault == "repeat, last answer"]
        if fault == "drop answer":
            _end(writer, reset=False)
        elif fault == "500 for answer":
            await _send(writer, _failure(request, "500"))
        elif fault in _CUTS:
            await _send(writer, _first_half(answer))
            _end(writer, reset=fault == "cut and reset")
        else:
            await _send(writer, answer)

    async def _ask(self, request: _Request) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            await _send(writer, request.encode())
            return await reader.read()
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if headers.get(b"expect", b"").lower() == b"100-continue":
        await _send(writer, b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in (b"expect", b"connection")]
    return _Request(method, target, kept, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Return a chunked body with its framing."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        body += line + await reader.readexactly(size + 2)
    while line != b"\r\n":  # trailers, and the empty line that ends the message
        body += line
        line = await reader.readuntil(b"\r\n")
    return body + line


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()


def _first_half(answer: bytes) -> bytes:
    """Return an answer with half of its body, or half of its headers if it has no body. The headers claim all of it."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return head + end + body[: len(body) // 2] if body else head[: len(head) // 2]


def _failure(request: _Request, status: str) -> bytes:
    body = f"<Error><Code>{_CODES[status]}</Code><Message>on purpose</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {_CODES[status]}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + (b"" if request.method == "HEAD" else body)


async def _main(host: str, port: int) -> None:
    proxy = _Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=_LIMIT_BYTES)
    _print(str(server.sockets[0].getsockname()[1]))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        fields: dict[str, Any] = json.loads(line)
        _print(json.dumps(proxy.play(Script(**fields))))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
