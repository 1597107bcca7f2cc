"""Progress as text on stderr, without a library: one line that is rewritten on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["Progress", "shown_progress"]

Progress: TypeAlias = Callable[[int, int], None]

_BAR_WIDTH = 20
# Longer than any line, so that a short line covers all of a longer one.
_LINE_WIDTH = 60


@contextmanager
def shown_progress(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Yield the function that reports the progress of a pass; yield None for no progress.

    Parameters
    ----------
    progress : callable of (int, int) to None, bool, optional
        The function itself, or True to show the progress on stderr.

    Raises
    ------
    ArgumentError
        `progress` is neither a function nor a bool.
    """
    if callable(progress):
        yield progress
        return
    if progress is not None and not isinstance(progress, bool):
        raise ArgumentError(
            f"progress: expected True, False or a function of (values read, total values), got {progress!r}"
        )
    if not progress or sys.stderr is None:  # a process without a console has no stderr
        yield None
        return
    line = _Line(sys.stderr)
    try:
        yield line
    finally:
        line.end()


class _Line:
    """Writes the progress of a pass to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        # A log or a notebook gets ten whole lines, and no control characters.
        self._step = 1 if self._is_terminal else 10
        self._start = time.monotonic()
        self._shown = 0

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total
        if percent // self._step <= self._shown // self._step:
            return
        self._shown = percent
        seconds = round((time.monotonic() - self._start) * (total - done) / done)
        left = f"{seconds // 60}:{seconds % 60:02} left"
        if self._is_terminal:
            bar = "#" * (percent * _BAR_WIDTH // 100)
            text = f"reading [{bar:.<{_BAR_WIDTH}}] {percent:3} %, {left}"
            self._stream.write(f"\r{text:{_LINE_WIDTH}}")
        else:
            self._stream.write(f"reading {percent} % of {total:,} values, {left}\n")
        self._stream.flush()

    def end(self) -> None:
        """End the line, so that the next output begins on a new line."""
        if self._is_terminal and self._shown:
            self._stream.write("\n")
            self._stream.flush()
