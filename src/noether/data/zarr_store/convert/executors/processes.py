"""Worker processes of this machine that do not share one another's fate."""

from __future__ import annotations

import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from noether.data.zarr_store.convert.executors.worker import STOP_SECONDS, Worker
from noether.data.zarr_store.core import positive_int
from noether.data.zarr_store.errors import WorkerDiedError, WorkerError

__all__ = ["ProcessExecutor"]

T = TypeVar("T")

# Where memory is short, a process may be killed before it has begun.
_START_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Call:
    """What to call, as the number of a function and its pickled arguments, and who waits for it."""

    future: Future[Any]
    function: int
    arguments: bytes


class ProcessExecutor(Executor):
    """Worker processes, each with a pipe of its own: what happens to one does not touch the others.

    Where a process dies, or takes too long and is stopped, its call fails with `WorkerDiedError`, and another process
    takes its place. Ctrl-C does not reach the processes: this one decides what it means.

    Parameters
    ----------
    workers : int
        Number of processes; each is started when there is work for it.
    timeout : float, optional
        Seconds that a call may take.
    """

    # The pool of concurrent.futures, and that of loky, breaks when a process dies. In pebble's the processes share one
    # pipe: when some were killed at random, calls were never answered, or the pool broke.

    def __init__(self, workers: int, *, timeout: float | None = None) -> None:
        self._timeout = timeout
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._functions: dict[Callable[..., Any], int] = {}
        self._pickled: list[bytes] = []
        self._workers: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = self._terminated = False
        self._started: list[threading.Thread] = []
        self._idle = [
            threading.Thread(target=self._serve, name=f"noether-worker-{number}", daemon=True)
            for number in range(positive_int(workers, "workers"))
        ]

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a process call `fn`, which can be pickled, as can its arguments and what it returns.

        The future raises what `fn` raises, `WorkerDiedError` where the process died meanwhile, and `WorkerError` where
        none could be started.
        """
        future: Future[T] = Future()
        arguments = pickle.dumps((args, kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor is shut down")
            if fn not in self._functions:
                self._pickled.append(pickle.dumps(fn))
                self._functions[fn] = len(self._functions)
            self._calls.put(_Call(future, self._functions[fn], arguments))
            if self._idle:
                self._started.append(self._idle.pop(0))
                self._started[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end each process when none are left for it."""
        with self._lock:
            self._closed = True
            with suppress(Empty):
                while cancel_futures:
                    call = self._calls.get_nowait()
                    if call is not None:
                        call.future.cancel()
            for _ in self._started:
                self._calls.put(None)
        if wait:
            for thread in self._started:
                thread.join()

    def terminate(self) -> None:
        """End all processes within seconds, whatever they do; calls under way fail with `WorkerDiedError`."""
        with self._lock:
            self._terminated = True
            workers = list(self._workers)
        self.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._started:
            thread.join(max(deadline - time.monotonic(), 0))
        for worker in workers:
            worker.process.kill()
        for thread in self._started:
            thread.join()

    def _serve(self) -> None:
        """Hand calls to one process, or its successors, until there are no more."""
        if hasattr(signal, "pthread_sigmask"):  # all but Windows
            # Processes inherit this, so that Ctrl-C does not reach them even while they still import. The tracker comes
            # first, since whoever starts it finds the signal unblocked.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker: Worker | None = None
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or not worker.process.is_alive():
                    worker = self._replace(worker)
                result = worker.call(call.function, self._pickled[call.function], call.arguments, self._timeout)
            except Exception as error:  # noqa: BLE001 - it is for whoever waits
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        if worker is not None:
            self._remove(worker)

    def _replace(self, worker: Worker | None) -> Worker:
        if worker is not None:
            self._remove(worker)
        ended = ""
        for _ in range(_START_TRIES):
            with self._lock:
                if self._terminated:
                    raise WorkerDiedError("it was stopped")
                worker = Worker()
                self._workers.add(worker)
            if worker.is_ready():
                return worker
            ended = self._remove(worker)
        raise WorkerError(
            f"no worker process can be started; {_START_TRIES} times, {ended}. In a script, begin below "
            'if __name__ == "__main__": every process imports the script'
        )

    def _remove(self, worker: Worker) -> str:
        ended = worker.end()
        with self._lock:
            self._workers.discard(worker)
        return ended
