"""Worker processes on this machine: a process that dies does not affect the others."""

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

# If memory is short, the system may kill a process while it starts.
_START_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Call:
    """A call: the future of its result, the number of the function, and the pickled arguments."""

    future: Future[Any]
    function: int
    arguments: bytes


class ProcessExecutor(Executor):
    """An executor of worker processes, each with its own pipe, so that the death of one does not affect the others.

    If a process dies, or is stopped after a timeout, its call fails with `WorkerDiedError`, and a new process takes its
    place. Ctrl-C does not reach the worker processes: only the parent process handles it.

    Parameters
    ----------
    workers : int
        Number of processes; each is started when there is work for it.
    timeout : float, optional
        Seconds after which a call is stopped.
    """

    # The pools of concurrent.futures and loky break when a process dies. In the pool of pebble, the processes share one
    # pipe: after random kills, some calls were never answered, or the pool broke.

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
        """Call `fn` in a worker process; the function, its arguments and its result must be picklable.

        The future raises the exception of `fn`, `WorkerDiedError` if the process died during the call, or `WorkerError`
        if no process could be started.
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
        """Refuse further calls, and end each process when no calls are left."""
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
        """End all processes within seconds, by force if necessary; running calls fail with `WorkerDiedError`."""
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
        """Send calls to one process, one after the other, until no calls are left; replace the process when it dies."""
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # Worker processes inherit the blocked signal, so that Ctrl-C does not reach them even during their imports.
            # The resource tracker is started first, because starting it unblocks the signal.
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
            except Exception as error:  # noqa: BLE001 - the future raises it
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
            f"no worker process can be started ({_START_TRIES} attempts; {ended}); in a script, put the call below "
            'if __name__ == "__main__", because every worker process imports the script'
        )

    def _remove(self, worker: Worker) -> str:
        ended = worker.end()
        with self._lock:
            self._workers.discard(worker)
        return ended
