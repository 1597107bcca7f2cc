"""What the control groups of Linux leave to this process: the limits of containers, and of jobs of a batch system."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

__all__ = ["OWN_GROUPS", "ControlGroups", "memory_left_bytes", "quota_of_cores"]


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The groups of a process.

    Attributes
    ----------
    mount : Path
        Where the groups are directories.
    membership : Path
        The file that names the groups of the process; see cgroups(7).
    """

    mount: Path
    membership: Path

    def directories(self, controller: str) -> Iterator[Path]:
        """Yield the directories of the process's groups and of all groups above them; some may not exist."""
        for line in _lines(self.membership):
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2, which lies beside version 1 where a system has both
                base = self.mount if (self.mount / "cgroup.controllers").exists() else self.mount / "unified"
            elif controller in controllers.split(","):
                base = self.mount / controller
            else:
                continue
            # In a container, the path may be the one outside of it: its own group is then the mount itself.
            group = PurePosixPath("" if ".." in path.split("/") else path.lstrip("/"))
            yield from (base / one for one in [group, *group.parents])


OWN_GROUPS = ControlGroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))


def memory_left_bytes(groups: ControlGroups) -> int | None:
    """Return the memory that the limits of groups leave; None without a limit.

    What files have in the system's cache counts as left: the system gives it up when memory is asked for.
    """
    left = []
    for group in groups.directories("memory"):
        limit = _numbers(group / "memory.max") or _numbers(group / "memory.limit_in_bytes")
        used = _numbers(group / "memory.current") or _numbers(group / "memory.usage_in_bytes")
        if limit and used:
            left.append(max(limit[0] - used[0] + _file_cache_bytes(group / "memory.stat"), 0))
    return min(left, default=None)


@cache  # asked for with every sample, and set when a container or job begins
def quota_of_cores(groups: ControlGroups) -> int | None:
    """Return the cores whose time the quotas of groups allow, rounded up; None without a quota."""
    cores = []
    for group in groups.directories("cpu"):
        share = _numbers(group / "cpu.max")
        share = share or _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        if len(share) == 2 and min(share) > 0:
            cores.append(math.ceil(share[0] / share[1]))
    return min(cores, default=None)


def _file_cache_bytes(statistics: Path) -> int:
    values = dict(line.split(maxsplit=1) for line in _lines(statistics))
    # Version 1 counts the groups below a group with another prefix.
    prefix = "total_" if "total_inactive_file" in values else ""
    return sum(int(values.get(f"{prefix}{key}", 0)) for key in ("active_file", "inactive_file"))


def _numbers(file: Path) -> list[int]:
    """Return the numbers of a file of one line; none where it does not exist, or says that there is no limit."""
    words = " ".join(_lines(file)).split()
    return [] if "max" in words else [int(word) for word in words]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # a group may end, or be of another user
        return []
