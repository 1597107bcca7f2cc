"""What the tests themselves rest on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.bound_process import BoundProcess
from support.forks import has_ended, in_fork_that_stays


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_bound_process_ends_with_the_one_that_started_it() -> None:
    def start() -> int:
        with Path(os.devnull).open("wb") as output:
            return BoundProcess(["sleep", "infinity"], output).pid

    starter, bound = in_fork_that_stays(start)
    os.kill(bound, 0)
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    assert has_ended(bound)
