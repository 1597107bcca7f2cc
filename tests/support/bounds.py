"""Limits on the memory and time for hostile input."""

from __future__ import annotations

import mmap
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["MEMORY_BYTES", "bounded", "limit_memory"]

MEMORY_BYTES = 256 << 20
_SECONDS = 60


class TookTooLongError(BaseException):
    """A timeout. It is not an `Exception`, so that no handler catches it."""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise TookTooLongError(f"not done after {_SECONDS} s")


def limit_memory(memory_bytes: int = MEMORY_BYTES) -> None:
    """Limit the memory that this process can allocate in addition to its current memory."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_bytes, hard))


@contextmanager
def bounded(memory_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """Limit memory and time for the duration of the context."""
    former_limits = resource.getrlimit(resource.RLIMIT_AS)
    former_handler = signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(_SECONDS)
    limit_memory(memory_bytes)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former_limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former_handler)
