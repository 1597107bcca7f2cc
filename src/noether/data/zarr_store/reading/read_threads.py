"""The threads of a reader. An interrupt of the caller (Ctrl-C) leaves them able to work and to end."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock, Thread, current_thread

__all__ = ["ReadThreads"]

Task = Callable[[], object]


@dataclass(slots=True)
class _Batch:
    """The tasks of one call. Threads skip those of a cancelled batch."""

    is_cancelled: bool = False
    # Number and error of each task that has ended.
    ended: SimpleQueue[tuple[int, BaseException | None]] = field(default_factory=SimpleQueue)


_Work = SimpleQueue[tuple[_Batch, int, Task] | None]


class ReadThreads:
    """Threads that run tasks in parallel. Safe to use from many threads; not to be carried over a fork.

    `concurrent.futures` waits with locks that Python code takes. A KeyboardInterrupt between taking such a lock and
    using it leaves the lock taken: the next read of an interrupted notebook would hang, and so would the end of the
    process. All waiting here is in `queue.SimpleQueue`, which is written in C and cannot be interrupted half-way.

    Parameters
    ----------
    n_threads : int
        Number of threads. They start with the first tasks.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._work: _Work = SimpleQueue()
        self._threads: list[Thread] = []
        self._starting = Lock()
        weakref.finalize(self, _dismiss, self._work, n_threads).atexit = False
        _alive.add(self)

    def run_all(self, tasks: Sequence[Task]) -> None:
        """Run tasks, and wait until all have ended. After an error, tasks that have not begun are skipped.

        Raises
        ------
        Exception
            The first error of a task, in the order of the tasks.
        """
        self._start()
        batch = _Batch()
        errors: dict[int, BaseException] = {}
        try:
            for number, task in enumerate(tasks):
                self._work.put((batch, number, task))
            for _ in tasks:
                number, error = batch.ended.get()
                if error is not None:
                    errors[number] = error
        except BaseException:
            batch.is_cancelled = True
            raise
        if errors:
            raise errors[min(errors)]

    def end(self) -> None:
        """End the threads after the tasks that they run, and wait for them."""
        _dismiss(self._work, self._n_threads)
        threads, self._threads = self._threads, []
        for thread in threads:
            if thread is not current_thread():
                thread.join()

    def _start(self) -> None:
        if len(self._threads) < self._n_threads:
            with self._starting:
                while len(self._threads) < self._n_threads:
                    # A thread that is no daemon would be waited for before `_end_all` can dismiss it.
                    thread = Thread(
                        target=_work_off, args=(self._work,), name=f"noether-read_{len(self._threads)}", daemon=True
                    )
                    thread.start()
                    self._threads.append(thread)


def _work_off(work: _Work) -> None:
    while (job := work.get()) is not None:
        batch, number, task = job
        error: BaseException | None = None
        if not batch.is_cancelled:
            try:
                task()
            except BaseException as raised:  # noqa: BLE001 - it is raised where the tasks came from
                error, batch.is_cancelled = raised, True
        batch.ended.put((number, error))
        # What the task holds, such as the arrays of a result, must not live until the next task.
        del job, batch, task, error


def _dismiss(work: _Work, n_threads: int) -> None:
    for _ in range(n_threads):
        work.put(None)


_alive: weakref.WeakSet[ReadThreads] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all threads before Python does: a read into memory that is gone would crash the process."""
    for threads in list(_alive):
        threads.end()
