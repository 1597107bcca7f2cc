"""Memory of this process, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_bytes", "resident_bytes", "start_peak"]

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Give the memory in use now."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Give the most memory that was in use since `start_peak`."""
    return _status("VmHWM")


def start_peak() -> int:
    """Forget the peak so far, and give the memory in use, to compare `peak_bytes` with."""
    gc.collect()
    # What is free but still held would hide as much growth.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    _CLEAR_REFS.write_text("5")  # resets VmHWM: proc_pid_clear_refs(5)
    return resident_bytes()


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"{_STATUS} has no {key}: memory is measured on Linux only")
