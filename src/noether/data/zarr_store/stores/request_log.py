"""One DEBUG line for each request to a storage: the key, the bytes, the time and the try.

A line has the key relative to the root of the store, and never a URL, an option or the text of an error: these can hold
credentials.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

__all__ = ["STATUS", "from_to", "log_request", "logged", "logs_requests"]

STATUS = re.compile(r"status code: (\d{3})")
"""Finds the status of an answer in the text of an error: obstore has one class for all that it has no name for."""

_logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def logs_requests() -> bool:
    """Return whether requests are logged now."""
    return _logger.isEnabledFor(logging.DEBUG)


def log_request(what: str, outcome: str, seconds: float, tries: int = 1) -> None:
    """Log a request that was sent."""
    _logger.debug("%s: %s in %.1f ms, try %d", what, outcome, 1e3 * seconds, tries)


def logged(
    what: str,
    send: Callable[[], Answer],
    n_bytes: Callable[[Answer], int] | None = None,
    *,
    tries: int = 1,
) -> Answer:
    """Send a request, and log it.

    Parameters
    ----------
    what : str
        The request: a verb, the key and the bytes.
    send : callable
        Sends it once.
    n_bytes : callable of answer to int, optional
        Returns the bytes that an answer brought, or that were sent.
    tries : int
        How often it was sent, with this time.
    """
    if not logs_requests():
        return send()
    start = time.perf_counter()
    try:
        answer = send()
    except Exception as error:
        log_request(what, f"failed, {_reason(error)}", time.perf_counter() - start, tries)
        raise
    seconds = time.perf_counter() - start
    log_request(what, "done" if n_bytes is None else f"{n_bytes(answer):,} bytes", seconds, tries)
    return answer


def from_to(start: int, length: int) -> str:
    """Return the words for a range of bytes; the end is the first byte that is not read."""
    return f"bytes {start} to {start + length}"


def _reason(error: Exception) -> str:
    """Return the status of an answer, else the class of the error, without its text."""
    status = STATUS.search(str(error))
    if status is None:
        return type(error).__name__
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"status {status[1]} {known.get(int(status[1]), '')}".strip()
