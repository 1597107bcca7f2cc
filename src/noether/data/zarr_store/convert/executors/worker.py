"""One worker process: the handle in the parent process, and the loop that the worker runs."""

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

from noether.data.zarr_store.core import log_as_parent_does, printable
from noether.data.zarr_store.errors import WorkerDiedError, WorkerError

__all__ = ["STOP_SECONDS", "Worker"]

# Seconds that a process has, after a signal to end, to remove its partial output.
STOP_SECONDS = 3.0

# Workers are spawned: a forked child would inherit locks, and runtimes (such as obstore's) that do not run in it.
_CONTEXT = get_context("spawn")
# Each start of a child makes multiprocessing poll the other children: that must not happen while one is joined.
_children_changing = threading.Lock()

_CRASH_FILE = "crash"
_TERMINATED = 128 + signal.SIGTERM
_WHY = {
    "SIGKILL": ": the system does this when memory is short; use fewer workers",
    "SIGSEGV": ": a library crashed",
    "SIGABRT": ": a library crashed",
    "SIGBUS": ": a library crashed, or a memory-mapped file was truncated",
}


class Worker:
    """A process that answers calls, one at a time, until it is ended or dies.

    Only one thread may use a worker at a time; `process` may be used from any thread. The process has its own directory
    for temporary files, which is removed when the process ends. It ignores Ctrl-C.

    Raises
    ------
    WorkerError
        The directory for temporary files cannot be created.
    """

    def __init__(self) -> None:
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="noether-zarr-worker-", dir=os.environ.get("TMPDIR")))
        except OSError as error:
            raise WorkerError(
                f"the directory for the temporary files of a worker cannot be created ({error}); set TMPDIR to a "
                "directory that can be written to"
            ) from error
        self._pipe, theirs = _CONTEXT.Pipe()
        self._known: set[int] = set()
        self.process = _CONTEXT.Process(target=_answer_calls, args=(theirs, str(self._scratch)), daemon=True)
        with _children_changing:
            self.process.start()
        theirs.close()

    def is_ready(self) -> bool:
        """Wait until the process is ready for calls; return False if it has ended."""
        with suppress(EOFError, OSError):
            return self._pipe.recv_bytes() == b""
        return False

    def call(self, function: int, pickled: bytes, arguments: bytes, timeout: float | None) -> Any:
        """Call a function in the process, and return its result.

        Parameters
        ----------
        function : int
            Number of the function.
        pickled : bytes
            The pickled function, which is sent only with the first call.
        arguments : bytes
            The pickled positional and keyword arguments.
        timeout : float or None
            Seconds after which the process is ended.

        Raises
        ------
        WorkerDiedError
            The process died, or was ended after `timeout`.
        Exception
            The function raised it.
        """
        start = time.monotonic()
        try:
            self._pipe.send_bytes(pickle.dumps((function, None if function in self._known else pickled, arguments)))
            in_time = wait([self._pipe, self.process.sentinel], timeout)
            # An answer that the process sent before it died counts.
            answer = self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            in_time, answer = [self._pipe], None
        if answer is None:
            stopped = "" if in_time else f"it was stopped after the timeout of {timeout:g} s"
            raise self._died(stopped, time.monotonic() - start)
        succeeded, result = pickle.loads(answer)  # noqa: S301 - from a process of our own
        if not succeeded:
            raise result
        self._known.add(function)
        return result

    def end(self) -> str:
        """End the process, by force if necessary, and return a description of how it ended."""
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
        """End the process, and return its error; a non-empty `stopped` is the reason for stopping a live process."""
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
    """Answer calls until the parent closes its end of the pipe, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # On SIGTERM, the process exits instead of being killed, and so removes its partial output.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    warnings.showwarning = _print_warning  # type: ignore[assignment]  # it takes all arguments
    log_as_parent_does()
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
    """Print a warning as one line, without the source line, for users of the command."""
    print(printable(f"warning: {message}"), file=sys.stderr, flush=True)  # noqa: T201


def _end_with_parent(scratch: str) -> None:
    """End this process when its parent has died, and remove the temporary files."""
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
        pickle.loads(pickled)  # noqa: S301 - many exceptions cannot be unpickled
    except Exception:  # noqa: BLE001 - pickling may raise anything
        return pickle.dumps((False, WorkerError(f"{type(error).__name__}: {error}")))
    return pickled
