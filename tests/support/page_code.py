"""The code blocks of a page, and a reader who pastes them one after the other.

A page begins where ``noether-zarr demo`` has written `DEMO`. Its Python blocks share one namespace, and the lines of
its console blocks that begin with `PROMPT` are commands. A comment on the line before a block changes that:

- ``<!-- not run: REASON -->``: the block cannot run here, for example because it needs a bucket;
- ``<!-- file: PATH -->``: the reader saves the block as a file; without a path, see `SAVED` for the languages;
- ``<!-- exit: CODE -->``: the last command of the block ends with another exit code than 0.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.repository import ROOT
from support.trees import call

__all__ = [
    "DEMO",
    "LANGUAGES",
    "PAGES",
    "PROMPT",
    "Block",
    "Command",
    "Page",
    "make_demo",
    "run_page",
]

DEMO = "noether-demo"
"""The directory that ``noether-zarr demo`` writes."""
PROMPT = "$ noether-zarr "
RUN = ("python", "console")
SAVED = ("toml", "json", "text", "yaml", "python")
"""Languages of the blocks that can be saved as a file."""
LANGUAGES = {*RUN, *SAVED, "bash", "mermaid", "{toctree}", ""}

PAGES = [ROOT / "README.md"]
PAGES += sorted(path for pattern in ("*.md", "tutorials/*.md") for path in (ROOT / "docs").glob(pattern))

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_COMMENT = re.compile(r"^ *<!-- (not run|file|exit): *(.*?) *-->$")


@dataclass(frozen=True)
class Command:
    """A call of ``noether-zarr`` on a page, with the file that gets its output."""

    line: int
    arguments: list[str]
    output: str | None


@dataclass(frozen=True)
class Block:
    """A code block of a page; `line` is the line of its first line of code, counted from 1."""

    language: str
    line: int
    code: str
    reason: str | None = None
    file: str | None = None
    exit_code: int = 0

    @property
    def is_run(self) -> bool:
        """Whether a reader runs the block, or commands in it."""
        return self.reason is None and self.file is None and self.has_code

    @property
    def has_code(self) -> bool:
        """Whether the block is Python, or has commands of this library."""
        return self.language == "python" or (self.language == "console" and bool(self.commands))

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block; a backslash at the end of a line continues a command."""
        found = []
        lines = self.code.split("\n")
        for number, line in enumerate(lines):
            if not line.startswith(PROMPT):
                continue
            text, following = line, iter(lines[number + 1 :])
            while text.endswith("\\"):
                text = text[:-1] + next(following)
            found.append(_command(self.line + number, text))
        return found


def _command(line: int, text: str) -> Command:
    """Return the part of a line before its first pipe, without its comment and without the name of the program."""
    arguments = shlex.split(text.removeprefix("$ "), comments=True)[1:]
    if "|" in arguments:
        arguments = arguments[: arguments.index("|")]
    output = None
    if ">" in arguments:
        at = arguments.index(">")
        output = arguments[at + 1]
        arguments = arguments[:at]
    return Command(line, arguments, output)


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    path: Path

    @property
    def name(self) -> str:
        """Path in the repository, without suffix."""
        return self.path.relative_to(ROOT).with_suffix("").as_posix()

    @property
    def text(self) -> str:
        """The Markdown of the page."""
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        """The code blocks, in the order of the page."""
        return list(_blocks(self.text))

    @property
    def makes_demo(self) -> bool:
        """Whether the page begins before `DEMO` exists, and makes it itself."""
        commands = [command.arguments for block in self.blocks if block.is_run for command in block.commands]
        return ["demo"] in commands or ["demo", DEMO] in commands


def _blocks(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        indent, marks, language = fence[1], fence[2], fence[3].strip()
        settings: dict[str, Any] = {}
        before = number - 2
        while before >= 0 and (comment := _COMMENT.match(lines[before])):
            if comment[1] == "exit":
                settings["exit_code"] = int(comment[2])
            else:
                settings["reason" if comment[1] == "not run" else "file"] = comment[2]
            before -= 1
        first = number
        while number < len(lines) and lines[number].strip() != marks:
            number += 1
        code = [line.removeprefix(indent) for line in lines[first:number]]
        yield Block(language, first + 1, "\n".join([*code, ""]), **settings)
        number += 1


def make_demo(directory: Path) -> Path:
    """Write `DEMO` into a directory, and return its path."""
    demo = directory / DEMO
    ran = call("demo", demo)
    assert ran.code == 0, ran.output
    return demo


def _one_process(arguments: list[str]) -> list[str]:
    """Return the option that keeps a conversion in this process, unless the page chooses the number of workers."""
    converts = arguments[0] in ("convert", "add-fields") and not {"--workers", "--dry-run", "--dask"} & {*arguments}
    return ["--workers", "0"] if converts else []


@contextmanager
def _same_logging() -> Iterator[None]:
    """Restore the levels and handlers that the code of a page sets."""
    loggers = [logging.getLogger(), logging.getLogger("noether.data.zarr_store")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers


@_same_logging()
def run_page(page: Page) -> dict[str, Any]:
    """Run the blocks of a page in the working directory, and return the variables of its Python blocks.

    Raises
    ------
    AssertionError
        A command ended with another exit code than 0 (or that of the comment before its block).
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in page.blocks:
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.code, encoding="utf-8")
        elif block.is_run and block.language == "python":
            # The empty lines before make a traceback name the line of the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(page.path), "exec"), namespace)
        elif block.is_run:
            for command in block.commands:
                code = block.exit_code if command == block.commands[-1] else 0
                ran = call(*command.arguments, *_one_process(command.arguments))
                where = f"{page.path}:{command.line}: noether-zarr {shlex.join(command.arguments)}"
                assert ran.code == code, f"{where}\nexit code {ran.code}\n{ran.output}"
                if command.output is not None:
                    Path(command.output).write_text(ran.stdout, encoding="utf-8")
    return namespace
