"""Retries of requests to object storage after transient failures of the network or the server.

obstore itself retries only the parts of uploads. This module retries all other requests, within the same bounds:

- deletions, which obstore considers unsafe to retry;
- writes, since obstore would also retry writes that a server does not implement;
- reads, so that each try is counted and logged.

After a response body that was cut or took too long, obstore sends the further tries of a read. It requests only the
rest of the body, and its own tries are hidden.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from itertools import count
from threading import Lock
from typing import Any, TypeVar

from obstore.exceptions import GenericError

from noether.data.zarr_store.stores.bucket import RETRY, Bucket, ByteRange, Meta
from noether.data.zarr_store.stores.denials import is_lookup_of_role
from noether.data.zarr_store.stores.request_log import STATUS, from_to, logged

__all__ = ["PatientBucket", "Retries", "is_not_implemented"]

# obstore's defaults for a caller's back-off without these values.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _GROWTH = 0.1, 15.0, 2.0

# obstore has one class for most errors, so only the text tells them apart; see `STATUS`.
_REPEATED = re.compile(r"after (\d+) retries")
_CONNECTION = "HTTP error"
_CUT = "response body"
_NO_ADDRESS = "dns error"
_URL = re.compile(r"performing \w+ \w+://([^\s/:]+)")
# A name server that starts or is busy can resolve a name a moment later. A wrong name never resolves.
_NAME_SECONDS = 2.0
_TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Retries:
    """The bounds of retries, and the random waits between them, which grow as in obstore.

    Attributes
    ----------
    max_retries : int
        Largest number of retries.
    timeout_s : float
        Seconds from the first try to the last possible retry.
    name_timeout_s : float
        The same limit if the host name does not resolve, or the machine has no role.
    first_wait_s, longest_wait_s, growth : float
        First wait in seconds, upper limit of all waits, and growth. Each further wait is a random time between
        `first_wait_s` and `growth` times the wait before.
    clock, sleep : callable
        Functions that return the time in seconds, and that wait.
    jitter : callable
        Function that returns a random time between two times. It must differ between forked processes.
    """

    max_retries: int
    timeout_s: float
    name_timeout_s: float = math.inf
    first_wait_s: float = _FIRST_WAIT_S
    longest_wait_s: float = _LONGEST_WAIT_S
    growth: float = _GROWTH
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Retries:
        """Return the bounds in options of obstore; ``retry_config`` overrides the defaults in `RETRY`."""
        config = RETRY | options.get("retry_config", {})
        backoff = config["backoff"]
        return cls(
            max_retries=config["max_retries"],
            timeout_s=config["retry_timeout"].total_seconds(),
            first_wait_s=backoff.get("init_backoff", timedelta(seconds=_FIRST_WAIT_S)).total_seconds(),
            longest_wait_s=backoff.get("max_backoff", timedelta(seconds=_LONGEST_WAIT_S)).total_seconds(),
            growth=float(backoff.get("base", _GROWTH)),
        )

    def call(self, request: Callable[[], Answer]) -> Answer:
        """Send a request until it is answered or a bound is reached. A note of the error has the number of tries."""
        start, tries, again, wait = self.clock(), 0, 0, self.first_wait_s
        while True:
            try:
                return request()
            except GenericError as error:
                tries += 1 + _repeated(error)
                seconds = self.clock() - start
                host = _host_without_address(error)
                is_of_place = _is_of_place(error)
                left = (min(self.timeout_s, self.name_timeout_s) if is_of_place else self.timeout_s) - seconds
                gives_up = again >= self.max_retries or left <= 0 or self._is_over(error)
                if gives_up or not is_transient(error):
                    if not _was_given_up(error):
                        _add_notes(error, tries, seconds, host)
                    raise
            self.sleep(min(wait, left) if is_of_place else wait)
            wait = min(self.jitter(self.first_wait_s, wait * self.growth), self.longest_wait_s)
            again += 1

    def _is_over(self, error: GenericError) -> bool:
        """Return whether obstore, or a nested call, has already used all retries of a request."""
        return _repeated(error) >= self.max_retries or _was_given_up(error)


def is_transient(error: BaseException) -> bool:
    """Return whether a retry can help: there was no answer, or the server failed or was overloaded."""
    if not isinstance(error, GenericError):  # errors with their own class are permanent: 401, 403, 404, 412, …
        return False
    status = STATUS.search(str(error))
    if status is None:
        return _CONNECTION in str(error)
    if int(status[1]) == HTTPStatus.NOT_IMPLEMENTED:
        return False
    return int(status[1]) in _TRANSIENT_STATUSES or int(status[1]) >= HTTPStatus.INTERNAL_SERVER_ERROR


def is_not_implemented(error: BaseException) -> bool:
    """Return whether the server does not implement a request (501), or the options of obstore disable it."""
    if isinstance(error, NotImplementedError):
        return True
    status = STATUS.search(str(error)) if isinstance(error, GenericError) else None
    return status is not None and int(status[1]) == HTTPStatus.NOT_IMPLEMENTED


def _is_of_place(error: GenericError) -> bool:
    """Return whether the host name does not resolve, or this machine has no role; neither changes soon."""
    return _host_without_address(error) is not None or is_lookup_of_role(error)


def _host_without_address(error: GenericError) -> str | None:
    """Return the host name of a request that did not resolve; None if the error has another reason."""
    if _NO_ADDRESS not in str(error):
        return None
    url = _URL.search(str(error))
    return "of the storage" if url is None else url[1]


def _add_notes(error: GenericError, tries: int, seconds: float, host: str | None) -> None:
    if tries > 1:
        error.add_note(f"tried {tries} times in {seconds:.1f} s")
    if host is not None:
        error.add_note(f"the host name {host} does not resolve; check the URL, and the endpoint in storage_options")


def _was_given_up(error: GenericError) -> bool:
    return bool(getattr(error, "__notes__", ()))


def _repeated(error: GenericError) -> int:
    repeated = _REPEATED.search(str(error))
    return 0 if repeated is None else int(repeated[1])


class PatientBucket:
    """A bucket whose requests are retried where that is safe, and logged; see `Bucket`.

    Parameters
    ----------
    once : Bucket
        Bucket without retries.
    open_repeating : callable of Bucket
        Function that opens the same bucket with the retries of obstore, for uploads and for reads whose body was cut.
    retries : Retries
        Bounds of the retries.

    Attributes
    ----------
    n_retries : int
        Number of requests that were sent again so far, without the hidden tries of obstore.

    Notes
    -----
    A conditional put is sent once: if its answer is lost, only the caller can find out whether it succeeded. An upload
    is sent once as well, since its parts are consumed by then; obstore retries each part.
    """

    def __init__(self, once: Bucket, open_repeating: Callable[[], Bucket], retries: Retries) -> None:
        self._once = once
        self._open_repeating = open_repeating
        self._retries = retries
        self._retries_of_a_name = replace(retries, name_timeout_s=_NAME_SECONDS)
        # A name that has resolved once is right. If it does not resolve later, the name server has failed.
        self._resolved = False
        self.n_retries = 0
        self._lock = Lock()

    @cached_property
    def _bucket(self) -> Bucket:
        """Bucket with the retries of obstore, opened lazily."""
        return self._open_repeating()

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object; see `Bucket`."""
        what = f"read {key}{_words_for(byte_range)}"
        return self._read(what, lambda bucket: bucket.get(key, byte_range, max_bytes), lambda found: len(found[0]))

    def head(self, key: str) -> Meta:
        """Return the metadata of an object; see `Bucket`."""
        return self._read(f"look for {key}", lambda bucket: bucket.head(key))

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object; see `Bucket`."""
        if mode is None:
            self._send(f"write {key}", lambda: self._once.put(key, data), lambda _: len(data))
        else:
            logged(f"write {key} on a condition", lambda: self._once.put(key, data, mode), lambda _: len(data))

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write a large object; see `Bucket`."""
        logged(f"write {key} in parts", lambda: self._bucket.upload(key, parts))

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Bucket`."""
        more = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
        self._send(f"delete {keys[0]}{more}" if keys else "delete nothing", lambda: self._once.delete(keys))

    def objects(self, prefix: str) -> list[Meta]:
        """List objects; see `Bucket`."""
        return self._read(f"list {prefix or 'the root'}", lambda bucket: bucket.objects(prefix))

    def _read(
        self, what: str, request: Callable[[Bucket], Answer], n_bytes: Callable[[Answer], int] | None = None
    ) -> Answer:
        goes_on = False

        def read() -> Answer:
            nonlocal goes_on
            try:
                return request(self._bucket if goes_on else self._once)
            except GenericError as error:
                goes_on = goes_on or _CUT in str(error)
                raise

        return self._send(what, read, n_bytes)

    def _send(self, what: str, request: Callable[[], Answer], n_bytes: Callable[[Answer], int] | None = None) -> Answer:
        """Send a request, with retries. Each try is logged, and each retry is counted."""
        tries = count(1)

        def send() -> Answer:
            number = next(tries)
            if number > 1:
                with self._lock:
                    self.n_retries += 1
            return logged(what, request, n_bytes, tries=number)

        if self._resolved:
            return self._retries.call(send)
        try:
            answer = self._retries_of_a_name.call(send)
        except Exception as error:
            self._resolved = not isinstance(error, GenericError) or not _is_of_place(error)
            raise
        self._resolved = True
        return answer


def _words_for(byte_range: ByteRange | None) -> str:
    if byte_range is None:
        return ""
    if isinstance(byte_range, tuple):
        return f", {from_to(byte_range[0], byte_range[1] - byte_range[0])}"
    if "suffix" in byte_range:
        return f", its last {byte_range['suffix']} bytes"
    return f", from byte {byte_range['offset']} on"
