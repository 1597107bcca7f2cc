"""The line that shows the progress of a pass over a store."""

from __future__ import annotations

import io
import re
import sys

import pytest

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics.progress import shown_progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *done: int) -> str:
    """Return the stderr of a pass of 1,000 values, in blocks that end after `done` values."""
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_progress(True) as tell:
        assert tell is not None
        for values in done:
            tell(values, 1000)
    return stream.getvalue()


def test_on_a_terminal_one_line_is_written_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = told(Terminal(), monkeypatch, 250, 251, 500, 1000)
    assert shown.count("\n") == 1
    assert shown.endswith("\n")
    lines = shown.removesuffix("\n").split("\r")[1:]
    assert [re.findall(r"\d+ %", line) for line in lines] == [["25 %"], ["50 %"], ["100 %"]]
    assert len({len(line) for line in lines}) == 1  # so that a shorter line covers all of a longer one
    assert re.fullmatch(r"reading \[#{10}\.{10}\]  50 %, 0:00 left *", lines[1])


def test_without_a_terminal_at_most_ten_lines_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log or a notebook gets whole lines, no control characters, and not one line per block."""
    shown = told(io.StringIO(), monkeypatch, *range(1, 1001))
    assert re.findall(r"^reading (\d+) % of 1,000 values, \d+:\d\d left$", shown, re.MULTILINE) == [
        str(percent) for percent in range(10, 101, 10)
    ]
    assert shown.count("\n") == 10
    assert "\r" not in shown


def test_an_error_does_not_come_on_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def fail_after_a_while() -> None:
        with shown_progress(True) as tell:
            assert tell is not None
            tell(10, 1000)
            raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        fail_after_a_while()
    assert terminal.getvalue().endswith("\n")


def test_a_pass_that_reads_nothing_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(Terminal(), monkeypatch) == ""


def test_a_process_without_stderr_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with shown_progress(True) as tell:
        assert tell is None


@pytest.mark.parametrize("progress", ["yes", 1, []], ids=repr)
def test_progress_is_a_bool_or_a_function(progress: object) -> None:
    with (
        pytest.raises(ArgumentError, match=r"^progress: expected True, False or a function of .*, got "),
        shown_progress(progress),  # type: ignore[arg-type]  # that is the point
    ):
        pass
