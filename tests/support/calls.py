"""Functions that tests call in worker processes. Workers import them by name, so this module imports nothing heavy."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from noether.data.zarr_store.convert.executors import ProcessExecutor
from support.bad_sources import ACTS


def give(value: Any = None) -> Any:
    return value


def fail(error: Exception) -> None:
    raise error


def act(name: str) -> None:
    ACTS[name]()


def pid() -> int:
    return os.getpid()


def leave_temporary_file() -> Path:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        return Path(file.name)


def leave_temporary_file_and_die(told: Path) -> None:
    told.write_text(str(leave_temporary_file()))
    ACTS["killed"]()


def give_what_cannot_be_sent() -> Any:
    return lambda: None


class MeshLibraryError(Exception):
    def __init__(self, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: no such cell")


def fail_as_a_library_does() -> None:
    raise MeshLibraryError("volume.vtu", 9)


class Large:
    """An object that counts how often it is pickled here, and unpickled in each process."""

    pickled = unpickled = 0

    def __reduce__(self) -> tuple[Any, ...]:
        Large.pickled += 1
        return _received, ()

    def __call__(self) -> tuple[int, int]:
        return os.getpid(), Large.unpickled


def _received() -> Large:
    Large.unpickled += 1
    return Large()


def hold_open(path: str) -> None:
    """Hang, ignore SIGTERM, and keep a named pipe open until this process ends.

    A byte in the pipe shows its reader that it is open.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(os.open(path, os.O_WRONLY), b".")
    ACTS["hung"]()


if __name__ == "__main__":
    # A parent that a test kills while its worker hangs.
    wait([ProcessExecutor(1).submit(hold_open, sys.argv[1])])
