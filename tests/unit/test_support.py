"""What the tests themselves rest on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from support.bound_process import BoundProcess
from support.forks import has_ended, in_fork_that_stays
from support.repository import ROOT


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


def test_no_test_has_a_name_of_more_than_80_characters() -> None:
    """The rest of the sentence is for its docstring."""
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    names = [name for source in sources for name in re.findall(r"^ *def (test_\w+)", source, re.MULTILINE)]
    assert len(names) > 1000
    assert [name for name in names if len(name) > 80] == []
