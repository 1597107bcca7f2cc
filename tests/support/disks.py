"""Small disks, and processes with fewer rights than root."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from support.forks import in_fork

__all__ = ["SmallMount", "forbid_writing", "small_mount", "without_privileges", "writing_allowed_again"]

Result = TypeVar("Result")

# See capabilities(7): version of the arguments of `capset`, and the number of 32-bit words of the three 64-bit sets.
_CAPABILITY_VERSION = 0x20080522
_N_CAPABILITY_SETS = 2 * 3


class SmallMount:
    """A mounted file system of limited size, in memory.

    Attributes
    ----------
    path : Path
        Mount point.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Write a file that takes all free space."""
        with (self.path / "filler").open("wb") as file:
            for size in (1 << 16, 1 << 12, 1):
                while _fits(file.fileno(), size):
                    pass

    def clear(self) -> None:
        """Remove the file of `fill`."""
        (self.path / "filler").unlink()

    def change(self, options: str) -> None:
        """Mount again with other options: ``size=8m``, or ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


def _fits(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, bytes(size)) > 0
    except OSError:
        return False


@contextmanager
def small_mount(path: Path, size: str) -> Iterator[SmallMount]:
    """Mount a file system of a size such as ``2m`` for the duration of the context."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "noether-zarr-tests", str(path)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root on Linux; in a container, it also needs CAP_SYS_ADMIN")
    try:
        yield SmallMount(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextmanager
def writing_allowed_again(directory: Path) -> Iterator[None]:
    """Restore the permissions of the owner on a directory at the end, so that it can be removed."""
    try:
        yield
    finally:
        _set_writing(directory, allowed=True)


def forbid_writing(directory: Path) -> None:
    """Remove the write permission for all users on a directory and its content; root can still write."""
    _set_writing(directory, allowed=False)


def _set_writing(directory: Path, *, allowed: bool) -> None:
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IRWXU if allowed else mode & ~0o222)


def without_privileges(work: Callable[[], Result]) -> Result:
    """Do work in a forked process for which file permissions apply, even if this process is root.

    The process keeps its user id, so it can still read Python and its packages in a directory that only root can read.
    """

    def work_without() -> Result:
        if os.geteuid() == 0:
            _drop_capabilities()
        return work()

    if os.geteuid() == 0 and sys.platform != "linux":
        pytest.skip("dropping the rights of root while keeping its user id needs Linux")
    return in_fork(work_without)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * _N_CAPABILITY_SETS)()):
        raise OSError(ctypes.get_errno(), "capset")
