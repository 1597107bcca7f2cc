"""Disks that are small, and processes with fewer rights than root."""

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

# Of capabilities(7): the version of the arguments of `capset`, and how many 32-bit sets they hold for each of 64.
_CAPABILITY_VERSION = 0x20080522
_N_CAPABILITY_SETS = 2 * 3


class SmallMount:
    """A file system of its own, in memory, of which nobody can take more than it has.

    Attributes
    ----------
    path : Path
        Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Take all room that is left."""
        with (self.path / "filler").open("wb") as file:
            for size in (1 << 16, 1 << 12, 1):
                while _fits(file.fileno(), size):
                    pass

    def clear(self) -> None:
        """Give the room back that `fill` took."""
        (self.path / "filler").unlink()

    def change(self, options: str) -> None:
        """Change how it is mounted: ``size=8m``, or ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


def _fits(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, bytes(size)) > 0
    except OSError:
        return False


@contextmanager
def small_mount(path: Path, size: str) -> Iterator[SmallMount]:
    """Mount a file system of a size such as ``2m``, for as long as the context lasts."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "noether-zarr-tests", str(path)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount file systems, on Linux, and in a container only one with CAP_SYS_ADMIN")
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
    """Take the permission to write to a directory, and all in it, from everybody; root needs none."""
    _set_writing(directory, allowed=False)


def _set_writing(directory: Path, *, allowed: bool) -> None:
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IRWXU if allowed else mode & ~0o222)


def without_privileges(work: Callable[[], Result]) -> Result:
    """Do work in a forked process for which the permissions of files count, as they do for everybody but root.

    It keeps its user id, so it may still read Python and its packages where they lie below a directory of root alone.
    """

    def work_without() -> Result:
        if os.geteuid() == 0:
            _drop_capabilities()
        return work()

    if os.geteuid() == 0 and sys.platform != "linux":
        pytest.skip("only on Linux can root give up its rights over files and remain the owner of them")
    return in_fork(work_without)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * _N_CAPABILITY_SETS)()):
        raise OSError(ctypes.get_errno(), "capset")
