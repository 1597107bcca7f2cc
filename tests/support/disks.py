"""Disks that are small, and processes with fewer rights than root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from support.forks import in_fork

__all__ = ["SmallMount", "as_nobody", "forbid_writing", "open_directory", "small_mount"]

Result = TypeVar("Result")

_NOBODY = 65534


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
def open_directory() -> Iterator[Path]:
    """Give a directory that every user can reach, which those of pytest are not."""
    directory = Path(tempfile.mkdtemp(prefix="noether-zarr-tests-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        _set_writing(directory, allowed=True)
        shutil.rmtree(directory)


def forbid_writing(directory: Path) -> None:
    """Take the permission to write to a directory, and all in it, from everybody; root needs none."""
    _set_writing(directory, allowed=False)


def _set_writing(directory: Path, *, allowed: bool) -> None:
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IRWXU if allowed else mode & ~0o222)


def as_nobody(work: Callable[[], Result]) -> Result:
    """Do work in a forked process that has lost the rights that root has over files."""

    def without_rights() -> Result:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        return work()

    return in_fork(without_rights)
