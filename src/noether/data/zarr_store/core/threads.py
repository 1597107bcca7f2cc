"""The default number of threads, and tasks that run in threads with a bounded number of pending results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

from noether.data.zarr_store.core.control_groups import OWN_GROUPS, ControlGroups, quota_of_cores

__all__ = ["default_threads", "run_all", "run_in_order"]

_T = TypeVar("_T")


def default_threads(groups: ControlGroups = OWN_GROUPS) -> int:
    """Return the number of cores that this process, its container or its batch job may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, quota_of_cores(groups) or cores)


def run_in_order(pool: Executor, tasks: Iterable[Callable[[], _T]], ahead: int) -> Iterator[_T]:
    """Run tasks in threads, and yield their results in order.

    At most `ahead` tasks are running, or have results that the caller has not taken yet.
    """
    running: deque[Future[_T]] = deque()
    try:
        for task in tasks:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(pool.submit(task))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def run_all(pool: Executor, tasks: Iterable[Callable[[], object]], ahead: int) -> None:
    """Run tasks in threads, and wait until all are done; see `run_in_order`."""
    deque(run_in_order(pool, tasks, ahead), maxlen=0)
