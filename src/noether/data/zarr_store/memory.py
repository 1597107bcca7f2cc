"""How much memory this process takes."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["available_memory_bytes", "memory_bytes", "peak_memory_bytes"]

_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")


def memory_bytes() -> int:
    """Give the resident memory of this process; its peak where the system tells no more, 0 where it tells nothing."""
    return _bytes_in(_STATUS, "VmRSS:") or _peak_of_usage()


def peak_memory_bytes() -> int:
    """Give the most resident memory that this process has taken so far; 0 where the system does not tell."""
    return _bytes_in(_STATUS, "VmHWM:") or _peak_of_usage()


def available_memory_bytes() -> int | None:
    """Give the memory that this machine can still give; None where the system does not tell."""
    return _bytes_in(_MEMINFO, "MemAvailable:") or None


def _bytes_in(file: Path, key: str) -> int:
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def _peak_of_usage() -> int:
    """Ask the standard way, which on Linux counts the parent in: a process shares its memory until it runs a program.

    See getrusage(2).
    """
    if sys.platform == "win32":
        return 0
    from resource import RUSAGE_SELF, getrusage

    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
