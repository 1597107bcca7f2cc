"""Work that gives more work, done in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeAlias

__all__ = ["Task", "run_tasks"]

Task: TypeAlias = Callable[[], Iterable["Task"]]

# Tasks per thread that are under way or about to be.
_AHEAD = 2


def run_tasks(tasks: Iterable[Task], workers: int, on_done: Callable[[], None]) -> None:
    """Run tasks, and those that they give, in threads.

    The newest come first: what a task gives is done before more of the former are begun, so that few wait, however
    many there are.

    Parameters
    ----------
    tasks : iterable of callable
        Each gives the tasks that follow from it. They are asked for one at a time, in this thread.
    workers : int
        Threads; with 1, all is done in this one.
    on_done : callable
        Called in this thread whenever tasks are done.
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
            # After an error, or Ctrl-C, only what has begun is waited for.
            for future in running:
                future.cancel()


def _run_here(tasks: Iterator[Task], on_done: Callable[[], None]) -> None:
    for task in tasks:
        more = task()
        on_done()
        _run_here(iter(more), on_done)
