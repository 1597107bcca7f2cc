"""Forked processes that do not hang a test: an alarm ends a process that takes too long."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["PATIENCE_SECONDS", "children", "has_ended", "in_fork", "in_fork_that_stays"]

PATIENCE_SECONDS = 30

Result = TypeVar("Result")


def in_fork(work: Callable[[], Result]) -> Result:
    """Do work in a forked process, check that it ends without error, and return the picklable result."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send_result, args=(sender, work))
    process.start()
    sender.close()
    result: Result = _received(receiver)
    process.join(PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()  # else it would hold the pipes of the test process open, and the run of all tests would hang
    assert process.exitcode == 0, f"the forked process did not end: {process.exitcode}"
    return result


def in_fork_that_stays(work: Callable[[], Result]) -> tuple[int, Result]:
    """Do work in a forked process that stays until it is killed; return its id and the result."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _send_result(sender, work)
        signal.pause()
        os._exit(0)
    sender.close()
    return pid, _received(receiver)


def _send_result(sender: Connection, work: Callable[[], Result]) -> None:
    # The alarm also ends a process that hangs outside Python.
    signal.alarm(PATIENCE_SECONDS)
    try:
        sender.send((work(), None))
    except Exception:  # noqa: BLE001 - it is raised in the parent
        sender.send((None, traceback.format_exc()))
    sender.close()


def _received(receiver: Connection) -> Any:
    try:
        result, error = receiver.recv()
    except EOFError:
        raise AssertionError(f"the forked process hung for {PATIENCE_SECONDS} s, or was killed") from None
    finally:
        receiver.close()
    assert error is None, error
    return result


def children(pid: int | None = None) -> list[int]:
    """Return the ids of the child processes of a process (by default this one), zombies included."""
    pid = os.getpid() if pid is None else pid
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def has_ended(pid: int) -> bool:
    """Return whether a process that is not a child of this one ends within half of `PATIENCE_SECONDS`."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], PATIENCE_SECONDS / 2)[0])
    finally:
        os.close(process)
