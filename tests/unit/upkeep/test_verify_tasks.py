"""Tasks that return further tasks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import partial

import pytest

from noether.data.zarr_store.upkeep.verify.tasks import Task, run_tasks


class Tree:
    """Tasks that return tasks, and a record of their execution."""

    def __init__(self, widths: list[int]) -> None:
        self.widths = widths
        self.done: list[tuple[int, ...]] = []
        self.begun = self.leaves = 0
        self._lock = threading.Lock()

    def task(self, path: tuple[int, ...]) -> Iterable[Task]:
        with self._lock:
            self.done.append(path)
            self.leaves += len(path) == len(self.widths)
        return self.tasks(path)

    def tasks(self, path: tuple[int, ...] = ()) -> Iterator[Task]:
        for number in range(self.widths[len(path)] if len(path) < len(self.widths) else 0):
            self.begun += not path
            yield partial(self.task, (*path, number))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_runs_once(workers: int) -> None:
    """The returned tasks are included."""
    tree, calls = Tree([7, 3, 4]), []
    run_tasks(tree.tasks(), workers, lambda: calls.append(len(tree.done)))
    assert len(tree.done) == len(set(tree.done)) == 7 + 7 * 3 + 7 * 3 * 4
    assert calls[-1] == len(tree.done)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_returned_tasks_run_before_many_others(workers: int) -> None:
    tree = Tree([200, 50])
    ahead: list[int] = []
    run_tasks(tree.tasks(), workers, lambda: ahead.append(tree.begun - tree.leaves // 50))
    assert max(ahead) <= 4 * workers


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_stops_further_tasks(workers: int) -> None:
    begun: list[int] = []

    def fail(number: int) -> Iterable[Task]:
        begun.append(number)
        if number == 3:
            raise ValueError("no 3")
        return ()

    with pytest.raises(ValueError, match="no 3"):
        run_tasks((partial(fail, number) for number in range(1000)), workers, lambda: None)
    assert len(begun) < 50
