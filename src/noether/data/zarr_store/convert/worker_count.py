"""The number of samples that one machine converts at the same time."""

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
        Number of worker processes.
    reason : str
        Reason of the limit; empty if the user specified the number.
    """

    n_workers: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.n_workers} worker{'' if self.n_workers == 1 else 's'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Machine:
    """The resources of this machine that this process may use.

    Attributes
    ----------
    cores : int
        Number of cores.
    memory_bytes : int or None
        Available memory; None if the system does not report it.
    scratch_bytes : int
        Free space for temporary files.
    scratch_directory : str
        Directory of the temporary files.
    """

    cores: int
    memory_bytes: int | None
    scratch_bytes: int
    scratch_directory: str

    @classmethod
    def now(cls) -> Self:
        """Return the present resources of this machine."""
        directory = scratch_root()
        return cls(default_threads(), available_memory_bytes(), free_bytes(Path(directory)), directory)


def count_workers(n_samples: int, machine: Machine, *, memory_bytes: int = 0, scratch_bytes: int = 0) -> WorkerCount:
    """Return the number of workers for which there are cores, samples, memory and room for temporary files; at least 1.

    Parameters
    ----------
    n_samples : int
        Number of samples to convert.
    machine : Machine
        Resources that the workers share.
    memory_bytes, scratch_bytes : int
        Memory and size of the temporary files of one worker.
    """
    if n_samples == 0:
        return WorkerCount(1, "there is no sample to convert")
    count = min(machine.cores, n_samples)
    reason = "one for each core" if count == machine.cores else "one for each sample to convert"
    if memory_bytes and machine.memory_bytes is None:
        reason += "; the system does not report the available memory"
    if machine.memory_bytes is not None and count * memory_bytes > machine.memory_bytes:
        fit = machine.memory_bytes // memory_bytes
        count = max(fit, 1)
        reason = (
            f"{_too_many(fit)} with {gigabytes(memory_bytes)} of memory each would not fit in the available "
            f"{gigabytes(machine.memory_bytes)}"
        )
    if count * scratch_bytes > machine.scratch_bytes:
        fit = machine.scratch_bytes // scratch_bytes
        count = max(fit, 1)
        reason = (
            f"{_too_many(fit)} with {gigabytes(scratch_bytes)} of temporary files each would not fit in the "
            f"{gigabytes(machine.scratch_bytes)} free in {machine.scratch_directory}; set TMPDIR to a directory with "
            "more room"
        )
    return WorkerCount(count, reason)


def free_bytes(path: Path) -> int:
    """Return the free space of the file system of a directory, which need not exist yet."""
    there = next(one for one in [path, *path.parents] if one.exists())
    return shutil.disk_usage(there).free


def gigabytes(n_bytes: int) -> str:
    """Format a number of bytes in gigabytes."""
    return f"{n_bytes / 1e9:.1f} GB"


def _too_many(fit: int) -> str:
    return f"{fit + 1}" if fit else "even 1"
