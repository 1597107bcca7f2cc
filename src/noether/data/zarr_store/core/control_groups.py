"""Memory and CPU limits that Linux control groups set for containers and for batch jobs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

__all__ = ["OWN_GROUPS", "ControlGroups", "memory_left_bytes", "quota_of_cores"]


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The control groups of a process.

    Attributes
    ----------
    mount : Path
        Mount point of the file system in which each control group is a directory.
    membership : Path
        File that names the control groups of the process; see cgroups(7).
    """

    mount: Path
    membership: Path

    def directories(self, controller: str) -> Iterator[Path]:
        """Yield the directories of the process's control groups and of their ancestors; some might not exist."""
        for line in _lines(self.membership):
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2, which has its own directory if the system also has version 1
                base = self.mount if (self.mount / "cgroup.controllers").exists() else self.mount / "unified"
            elif controller in controllers.split(","):
                base = self.mount / controller
            else:
                continue
            # In a container, the path can be the one on the host. The container's control group is then the mount.
            group = PurePosixPath("" if ".." in path.split("/") else path.lstrip("/"))
            yield from (base / one for one in [group, *group.parents])


OWN_GROUPS = ControlGroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))


def memory_left_bytes(groups: ControlGroups) -> int | None:
    """Return the number of bytes that the process can still allocate under its limits; None without a limit.

    The page cache counts as free memory, because the system releases it when a process needs memory.
    """
    left = []
    for group in groups.directories("memory"):
        limit = _numbers(group / "memory.max") or _numbers(group / "memory.limit_in_bytes")
        used = _numbers(group / "memory.current") or _numbers(group / "memory.usage_in_bytes")
        if limit and used:
            left.append(max(limit[0] - used[0] + _file_cache_bytes(group / "memory.stat"), 0))
    return min(left, default=None)


@cache  # called for every sample; the quota is set when a container or job starts
def quota_of_cores(groups: ControlGroups) -> int | None:
    """Return the CPU quota as a number of cores, rounded up; None without a quota."""
    cores = []
    for group in groups.directories("cpu"):
        share = _numbers(group / "cpu.max")
        share = share or _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        if len(share) == 2 and min(share) > 0:
            cores.append(math.ceil(share[0] / share[1]))
    return min(cores, default=None)


def _file_cache_bytes(statistics: Path) -> int:
    values = dict(line.split(maxsplit=1) for line in _lines(statistics))
    # In version 1, the counts that include the groups below a group have this prefix.
    prefix = "total_" if "total_inactive_file" in values else ""
    return sum(int(values.get(f"{prefix}{key}", 0)) for key in ("active_file", "inactive_file"))


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a one-line file; an empty list if the file is missing, or its text is "max" (no limit)."""
    words = " ".join(_lines(file)).split()
    return [] if "max" in words else [int(word) for word in words]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # the group ended, or belongs to another user
        return []
