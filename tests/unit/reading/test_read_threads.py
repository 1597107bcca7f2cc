"""The threads of a reader."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from noether.data.zarr_store.reading.read_threads import ReadThreads

PATIENCE_SECONDS = 30


def test_all_tasks_run_in_parallel() -> None:
    """Each task waits for the others."""
    meeting = threading.Barrier(4, timeout=PATIENCE_SECONDS)
    ReadThreads(4).run_all([meeting.wait] * 4)


def test_more_tasks_than_threads_run() -> None:
    found: list[int] = []
    ReadThreads(2).run_all([partial(found.append, number) for number in range(100)])
    assert sorted(found) == list(range(100))


def test_the_first_error_in_the_order_of_tasks_is_raised() -> None:
    second_failed = threading.Event()

    def fail(text: str, before: Callable[[], object], after: Callable[[], object] = lambda: None) -> None:
        before()
        after()
        raise ValueError(text)

    tasks: list[Callable[[], object]] = [
        lambda: None,
        partial(fail, "first", partial(second_failed.wait, PATIENCE_SECONDS)),
        partial(fail, "second", second_failed.set),
    ]
    with pytest.raises(ValueError, match="first"):
        ReadThreads(3).run_all(tasks)


def test_tasks_after_an_error_are_skipped() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        raise ValueError(str(number))

    threads = ReadThreads(1)
    with pytest.raises(ValueError, match="0"):
        threads.run_all([partial(work, number) for number in range(1000)])
    assert begun == [0]
    threads.run_all([partial(begun.append, -1)])
    assert begun == [0, -1]


def interrupted_at(step: int, work: Callable[[], object]) -> bool:
    """Raise KeyboardInterrupt before one bytecode of `work`, in any Python frame that it enters.

    Return False if it ends before.
    """
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(former)
    return False


def test_an_interrupt_at_any_moment_leaves_working_threads() -> None:
    """A lock that Python code takes, as in `concurrent.futures`, stays taken after some of these interrupts."""
    threads = ReadThreads(2)
    threads.run_all([lambda: None] * 2)  # they have started

    def run() -> None:
        threads.run_all([lambda: None] * 3)

    n_steps = 0
    while interrupted_at(n_steps + 1, run):
        n_steps += 1
        done = threading.Event()
        threading.Thread(target=threads.run_all, args=([done.set],), daemon=True).start()
        assert done.wait(PATIENCE_SECONDS), f"after an interrupt at step {n_steps}, the next tasks hang"
    assert n_steps > 50
    threads.end()


AT_EXIT = """
import threading, time
from noether.data.zarr_store.reading.read_threads import ReadThreads

begun = threading.Event()
tasks = [begun.set, lambda: time.sleep(0.2), lambda: print("done")]
threading.Thread(target=ReadThreads(1).run_all, args=(tasks,), daemon=True).start()
begun.wait()
"""


def test_a_process_ends_after_the_tasks_that_it_has_begun() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
