"""Commands in the cells of the notebooks: a failed one fails the cell, and outputs are those of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from support.repository import ROOT


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Any]:
    """A shell of IPython that has run the startup file. IPython keeps one for each process."""
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(ipython_dir=str(tmp_path), config=Config(HistoryManager={"enabled": False}))
    exec((ROOT / "docs" / "notebook_commands.py").read_text(encoding="utf-8"), {})
    yield made
    InteractiveShell.clear_instance()


def test_a_command_that_fails_fails_its_cell(shell: Any) -> None:
    result = shell.run_cell("!exit 3")
    with pytest.raises(RuntimeError, match="exit code 3: exit 3"):
        result.raise_error()
    shell.run_cell("!true").raise_error()


def test_overwritten_lines_and_colours_are_not_shown(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell(r"""!printf 'kept\n10 %%\r20 %%\n1/2\n\033[1A2/2\n\033[31mred\033[0m\n'""").raise_error()
    assert capsys.readouterr().out == "kept\n20 %\n2/2\nred\n"
