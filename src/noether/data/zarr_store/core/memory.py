"""The memory of this process: its size, its limit, and arrays in it that are memory-mapped files."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from noether.data.zarr_store.core.control_groups import OWN_GROUPS, ControlGroups, memory_left_bytes

__all__ = ["available_memory_bytes", "map_again", "memory_bytes", "peak_memory_bytes"]

_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_MAPS = Path("/proc/self/maps")
_SMAPS = Path("/proc/self/smaps")
# Files in this directory are in memory.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing is written there
# Addresses, offset, device, inode and path.
_HEADER = re.compile(r"([0-9a-f]+-[0-9a-f]+) \S+ ([0-9a-f]+) (\S+) (\d+) *(.*)")


def memory_bytes() -> int:
    """Return the resident memory of this process, in bytes.

    Some systems report only the peak, which is then returned; 0 if the system reports neither.
    """
    return _bytes_in(_STATUS, "VmRSS:") or _peak_of_usage()


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process, in bytes; 0 if the system does not report it."""
    return _bytes_in(_STATUS, "VmHWM:") or _peak_of_usage()


def available_memory_bytes(groups: ControlGroups = OWN_GROUPS) -> int | None:
    """Return the memory that this process can still allocate, in bytes; None if the system does not report it.

    This is the smaller of two numbers: the free memory of the machine, and the limit of the container or batch job.
    """
    of_machine = _bytes_in(_MEMINFO, "MemAvailable:") or None
    return min((one for one in (of_machine, memory_left_bytes(groups)) if one is not None), default=None)


def _bytes_in(file: Path, key: str) -> int:
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def _peak_of_usage() -> int:
    """Return the peak resident memory that getrusage(2) reports.

    On Linux, this peak includes the memory of the parent process: a forked process has it until it runs a program.
    """
    if sys.platform == "win32":
        return 0
    from resource import RUSAGE_SELF, getrusage

    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def map_again(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return a read-only `numpy.memmap` of the file that an array is memory-mapped from.

    A tensor of `torch.load(mmap=True)` looks like any other tensor. Only its address shows that it is memory-mapped.

    Parameters
    ----------
    values : ndarray
        At least one value, in any shape, dtype and strides.

    Returns
    -------
    numpy.memmap or None
        The same values. None if they are in memory, or the system does not report mappings. Values that were changed
        in a private mapping are in memory.
    """
    first, end = byte_bounds(values)
    found = _mapping_around(first, end)
    if found is None or _SHARED_MEMORY in found.path.parents or found.has_changes():
        return None
    try:
        with found.path.open("rb") as file:
            if not found.is_of(os.fstat(file.fileno())):
                return None
            mapped = np.memmap(file, np.uint8, "r", found.offset + first - found.start, (end - first,))
    except (OSError, ValueError):  # the file was removed, cannot be read, or was truncated
        return None
    start = values.ctypes.data - first
    one = mapped[start : start + values.itemsize].view(values.dtype)
    return as_strided(one, values.shape, values.strides, subok=True, writeable=False)


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A range of addresses that maps a byte range of a file; see proc_pid_maps(5)."""

    addresses: str
    offset: int
    device: str
    inode: int
    path: Path

    @property
    def start(self) -> int:
        """First address."""
        return int(self.addresses.partition("-")[0], 16)

    @property
    def stop(self) -> int:
        """One past the last address."""
        return int(self.addresses.partition("-")[2], 16)

    def is_of(self, file: os.stat_result) -> bool:
        """Return whether this is a mapping of `file`. The path can name another file by now."""
        device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
        return (self.device, self.inode) == (device, file.st_ino)

    def has_changes(self) -> bool:
        """Return whether a private mapping has changed pages, which are not in the file; see proc_pid_smaps(5).

        This is slow, because the system examines every page of the mapping.
        """
        with _SMAPS.open(encoding="utf-8", errors="surrogateescape") as lines:
            if not any(line.startswith(f"{self.addresses} ") for line in lines):
                return True  # the mapping has changed since it was found
            counts = takewhile(lambda line: not _HEADER.match(line), lines)
            return any(line.startswith(("Anonymous:", "Swap:")) and int(line.split()[1]) for line in counts)


def _mapping_around(first: int, end: int) -> _Mapping | None:
    """Return the file mapping that contains a range of addresses, or None."""
    if not (_MAPS.exists() and _SMAPS.exists()):
        return None
    for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        header = _HEADER.match(line)
        if header is None or header[4] == "0":
            continue
        addresses, offset, device, inode, path = header.groups()
        found = _Mapping(addresses, int(offset, 16), device, int(inode), Path(path))
        if found.start <= first and end <= found.stop:
            return found
    return None
