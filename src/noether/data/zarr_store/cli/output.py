"""The output of commands: lines and tables for people, or one JSON document for machines."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from os import PathLike
from typing import Annotated, Any

import typer

from noether.data.zarr_store.cli.tables import Column, layout_of
from noether.data.zarr_store.core import printable

__all__ = ["JsonOption", "Output", "echo", "terminal_width"]

# For streams that are not in a Unicode encoding.
_REPLACEMENTS = str.maketrans("┏━┳┓┃┡╇┩│└─┴┘", "+-++|+++|+-++") | {ord("…"): "...", ord("±"): "+-"}

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; notes and progress go to stderr.")
]


class Output:
    """The output of one command.

    Without ``--json``, all text goes to stdout. With it, stdout has the document and nothing else: notes go to stderr,
    and lines and tables are not printed.

    Parameters
    ----------
    as_json : bool
        Value of ``--json``.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self._as_json:
            echo(text)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Print a table for people, in the layout that fits the terminal."""
        if not self._as_json:
            cells = [[printable(cell) for cell in row] for row in rows]
            for line in layout_of(columns, cells, terminal_width()):
                _print(line)

    def note(self, text: str) -> None:
        """Print a line that is not part of the JSON document: on stdout, or with ``--json`` on stderr."""
        echo(text, err=self._as_json)

    def document(self, content: object) -> None:
        """Print the result as JSON: a dataclass, or a mapping with such values."""
        if self._as_json:
            typer.echo(json.dumps(_plain(content), indent=2, allow_nan=False))


def echo(text: str, *, err: bool = False) -> None:
    """Print a line without invisible characters. A terminal gets it wrapped between words, a file in one piece."""
    width = terminal_width(err=err)
    lines = printable(text).split("\n") if width is not None else [printable(text)]
    for line in lines:
        wrapped = line if width is None else textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        _print(wrapped, err=err)


def terminal_width(*, err: bool = False) -> int | None:
    """Return the columns of the terminal that stdout or stderr goes to; None for a file or a pipe."""
    stream = sys.stderr if err else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _print(text: str, *, err: bool = False) -> None:
    """Print a text; characters that the encoding of the stream lacks are replaced."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_REPLACEMENTS).encode(encoding, "backslashreplace").decode(encoding)
    typer.echo(text, err=err)


def _plain(value: object) -> Any:
    """Convert a value to the types of JSON; NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, PathLike) else value
