"""A bucket for forked processes, which cannot use obstore after their parent has used it."""

from __future__ import annotations

import multiprocessing.spawn
import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from multiprocessing.util import Finalize
from threading import Lock
from typing import Any

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.stores import bucket as bucket_script
from noether.data.zarr_store.stores.bucket import ByteRange, Meta

__all__ = ["ForkedBucket"]


class ForkedBucket:
    """A bucket whose requests a server process sends. This process starts the server, which ends with it; see `Bucket`.

    Parameters
    ----------
    url : str
        URL, taken literally, without percent-encoding.
    options : mapping
        Keyword arguments of `obstore.store.from_url`.

    Raises
    ------
    ArgumentError
        The options cannot be pickled.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        unfit = "storage_options: a forked process must pickle them, and these cannot be pickled"
        remedy = "leave out such options, or start processes by 'spawn' or 'forkserver'"
        try:
            self._pickled = pickle.dumps((url, dict(options)))
        except Exception as error:
            raise ArgumentError(f"{unfit} ({error}); {remedy}") from error
        try:
            self._call("open")
        except (AttributeError, ImportError) as error:
            # A class that the server process cannot import, such as a class in `__main__`.
            raise ArgumentError(f"{unfit} ({error}); {remedy}") from error

    def get(self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None) -> tuple[bytes, Meta]:
        """Read an object; see `Bucket`."""
        found: tuple[bytes, Meta] = self._call("get", key, byte_range, max_bytes)
        return found

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object; see `Bucket`."""
        self._call("put", key, data, mode)

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write a large object; see `Bucket`."""
        self._call("upload", key, parts=parts)

    def head(self, key: str) -> Meta:
        """Return the metadata of an object; see `Bucket`."""
        found: Meta = self._call("head", key)
        return found

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Bucket`."""
        self._call("delete", keys)

    def objects(self, prefix: str) -> list[Meta]:
        """List objects; see `Bucket`."""
        found: list[Meta] = self._call("objects", prefix)
        return found

    def _call(self, method: str, *arguments: Any, parts: Iterable[bytes] | None = None) -> Any:
        server = _running_server()
        connection = server.take()
        connection.send((self._pickled, method, arguments))
        if parts is not None:
            for part in parts:
                connection.send(part)
            connection.send(None)
        succeeded, answer = connection.receive()
        # Not after an error: the answer to the failed request can still arrive on that connection.
        server.put_back(connection)
        if not succeeded:
            raise answer
        return answer


class _Connection:
    """A connection to the server, for one request at a time."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._socket, theirs = socket.socketpair()
        self._answers = self._socket.makefile("rb", bucket_script.STREAM_BYTES)
        with theirs:
            server.connect(theirs)

    def send(self, message: Any) -> None:
        try:
            self._socket.sendall(pickle.dumps(message))
        except ConnectionError as error:
            raise self._server.broken() from error

    def receive(self) -> Any:
        try:
            return pickle.load(self._answers)  # noqa: S301 - from the process that this one has started
        except (EOFError, ConnectionError, pickle.UnpicklingError) as error:
            raise self._server.broken() from error

    def __del__(self) -> None:
        self._answers.close()
        self._socket.close()


class _Server:
    """The process that sends requests, and the connections to it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            # Options hold secrets, so they are not on the command line. The server has its own process group, since
            # Ctrl-C must not end it while this process still reads. It always ends when this process ends.
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter, and a module of this package
                [multiprocessing.spawn.get_executable(), "-P", bucket_script.__file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,
            )
        self._idle: deque[_Connection] = deque()
        # It waits for the process, so that no zombie remains. Processes of multiprocessing skip `atexit` handlers.
        self.stop = Finalize(None, _stop, (self._control, self._process), exitpriority=0)

    def take(self) -> _Connection:
        """Return an idle connection."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Connection(self)

    def put_back(self, connection: _Connection) -> None:
        self._idle.append(connection)

    def connect(self, theirs: socket.socket) -> None:
        """Send one end of a connection to the server."""
        try:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        except OSError as error:
            raise self.broken() from error

    def broken(self) -> ConnectionError:
        """Stop the server, and return the error of a broken connection. The next request starts another server."""
        global _server
        with _lock:
            if _server is self:
                _server = None
        self.stop()
        self._idle.clear()
        return ConnectionError(
            f"the process {self._process.pid} that sends the requests of this forked process has ended, with exit code "
            f"{self._process.returncode}; try again, or start processes by 'spawn' or 'forkserver'"
        )

    def disown(self) -> None:
        """Leave the server to the parent process, which has started it."""
        self._control.close()
        # Otherwise Popen would wait for a process that is not a child of this one.
        self._process.returncode = 0


def _stop(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    control.close()
    process.kill()
    process.wait()


_lock = Lock()
_server: _Server | None = None


def _running_server() -> _Server:
    global _server
    with _lock:
        if _server is None:
            _server = _Server()
        return _server


def _disown_server() -> None:
    global _lock, _server
    # A thread of the parent can have held the lock at the fork.
    _lock = Lock()
    if _server is not None:
        _server.disown()
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_server)
