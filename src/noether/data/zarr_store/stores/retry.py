"""Requests to object storage that are sent again where the network or the server fails for a moment.

obstore itself repeats most requests, and asks for the rest of a body that was cut. What it leaves to its caller is
repeated here: requests that it takes for unsafe to repeat (to delete, and conditional puts, whose outcome the caller
has to look up), and answers that end early where they are no objects (lists). Both keep to the same bounds.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

from obstore.exceptions import GenericError

from noether.data.zarr_store.stores.bucket import RETRY, Bucket, ByteRange, Meta

__all__ = ["PatientBucket", "Retries"]

# Those of obstore, where a caller's back-off lacks them.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _GROWTH = 0.1, 15.0, 2.0

# obstore has one class for all that it has no name for, so what happened is in its text alone.
_STATUS = re.compile(r"status code: (\d{3})")
_REPEATED = re.compile(r"after (\d+) retries")
_CONNECTION = "HTTP error"
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
    first_wait_s, longest_wait_s, growth : float
        The first wait; each other one is a random time between it and so many times the one before, up to the longest.
    clock, sleep : callable
        Tell the time in seconds, and wait for some.
    jitter : callable
        Gives a random time between two others; forked processes must not all give the same.
    """

    max_retries: int
    timeout_s: float
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
                gives_up = again >= self.max_retries or seconds >= self.timeout_s or self._is_over(error)
                if gives_up or not is_transient(error):
                    if tries > 1 and not _was_given_up(error):
                        error.add_note(f"tried {tries} times in {seconds:.1f} s")
                    raise
            self.sleep(wait)
            wait = min(self.jitter(self.first_wait_s, wait * self.growth), self.longest_wait_s)
            again += 1

    def _is_over(self, error: GenericError) -> bool:
        """Say whether obstore, or a call within this one, has repeated a request as often as it is allowed to."""
        return _repeated(error) >= self.max_retries or _was_given_up(error)


def is_transient(error: BaseException) -> bool:
    """Say whether the same request may be answered the next time: no answer, or one of an overloaded server."""
    if not isinstance(error, GenericError):  # those that have a class of their own do not pass: 401, 403, 404, 412, …
        return False
    status = _STATUS.search(str(error))
    if status is None:
        return _CONNECTION in str(error)
    return int(status[1]) in _TRANSIENT_STATUSES or int(status[1]) >= HTTPStatus.INTERNAL_SERVER_ERROR


def _was_given_up(error: GenericError) -> bool:
    return bool(getattr(error, "__notes__", ()))


def _repeated(error: GenericError) -> int:
    repeated = _REPEATED.search(str(error))
    return 0 if repeated is None else int(repeated[1])


class PatientBucket:
    """A bucket whose requests are sent again where they may be; see `Bucket`.

    Parameters
    ----------
    bucket : Bucket
        Sends them.
    retries : Retries
        How often.

    Notes
    -----
    A conditional put is sent once: only the caller can tell whether one without an answer came through. So is what
    comes in parts, which are gone by then; obstore repeats the upload of each of them.
    """

    def __init__(self, bucket: Bucket, retries: Retries) -> None:
        self._bucket = bucket
        self._retries = retries

    def get(
        self, key: str, byte_range: ByteRange | None = None, max_bytes: int | None = None
    ) -> tuple[bytes | memoryview, Meta]:
        """Read an object; see `Bucket`."""
        return self._retries.call(lambda: self._bucket.get(key, byte_range, max_bytes))

    def head(self, key: str) -> Meta:
        """Give what is known of an object; see `Bucket`."""
        return self._retries.call(lambda: self._bucket.head(key))

    def put(self, key: str, data: bytes, mode: Any = None) -> None:
        """Write an object; see `Bucket`."""
        if mode is None:
            self._retries.call(lambda: self._bucket.put(key, data))
        else:
            self._bucket.put(key, data, mode)

    def upload(self, key: str, parts: Iterable[bytes]) -> None:
        """Write a large object; see `Bucket`."""
        self._bucket.upload(key, parts)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Bucket`."""
        self._retries.call(lambda: self._bucket.delete(keys))

    def objects(self, prefix: str) -> list[Meta]:
        """List objects; see `Bucket`."""
        return self._retries.call(lambda: self._bucket.objects(prefix))
