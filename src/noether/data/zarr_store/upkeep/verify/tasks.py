"""Tasks that return further tasks, run in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeAlias

__all__ = ["Task", "run_tasks"]

Task: TypeAlias = Callable[[], Iterable["Task"]]

# Number of submitted tasks per thread.
_AHEAD = 2


def run_tasks(tasks: Iterable[Task], workers: int, on_done: Callable[[], None]) -> None:
    """Run tasks, and the tasks that they return, in threads.

    The newest tasks run first: the tasks that a task returns run before older ones are started. So only few tasks wait,
    even if there are many in total.

    Parameters
    ----------
    tasks : iterable of callable
        The tasks; each returns further tasks. They are iterated lazily, in this thread.
    workers : int
        Number of threads; with 1, this thread runs all tasks.
    on_done : callable
        Callback in this thread after tasks have finished.
    """
    if workers == 1:
        _run_here(iter(tasks), on_done)
        return
    waiting: list[Iterator[Task]] = [iter(tasks)]
    running: set[Future[Iterable[Task]]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="noether-verify") as pool:
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * workers:
                    task = next(waiting[-1], None)
                    if task is None:
                        waiting.pop()
                    else:
                        running.add(pool.submit(task))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                waiting += [iter(future.result()) for future in done]
                on_done()
        finally:
            # After an error or Ctrl-C, the pool waits only for running tasks.
            for future in running:
                future.cancel()


def _run_here(tasks: Iterator[Task], on_done: Callable[[], None]) -> None:
    for task in tasks:
        more = task()
        on_done()
        _run_here(iter(more), on_done)
