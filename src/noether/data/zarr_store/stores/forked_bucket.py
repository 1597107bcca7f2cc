"""A bucket for forked processes, which cannot use obstore if a process that they were forked from has."""

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
    """Has the requests of this process sent by a server process of its own, which ends with it; see `Bucket`.

    Parameters
    ----------
    url : str
        Taken literally, without percent-encoding.
    options : mapping
        Keywords of `obstore.store.from_url`.

    Raises
    ------
    ArgumentError
        Options that cannot be pickled.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        unfit = "storage_options: in a forked process they go to another process, which cannot be done with these"
        remedy = "leave out what cannot be pickled, or start processes by 'spawn' or 'forkserver'"
        try:
            self._pickled = pickle.dumps((url, dict(options)))
        except Exception as error:
            raise ArgumentError(f"{unfit} ({error}); {remedy}") from error
        try:
            self._call("open")
        except (AttributeError, ImportError) as error:
            # Of a class that was defined where the other process cannot find it, such as in `__main__`.
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
        """Return what is known of an object; see `Bucket`."""
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
        # Only here: where anything was raised before, an answer may still come, to nobody.
        server.give_back(connection)
        if not succeeded:
            raise answer
        return answer


class _Connection:
    """Carries one request at a time."""

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
            # No option is on the command line: they hold secrets. A process group of its own, since Ctrl-C is meant
            # for this process, which may have to read on; when this one ends, however it does, so does the server.
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter, and a module of this package
                [multiprocessing.spawn.get_executable(), "-P", bucket_script.__file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,
            )
        self._idle: deque[_Connection] = deque()
        # Waits for the process, so that no zombie is left. Processes of multiprocessing do not run what `atexit` has.
        self.stop = Finalize(None, _stop, (self._control, self._process), exitpriority=0)

    def take(self) -> _Connection:
        """Return a connection that nobody uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Connection(self)

    def give_back(self, connection: _Connection) -> None:
        self._idle.append(connection)

    def connect(self, theirs: socket.socket) -> None:
        """Hand over one end of a connection."""
        try:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        except OSError as error:
            raise self.broken() from error

    def broken(self) -> ConnectionError:
        """Return the error of a connection that broke; the next request starts another process."""
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
        """Leave the server to the process that started it, of which this one is a fork."""
        self._control.close()
        # Else Popen would wait for a process that is not a child of this one.
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
    # A thread of the parent may have held the lock at the fork.
    _lock = Lock()
    if _server is not None:
        _server.disown()
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_server)
