"""Requests to object storage that are sent again where the network or the server fails for a moment.

obstore itself repeats the parts of uploads. All else is repeated here, within the same bounds: requests that obstore
takes for unsafe to repeat (to delete), writes, which obstore would also repeat where a server does not implement them,
and reads, so that each try is counted and logged. After a body that was cut, or took too long, a read goes on in
obstore, which asks for the rest of a body, and hides its own tries.
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

# Those of obstore, where a caller's back-off lacks them.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _GROWTH = 0.1, 15.0, 2.0

# obstore has one class for all that it has no name for, so what happened is in its text alone; see `STATUS`.
_REPEATED = re.compile(r"after (\d+) retries")
_CONNECTION = "HTTP error"
_CUT = "response body"
_NO_ADDRESS = "dns error"
_URL = re.compile(r"performing \w+ \w+://([^\s/:]+)")
# A name may resolve the next moment, where a name server starts or is busy; a name that is wrong never does.
_NAME_SECONDS = 2.0
_TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Retries:
    """How often a request is sent again, and after which waits, which grow by chance as those of obstore do.

    Attributes
    ----------
    max_retries : int
        Most times after the first one.
    timeout_s : float
        No request is sent again so many seconds after the first one.
    name_timeout_s : float
        The same where the name of the host does not resolve, or the machine does not tell a role.
    first_wait_s, longest_wait_s, growth : float
        The first wait; each other one is a random time between it and so many times the one before, up to the longest.
    clock, sleep : callable
        Tell the time in seconds, and wait for some.
    jitter : callable
        Gives a random time between two others; forked processes must not all give the same.
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
        """Take the bounds from options of obstore, where ``retry_config`` may have others than the usual ones."""
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
        """Send a request until it is answered, or the bounds are reached: then the last error tells how often."""
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
        """Say whether obstore, or a call within this one, has repeated a request as often as it is allowed to."""
        return _repeated(error) >= self.max_retries or _was_given_up(error)


def is_transient(error: BaseException) -> bool:
    """Say whether the same request may be answered the next time: no answer, or one of an overloaded server."""
    if not isinstance(error, GenericError):  # those that have a class of their own do not pass: 401, 403, 404, 412, …
        return False
    status = STATUS.search(str(error))
    if status is None:
        return _CONNECTION in str(error)
    if int(status[1]) == HTTPStatus.NOT_IMPLEMENTED:
        return False
    return int(status[1]) in _TRANSIENT_STATUSES or int(status[1]) >= HTTPStatus.INTERNAL_SERVER_ERROR


def is_not_implemented(error: BaseException) -> bool:
    """Return whether the server does not implement a request (501), or obstore is told not to send it."""
    if isinstance(error, NotImplementedError):
        return True
    status = STATUS.search(str(error)) if isinstance(error, GenericError) else None
    return status is not None and int(status[1]) == HTTPStatus.NOT_IMPLEMENTED


def _is_of_place(error: GenericError) -> bool:
    """Say whether a host does not resolve, or a machine without a role was asked for it: neither passes soon."""
    return _host_without_address(error) is not None or is_lookup_of_role(error)


def _host_without_address(error: GenericError) -> str | None:
    """Return the host of a request whose name does not resolve; None where that was not the reason."""
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
    """A bucket whose requests are sent again where they may be, and logged; see `Bucket`.

    Parameters
    ----------
    once : Bucket
        Sends each request once.
    open_repeating : callable of Bucket
        Opens the same bucket with the retries of obstore, which sends uploads, and reads whose body was cut.
    retries : Retries
        How often.

    Attributes
    ----------
    n_retries : int
        How often a request was sent again so far, without the tries that obstore hides.

    Notes
    -----
    A conditional put is sent once: only the caller can tell whether one without an answer came through. So is what
    comes in parts, which are gone by then; obstore repeats the upload of each of them.
    """

    def __init__(self, once: Bucket, open_repeating: Callable[[], Bucket], retries: Retries) -> None:
        self._once = once
        self._open_repeating = open_repeating
        self._retries = retries
        self._retries_of_a_name = replace(retries, name_timeout_s=_NAME_SECONDS)
        # A name that has resolved once is right: where it does not later, the name server is at fault.
        self._resolved = False
        self.n_retries = 0
        self._lock = Lock()

    @cached_property
    def _bucket(self) -> Bucket:
        """The bucket whose requests obstore repeats, opened when the first of them is sent."""
        return self._open_repeating()

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object; see `Bucket`."""
        what = f"read {key}{_words_for(byte_range)}"
        return self._read(what, lambda bucket: bucket.get(key, byte_range, max_bytes), lambda found: len(found[0]))

    def head(self, key: str) -> Meta:
        """Return what is known of an object; see `Bucket`."""
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
        """Send a request, again where that may help; each time is logged, and each but the first one counted."""
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
