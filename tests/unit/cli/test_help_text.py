"""The help of every command: it fits the terminal, and nothing of it is cut."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from noether.data.zarr_store.cli import app, load_command
from noether.data.zarr_store.cli.app import COMMANDS

# Placeholders in upper case, literal values in lower case: K/N, N|auto, FIELD=DTYPE.
METAVAR = re.compile(r"[A-Z]+([=|/,…][A-Z]+)*[,…]*|[A-Z]+(\|[a-z]+)+|[a-z]+(\|[a-z]+)+|N\|DOMAIN=N,…|KEY=VALUE")


def all_commands() -> list[list[str]]:
    loaded = {name: load_command(name) for name in COMMANDS}
    groups = [[name, subcommand] for name, one in loaded.items() for subcommand in getattr(one, "commands", [])]
    return [[], *([name] for name in COMMANDS), *groups]


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_help_fits_the_terminal(words: list[str]) -> None:
    """At 60 and 80 columns, two of which stay free, it has the same words."""
    texts = set()
    for width in (58, 78):
        shown = CliRunner().invoke(app, [*words, "--help"], terminal_width=width).stdout
        assert max(map(len, shown.splitlines())) <= width
        usage, *rest = shown.splitlines()
        assert "{" not in usage
        assert not re.search(r"\.\.\.|<\w", "\n".join(rest))
        texts.add(" ".join(shown.split()))
    assert len(texts) == 1


@pytest.mark.parametrize("words", [words for words in all_commands() if words and words != ["cache"]], ids=" ".join)
def test_placeholders_have_one_form(words: list[str]) -> None:
    command = load_command(words[0])
    for one in (command.commands[words[1]] if len(words) > 1 else command).params:
        takes_value = one.param_type_name == "argument" or not one.is_flag
        assert not takes_value or METAVAR.fullmatch(one.metavar or ""), one.name
