"""Requests to object storage, through obstore. As a script, this module sends the requests of another process.

A forked process cannot use obstore after its parent has used it: the threads of obstore exist only in the parent, so
the first request would never return. `forked_bucket` starts this script for such a process. This module imports only
obstore and the standard library, so that the script starts in 0.1 s, not in 1 s.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache, partial
from threading import Thread
from typing import Any, Protocol
from urllib.parse import quote

import obstore
from obstore.exceptions import NotSupportedError
from obstore.store import ObjectStore, from_url

__all__ = [
    "PART_BYTES",
    "RETRY",
    "STREAM_BYTES",
    "Bucket",
    "ByteRange",
    "Meta",
    "ObstoreBucket",
    "claim_obstore",
    "open_store",
]

# (start, stop), {"offset": start} or {"suffix": length}.
ByteRange = tuple[int, int] | dict[str, int]

# The metadata of an object from obstore: path, size, last_modified, e_tag, version.
Meta = dict[str, Any]

# The waits for a server that cannot be reached add up to 18 s on average (5 to 30 s, at random), and to about 2 s with
# the defaults of obstore. A request without an answer takes 30 s, the timeout of obstore; it is sent four times.
RETRY: dict[str, Any] = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=100),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=4), "base": 4},
}

# S3 allows 10,000 parts per object, so an object can have 80 GB.
PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 3

_ENDPOINT_KEYS = ("endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

STREAM_BYTES = 1 << 16
_MAX_SERVED_BUCKETS = 64


class Bucket(Protocol):
    """The objects below one URL, one request per call. Raises the errors of obstore. Safe to use from many threads."""

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Return the bytes of an object or of a byte range, and its metadata (``size``, ``e_tag``, …).

        Raise `OverflowError`, before the bytes are read, if the whole object has more than `max_bytes`.
        """

    def head(self, key: str) -> Meta:
        """Return the metadata of an object."""

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object in one request; `mode` is that of `obstore.put`."""

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write an object from its parts, one by one, with a bounded number of buffers."""

    def delete(self, keys: list[str]) -> None:
        """Delete objects."""

    def objects(self, prefix: str) -> list[Meta]:
        """Return the metadata (``path``, ``size``, …) of all objects below a directory."""


class ObstoreBucket:
    """A bucket in this process.

    Parameters
    ----------
    url : str
        URL, taken literally, without percent-encoding.
    options : mapping
        Keyword arguments of `obstore.store.from_url`.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._store = open_store(url, options)

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object; see `Bucket`."""
        # `get_range` sends the same request, but returns no metadata.
        options: Any = {} if byte_range is None else {"range": byte_range}
        try:
            found = obstore.get(self._store, key, options=options)
        except NotSupportedError:
            if not isinstance(byte_range, dict) or "suffix" not in byte_range:
                raise
            # Azure has no byte ranges that count from the end.
            end = self.head(key)["size"]
            return self.get(key, (max(end - byte_range["suffix"], 0), end), max_bytes)
        size = found.meta["size"]
        if max_bytes is not None and size > max_bytes:
            raise OverflowError(f"it has {size:,} bytes, expected a document of at most {max_bytes:,}")
        return memoryview(found.bytes()), dict(found.meta)

    def head(self, key: str) -> Meta:
        """Return the metadata of an object; see `Bucket`."""
        return dict(obstore.head(self._store, key))

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object; see `Bucket`."""
        obstore.put(self._store, key, data, mode=mode)

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write a large object; see `Bucket`."""
        obstore.put(self._store, key, iter(parts), chunk_size=PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Bucket`."""
        obstore.delete(self._store, keys)

    def objects(self, prefix: str) -> list[Meta]:
        """List objects; see `Bucket`."""
        return [dict(meta) for batch in obstore.list(self._store, prefix or None) for meta in batch]


# Id of the process that uses obstore: this process, or a process that it was forked from.
_user: int | None = None


def claim_obstore() -> bool:
    """Make this process the user of obstore; return False if a process that it was forked from already uses it.

    Only the use by this library counts. Other uses of obstore are not detected.
    """
    global _user
    if _user is None:
        _user = os.getpid()
    return _user == os.getpid()


def open_store(url: str, options: Mapping[str, Any]) -> ObjectStore:
    """Open a URL with obstore; no request is sent yet."""
    options = {**options, "retry_config": RETRY | options.get("retry_config", {})}
    endpoints = (*(options.get(key) for key in _ENDPOINT_KEYS), *map(os.environ.get, _ENDPOINT_VARIABLES))
    if any(str(one).startswith("http://") for one in (url, *endpoints)):
        # A user who specifies a plain http endpoint accepts http.
        options["client_options"] = {"allow_http": True, **options.get("client_options", {})}
    # urlsplit would take a "?" in a sample id for the start of a query.
    scheme, _, location = url.partition("://")
    bucket, _, path = location.partition("/")
    return from_url(f"{scheme}://{bucket}/{quote(path)}", **options)


class _ServedBucket(ObstoreBucket):
    """A bucket whose answers can be pickled."""

    def open(self) -> None:
        """No-op; opening the bucket has already validated the options."""

    def get(self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None) -> tuple[bytes, Meta]:
        data, meta = super().get(key, byte_range, max_bytes)
        return bytes(data), meta


@lru_cache(_MAX_SERVED_BUCKETS)
def _served_bucket(pickled: bytes) -> _ServedBucket:
    return _ServedBucket(*pickle.loads(pickled))  # noqa: S301 - from the process that started this one


def _serve(control: socket.socket) -> None:
    """Answer the requests on each connection that arrives through `control`, until its other end is closed."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            # Exit at once: a normal exit would wait for requests in flight, whose answers are no longer needed.
            os._exit(0)
        Thread(target=_answer_all, args=(socket.socket(fileno=descriptors[0]),), daemon=True).start()


def _answer_all(connection: socket.socket) -> None:
    """Answer requests one by one. A request is (pickled arguments of the bucket, method, arguments), then any parts."""
    # These errors mean that the other process has closed the connection, possibly during a request.
    closed = suppress(EOFError, ConnectionError, pickle.UnpicklingError)
    with closed, connection, connection.makefile("rwb", STREAM_BYTES) as stream:
        receive = partial(pickle.load, stream)
        while True:
            bucket, method, arguments = receive()
            parts = iter(receive, None) if method == "upload" else iter(())
            answer: tuple[bool, Any]
            try:
                call = getattr(_served_bucket(bucket), method)
                answer = True, call(*arguments, *([parts] if method == "upload" else []))
            except Exception as error:  # noqa: BLE001 - it is raised in the other process
                answer = False, error
            for _ in parts:
                pass  # a failed upload leaves parts unread; without this loop they would be taken for a request
            pickle.dump(answer, stream)
            stream.flush()


if __name__ == "__main__":
    _serve(socket.socket(fileno=0))
