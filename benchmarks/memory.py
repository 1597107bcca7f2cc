"""Memory of this process, and of trees of processes, as Linux counts it."""

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


def peak_unique_bytes(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end; return the most memory that it and its descendants had to themselves at once.

    That is what the system cannot drop: anonymous and shared memory, and pages of mapped files that were changed and
    are not on disk yet. Other pages of mapped files lie in the page cache and are not counted. A page that several
    processes share counts once. The processes are asked every 20 ms, so that a shorter peak may be missed.

    Raises
    ------
    RuntimeError
        The system does not say how much that is; Linux 6.0 and later do.
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
    """Yield the process and all its descendants; one that has ended has none."""
    yield pid
    with suppress(OSError):
        for task in (_PROCESSES / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _unique_bytes(pid: int) -> int:
    """Return the dirty memory of a process, its share of what is shared; 0 if it has ended: proc_pid_smaps(5)."""
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
