"""The request log: one DEBUG line for each request to a storage, with key, bytes, time and the number of the try.

The key is relative to the root of the store. A line never has a URL, an option or the text of an error, since these can
hold credentials.
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
"""Pattern of the status code in an error of obstore, which has one class for most status codes."""

_logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def logs_requests() -> bool:
    """Return whether requests are logged at this moment."""
    return _logger.isEnabledFor(logging.DEBUG)


def log_request(what: str, outcome: str, seconds: float, tries: int = 1) -> None:
    """Log a request after its answer or failure."""
    _logger.debug("%s: %s in %.1f ms, try %d", what, outcome, 1e3 * seconds, tries)


def logged(
    what: str,
    send: Callable[[], Answer],
    n_bytes: Callable[[Answer], int] | None = None,
    *,
    tries: int = 1,
) -> Answer:
    """Send a request, log it, and return its answer.

    Parameters
    ----------
    what : str
        The request in words: a verb, the key and the bytes.
    send : callable
        Function that sends the request once.
    n_bytes : callable of answer to int, optional
        Function that returns the number of bytes received or sent.
    tries : int
        Number of this try, from 1.
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
    """Return the words for a byte range; its end is the first byte that is not read."""
    return f"bytes {start} to {start + length}"


def _reason(error: Exception) -> str:
    """Return the status code of the answer, or else the class of the error. The text of the error is left out."""
    status = STATUS.search(str(error))
    if status is None:
        return type(error).__name__
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"status {status[1]} {known.get(int(status[1]), '')}".strip()
