"""The help of commands: wrapped between words at any width, with one form of placeholders, and never cut."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]

_WIDEST_NAME = 28


class _Help:
    """Methods that print the help; they replace those of Typer, which break words at hyphens and cut descriptions."""

    help: Any
    get_params: Any

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the name of the command."""
        pieces = ["[OPTIONS]"]
        for one in self.get_params(ctx):
            if one.param_type_name == "argument":
                name = one.metavar + ("..." if one.nargs != 1 else "")
                pieces.append(name if one.required else f"[{name}]")
        return pieces

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # the signature is that of Typer
        """Write the paragraphs of the description."""
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            formatter.write("\n")
            for line in _wrapped(paragraph, formatter.width - 2):
                formatter.write(f"  {line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of arguments and options."""
        params = self.get_params(ctx)
        arguments = [(one.metavar, one.help or "") for one in params if one.param_type_name == "argument"]
        records = [one.get_help_record(ctx) for one in params if one.param_type_name == "option"]
        _write_list(formatter, "Arguments", arguments)
        _write_list(formatter, "Options", [record for record in records if record is not None])


class Command(_Help, TyperCommand):
    """A command."""


class Group(_Help, TyperGroup):
    """A command with subcommands."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the signature is that of Typer
        """Return the words of the usage line after the name of the command."""
        return ["[OPTIONS]", "COMMAND", "[ARGS]..."]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of options and subcommands."""
        super().format_options(ctx, formatter)
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        described = [(name, inspect.cleandoc(one.help or "").split("\n\n")[0]) for name, one in commands if one]
        _write_list(formatter, "Commands", described)


def _write_list(formatter: Any, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write names with their descriptions beside them; a long name has its description below it."""
    listed = list(rows)
    if not listed:
        return
    column = min(max(len(name) for name, _ in listed), _WIDEST_NAME)
    formatter.write(f"\n{title}:\n")
    for name, description in listed:
        lines = _wrapped(" ".join(description.split()), formatter.width - column - 4)
        if len(name) > column:
            formatter.write(f"  {name}\n")
            name = ""
        for line in lines:
            formatter.write(f"  {name:<{column}}  {line}".rstrip() + "\n")
            name = ""


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]
