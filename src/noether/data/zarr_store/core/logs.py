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
"""Name of the parent of all module loggers. Only the commands of the library add a handler to it."""

# Environment variable that passes the level from a command to its worker processes.
_LEVEL_VARIABLE = "NOETHER_ZARR_LOG_LEVEL"
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s [%(process)d] %(message)s"


class _StderrHandler(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar can replace."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{printable(self.format(record))}\n")
        except Exception:  # noqa: BLE001  # as in `logging`: a log that cannot be written does not stop the program
            self.handleError(record)


@contextmanager
def logged_to_stderr(level: str) -> Iterator[None]:
    """Log to stderr inside the ``with`` block, also from worker processes that are started in it.

    Parameters
    ----------
    level : str
        Lowest level that is written: a level name of `logging`, in upper or lower case.
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
    """Log to stderr at the same level as the command that started this process."""
    level = os.environ.get(_LEVEL_VARIABLE)
    if level:
        logging.getLogger(LOGGER).addHandler(_new_handler())
        logging.getLogger(LOGGER).setLevel(level.upper())


def _new_handler() -> logging.Handler:
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    return handler
