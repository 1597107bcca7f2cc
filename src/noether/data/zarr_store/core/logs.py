"""The log of this library on stderr, for commands and their worker processes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from noether.data.zarr_store.core.names import printable

__all__ = ["LOGGER", "log_as_parent_does", "logged_to_stderr"]

LOGGER = "noether.data.zarr_store"
"""The logger above those of all modules. The library gives none of them a handler, but for its commands."""

# What a command tells the worker processes that it starts.
_LEVEL_VARIABLE = "NOETHER_ZARR_LOG_LEVEL"
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s [%(process)d] %(message)s"


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is by then: a bar that shows progress puts a place of its own there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{printable(self.format(record))}\n")
        except Exception:  # noqa: BLE001  # a log that cannot be written is no reason to stop; as in `logging` itself
            self.handleError(record)


@contextmanager
def logged_to_stderr(level: str) -> Iterator[None]:
    """Write what is logged at a level, or above it, to stderr; also in worker processes that are started meanwhile.

    Parameters
    ----------
    level : str
        A name that `logging` knows, in any case.
    """
    logger, before = logging.getLogger(LOGGER), os.environ.get(_LEVEL_VARIABLE)
    level_before, handler = logger.level, _new_handler()
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    os.environ[_LEVEL_VARIABLE] = level
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)
        if before is None:
            del os.environ[_LEVEL_VARIABLE]
        else:
            os.environ[_LEVEL_VARIABLE] = before


def log_as_parent_does() -> None:
    """Write to stderr what the command that started this process does."""
    level = os.environ.get(_LEVEL_VARIABLE)
    if level:
        logging.getLogger(LOGGER).addHandler(_new_handler())
        logging.getLogger(LOGGER).setLevel(level.upper())


def _new_handler() -> logging.Handler:
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    return handler
