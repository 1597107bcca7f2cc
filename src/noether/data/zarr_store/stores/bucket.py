"""Requests to object storage, through obstore; run as a script, a process that sends them for another one.

A forked process cannot use obstore if its parent has: the threads that carry the requests are in the parent alone, and
the first request waits for ever. `forked_bucket` starts this script there. So this module imports obstore and the
standard library and nothing else: the process is there in a tenth of a second, and not in one.
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

# From start to stop; or {"offset": start}, or {"suffix": length}.
ByteRange = tuple[int, int] | dict[str, int]

# As obstore has it: path, size, last_modified, e_tag, version.
Meta = dict[str, Any]

# Waits of 18 s in all for a server that cannot be reached, between 5 and 30 s by chance, where it would be some 2 s by
# default. A request that nobody answers takes 30 s, the timeout of obstore: it is sent four times.
RETRY: dict[str, Any] = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=100),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=4), "base": 4},
}

# S3 allows 10,000 parts an object: 80 GB of these.
PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 3

_ENDPOINT_KEYS = ("endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

STREAM_BYTES = 1 << 16
_MAX_SERVED_BUCKETS = 64


class Bucket(Protocol):
    """The objects below one URL, a request a call. Raises what obstore raises. Safe to use from many threads."""

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object or a part of it, and what obstore tells of it: ``size``, ``e_tag`` and so on.

        `OverflowError`, before it is read, where the whole object has more than `max_bytes`.
        """

    def head(self, key: str) -> Meta:
        """Return what obstore tells of an object."""

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object in one request; `mode` is that of `obstore.put`."""

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write an object as its parts come, in a bounded number of buffers."""

    def delete(self, keys: list[str]) -> None:
        """Delete objects."""

    def objects(self, prefix: str) -> list[Meta]:
        """List what lies below a directory: the ``path``, ``size`` and so on of each object."""


class ObstoreBucket:
    """A bucket in this process.

    Parameters
    ----------
    url : str
        Taken literally, without percent-encoding.
    options : mapping
        Keywords of `obstore.store.from_url`.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._store = open_store(url, options)

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object; see `Bucket`."""
        # The same request as of `get_range`, which gives no metadata.
        options: Any = {} if byte_range is None else {"range": byte_range}
        try:
            found = obstore.get(self._store, key, options=options)
        except NotSupportedError:
            if not isinstance(byte_range, dict) or "suffix" not in byte_range:
                raise
            # Azure has no ranges that count from the end.
            end = self.head(key)["size"]
            return self.get(key, (max(end - byte_range["suffix"], 0), end), max_bytes)
        size = found.meta["size"]
        if max_bytes is not None and size > max_bytes:
            raise OverflowError(f"it has {size:,} bytes; expected a document of at most {max_bytes:,}")
        return memoryview(found.bytes()), dict(found.meta)

    def head(self, key: str) -> Meta:
        """Return what is known of an object; see `Bucket`."""
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


# The process that uses obstore: this one, or one that it was forked from.
_user: int | None = None


def claim_obstore() -> bool:
    """Make this process the user of obstore; False where a process that it was forked from is that already.

    Only what this library does with obstore counts; that others use it too is not seen.
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
        # Whoever names a plain http endpoint has said that http is allowed.
        options["client_options"] = {"allow_http": True, **options.get("client_options", {})}
    # Not urlsplit: a "?" in a sample id begins no query.
    scheme, _, location = url.partition("://")
    bucket, _, path = location.partition("/")
    return from_url(f"{scheme}://{bucket}/{quote(path)}", **options)


class _ServedBucket(ObstoreBucket):
    """A bucket whose answers can be pickled."""

    def open(self) -> None:
        """Do no more: wrong options are found out on the way here."""

    def get(self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None) -> tuple[bytes, Meta]:
        data, meta = super().get(key, byte_range, max_bytes)
        return bytes(data), meta


@lru_cache(_MAX_SERVED_BUCKETS)
def _served_bucket(pickled: bytes) -> _ServedBucket:
    return _ServedBucket(*pickle.loads(pickled))  # noqa: S301 - from the process that started this one


def _serve(control: socket.socket) -> None:
    """Answer the requests on each connection that comes through `control`, until the other end of that is closed."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            # At once: an orderly exit would wait for the requests under way, which nobody waits for any more.
            os._exit(0)
        Thread(target=_answer_all, args=(socket.socket(fileno=descriptors[0]),), daemon=True).start()


def _answer_all(connection: socket.socket) -> None:
    """Answer requests one after the other: (pickled arguments of the bucket, method, arguments), then any parts."""
    # The other process has closed the connection, maybe within a request.
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
                pass  # an upload that failed has left them, and they are no request
            pickle.dump(answer, stream)
            stream.flush()


if __name__ == "__main__":
    _serve(socket.socket(fileno=0))
