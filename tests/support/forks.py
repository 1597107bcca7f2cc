"""Forked processes that do not hang a test: those that take too long are ended by an alarm."""

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
    """Do work in a forked process that then ends as it should, and give the result, which has to be picklable."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send_result, args=(sender, work))
    process.start()
    sender.close()
    result: Result = _received(receiver)
    process.join()
    assert process.exitcode == 0, f"the forked process did not end: {process.exitcode}"
    return result


def in_fork_that_stays(work: Callable[[], Result]) -> tuple[int, Result]:
    """Do work in a forked process that stays until it is killed; give its id, too."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _send_result(sender, work)
        signal.pause()
        os._exit(0)
    sender.close()
    return pid, _received(receiver)


def _send_result(sender: Connection, work: Callable[[], Result]) -> None:
    # Ends the process also where it hangs outside Python.
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
    """The processes that this or another one has started, dead ones that it has not waited for included."""
    pid = os.getpid() if pid is None else pid
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def has_ended(pid: int) -> bool:
    """Wait for a process that is no child of this one to end; not as long as those that stay do."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], PATIENCE_SECONDS / 2)[0])
    finally:
        os.close(process)
