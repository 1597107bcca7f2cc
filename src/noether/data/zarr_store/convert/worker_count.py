"""How many samples one machine converts at the same time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from noether.data.zarr_store.core import available_memory_bytes, default_threads, scratch_root

__all__ = ["Machine", "WorkerCount", "count_workers", "free_bytes", "gigabytes"]


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """A number of worker processes.

    Attributes
    ----------
    n_workers : int
        The number.
    reason : str
        What limits it; empty where a user has named the number.
    """

    n_workers: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.n_workers} worker{'' if self.n_workers == 1 else 's'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process can have of its machine.

    Attributes
    ----------
    cores : int
        Cores.
    memory_bytes : int or None
        Memory; None where the system does not tell.
    scratch_bytes : int
        Room for temporary files.
    scratch_directory : str
        Where these lie.
    """

    cores: int
    memory_bytes: int | None
    scratch_bytes: int
    scratch_directory: str

    @classmethod
    def now(cls) -> Self:
        """Look at this machine."""
        directory = scratch_root()
        return cls(default_threads(), available_memory_bytes(), free_bytes(Path(directory)), directory)


def count_workers(n_samples: int, machine: Machine, *, memory_bytes: int = 0, scratch_bytes: int = 0) -> WorkerCount:
    """Return as many workers as have cores, samples, memory and room for temporary files; at least one.

    Parameters
    ----------
    n_samples : int
        Samples that are to be converted.
    machine : Machine
        What the workers share.
    memory_bytes, scratch_bytes : int
        Memory and temporary files of one worker.
    """
    if n_samples == 0:
        return WorkerCount(1, "no sample is to be converted")
    count = min(machine.cores, n_samples)
    reason = "as many as cores" if count == machine.cores else "as many as samples to convert"
    if memory_bytes and machine.memory_bytes is None:
        reason += "; the system does not tell how much memory is available"
    if machine.memory_bytes is not None and count * memory_bytes > machine.memory_bytes:
        fit = machine.memory_bytes // memory_bytes
        count = max(fit, 1)
        reason = (
            f"{_too_many(fit)} of {gigabytes(memory_bytes)} would not fit in the {gigabytes(machine.memory_bytes)} of "
            "memory that are available"
        )
    if count * scratch_bytes > machine.scratch_bytes:
        fit = machine.scratch_bytes // scratch_bytes
        count = max(fit, 1)
        reason = (
            f"{_too_many(fit)} with {gigabytes(scratch_bytes)} of temporary files would not fit in the "
            f"{gigabytes(machine.scratch_bytes)} that are free in {machine.scratch_directory}; TMPDIR names another "
            "directory"
        )
    return WorkerCount(count, reason)


def free_bytes(path: Path) -> int:
    """Return the free space where a directory is, or is to be."""
    there = next(one for one in [path, *path.parents] if one.exists())
    return shutil.disk_usage(there).free


def gigabytes(n_bytes: int) -> str:
    """Write a number of bytes in gigabytes."""
    return f"{n_bytes / 1e9:.1f} GB"


def _too_many(fit: int) -> str:
    return f"{fit + 1}" if fit else "even 1"
