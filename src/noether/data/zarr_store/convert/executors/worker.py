"""One worker process: the handle that its parent has of it, and what it does itself."""

from __future__ import annotations

import faulthandler
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import WorkerDiedError, WorkerError

__all__ = ["STOP_SECONDS", "Worker"]

# A process that is asked to end gets so long to remove what it has half done.
STOP_SECONDS = 3.0

# Spawned, since a forked child inherits locks and runtimes (obstore's) that no longer run in it.
_CONTEXT = get_context("spawn")
# Whenever a child is started, multiprocessing looks whether others have ended: not while one is waited for.
_children_changing = threading.Lock()

_CRASH_FILE = "crash"
_TERMINATED = 128 + signal.SIGTERM
_WHY = {
    "SIGKILL": ", as the system does where memory is short: use fewer workers",
    "SIGSEGV": ": a library crashed",
    "SIGABRT": ": a library crashed",
    "SIGBUS": ": a library crashed, or a mapped file was cut short",
}


class Worker:
    """A process that answers calls, one at a time, until it is ended or dies. For one thread, but for `process`.

    It has a directory of its own for temporary files, which goes when it goes. It is deaf to Ctrl-C.

    Raises
    ------
    WorkerError
        Its directory cannot be made.
    """

    def __init__(self) -> None:
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="noether-zarr-worker-", dir=os.environ.get("TMPDIR")))
        except OSError as error:
            raise WorkerError(
                f"a worker needs a directory for temporary files, which cannot be made: {error}"
            ) from error
        self._pipe, theirs = _CONTEXT.Pipe()
        self._known: set[int] = set()
        self.process = _CONTEXT.Process(target=_answer_calls, args=(theirs, str(self._scratch)), daemon=True)
        with _children_changing:
            self.process.start()
        theirs.close()

    def is_ready(self) -> bool:
        """Wait until it can be called; False where it has ended."""
        with suppress(EOFError, OSError):
            return self._pipe.recv_bytes() == b""
        return False

    def call(self, function: int, pickled: bytes, arguments: bytes, timeout: float | None) -> Any:
        """Have it call a function.

        Parameters
        ----------
        function : int
            Number of the function.
        pickled : bytes
            The function, which is sent unless it is known there.
        arguments : bytes
            Positional and keyword arguments, pickled.
        timeout : float or None
            Seconds after which the process is ended.

        Raises
        ------
        WorkerDiedError
            It died, or was ended after `timeout`.
        Exception
            Whatever the function raises.
        """
        start = time.monotonic()
        try:
            self._pipe.send_bytes(pickle.dumps((function, None if function in self._known else pickled, arguments)))
            in_time = wait([self._pipe, self.process.sentinel], timeout)
            # What it sent before it died counts.
            answer = self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            in_time, answer = [self._pipe], None
        if answer is None:
            stopped = "" if in_time else f"it was stopped after the {timeout:g} s that a sample may take"
            raise self._died(stopped, time.monotonic() - start)
        succeeded, result = pickle.loads(answer)  # noqa: S301 - from a process of our own
        if not succeeded:
            raise result
        self._known.add(function)
        return result

    def end(self) -> str:
        """End it, by force if need be, and say how it ended."""
        self._pipe.close()
        for insist in (self.process.terminate, self.process.kill):
            if not wait([self.process.sentinel], STOP_SECONDS):
                insist()
        with _children_changing:
            self.process.join()
            code = self.process.exitcode or 0
        shutil.rmtree(self._scratch, ignore_errors=True)
        return _how_it_ended(code)

    def _died(self, stopped: str, seconds: float) -> WorkerDiedError:
        """Return the error of a process that died; with why it is to be stopped, end one that has not."""
        if stopped:
            self.process.terminate()
        crash = ""
        with suppress(OSError):
            crash = (self._scratch / _CRASH_FILE).read_text(errors="replace")
        ended = self.end()
        error = WorkerDiedError(stopped or ended, self.process.pid, seconds)
        if crash:
            error.add_note(crash)
        return error


def _how_it_ended(code: int) -> str:
    if code >= 0 and code != _TERMINATED:
        return f"the worker process exited with code {code}"
    number = signal.SIGTERM if code == _TERMINATED else -code
    name = next((one.name for one in signal.Signals if one == number), f"signal {number}")
    return f"the worker process was killed by {name}{_WHY.get(name, '')}"


def _answer_calls(pipe: Connection, scratch: str) -> None:
    """Answer calls until the other end of the pipe is closed, by the parent or with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So that what is half done is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    warnings.showwarning = _print_warning  # type: ignore[assignment]  # it takes all arguments
    threading.Thread(target=_end_with_parent, args=(scratch,), name="noether-parent", daemon=True).start()
    functions: dict[int, Callable[..., Any]] = {}
    try:
        with pipe, Path(scratch, _CRASH_FILE).open("w") as crash, suppress(EOFError, BrokenPipeError):
            faulthandler.enable(crash)
            pipe.send_bytes(b"")
            while True:
                message = pipe.recv_bytes()
                pipe.send_bytes(_answer(message, functions))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _print_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning as one line, without its place in the code: a user of the command reads it."""
    print(printable(f"warning: {message}"), file=sys.stderr, flush=True)  # noqa: T201


def _end_with_parent(scratch: str) -> None:
    """End this process, whatever it does, when its parent has been killed, and leave no temporary files."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(_TERMINATED)


def _answer(message: bytes, functions: dict[int, Callable[..., Any]]) -> bytes:
    try:
        function, pickled, arguments = pickle.loads(message)  # noqa: S301 - from the parent
        if pickled is not None:
            functions[function] = pickle.loads(pickled)  # noqa: S301
        args, kwargs = pickle.loads(arguments)  # noqa: S301
        return pickle.dumps((True, functions[function](*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    try:
        pickled = pickle.dumps((False, error))
        pickle.loads(pickled)  # noqa: S301 - many an exception cannot be made again from its arguments
    except Exception:  # noqa: BLE001 - whatever stands in the way of a pickle
        return pickle.dumps((False, WorkerError(f"{type(error).__name__}: {error}")))
    return pickled
