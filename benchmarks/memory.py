"""Memory of this process and of trees of processes, as counted by Linux."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_bytes", "peak_unique_bytes", "resident_bytes", "start_peak"]

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_PROCESSES = Path("/proc")
_SAMPLE_SECONDS = 0.02


def resident_bytes() -> int:
    """Return the memory in use now, in bytes."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the peak of memory in use since `start_peak`, in bytes."""
    return _status("VmHWM")


def start_peak() -> int:
    """Reset the peak, and return the memory in use, as the baseline of `peak_bytes`."""
    gc.collect()
    # Freed memory that the process still holds would hide growth.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    _CLEAR_REFS.write_text("5")  # resets VmHWM: proc_pid_clear_refs(5)
    return resident_bytes()


def peak_unique_bytes(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end; return the peak of memory that it and its descendants needed together, in bytes.

    Only memory that the system cannot drop counts: anonymous and shared memory, and changed pages of memory-mapped
    files that are not on disk yet. Other pages of memory-mapped files are in the page cache and do not count. A page
    that several processes share counts once. Memory is sampled every 20 ms, so a shorter peak can be missed.

    Raises
    ------
    RuntimeError
        The system does not count this memory; Linux 6.0 and later do.
    """
    rollup, children = _PROCESSES / "self" / "smaps_rollup", _PROCESSES / "thread-self" / "children"
    if not children.exists() or "Pss_Dirty:" not in rollup.read_text():
        raise RuntimeError("memory of trees of processes is measured on Linux 6.0 and later only")
    peak = 0
    while process.poll() is None:
        start = time.perf_counter()
        peak = max(peak, sum(map(_unique_bytes, _tree(process.pid))))
        time.sleep(max(start + _SAMPLE_SECONDS - time.perf_counter(), 0))
    return peak


def _tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and of all its descendants; a process that has ended has no descendants."""
    yield pid
    with suppress(OSError):
        for task in (_PROCESSES / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _unique_bytes(pid: int) -> int:
    """Return the dirty memory of a process, with its share of shared pages; 0 if it has ended: proc_pid_smaps(5)."""
    with suppress(OSError):
        for line in (_PROCESSES / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Dirty:"):
                return int(line.split()[1]) * 1024
    return 0


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"{_STATUS} has no {key}: memory is measured on Linux only")
