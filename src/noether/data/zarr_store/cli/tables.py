"""Tables that fit the terminal. Pure.

A table has the first of three layouts that fits: boxes with one line for each row; columns without lines, whose names
and texts are wrapped; one block for each row, with a line for each value. The last two end with an empty line. No value
is ever cut.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, chop_cells

__all__ = ["Column", "layout_of"]

_GAP = "  "
# A name is wrapped after these characters. A piece that is still too long is wrapped anywhere.
_PIECES = re.compile(r"[^_/.\-]*[_/.\-]*")
_LONGEST_PIECE = 16
_NARROWEST_TEXT = 24
# Maximum number of lines of a wrapped name. With more lines, a block for each row is easier to read.
_MOST_PIECES = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    title : str
        Heading. A column without a title continues the name in the first column.
    kind : {"figure", "name", "text"}
        Figures are aligned to the right and never wrapped, names are wrapped between their parts, texts between words.
    """

    title: str
    kind: Literal["figure", "name", "text"] = "figure"


def layout_of(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table.

    Parameters
    ----------
    columns : sequence of Column
        The columns.
    rows : sequence of sequences of str
        A text for each column.
    width : int or None
        Width of the terminal in characters; None if there is no limit.
    """
    full = [
        max(cell_len(text) for text in (column.title, *(row[i] for row in rows))) for i, column in enumerate(columns)
    ]
    if width is None or sum(full) + 3 * len(full) + 1 <= width:
        return _boxed(columns, rows, full)
    least = [_least_width(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    room = width - sum(least) - len(_GAP) * (len(least) - 1)
    widths = _widened(least, full, room)
    names = [i for i, column in enumerate(columns) if column.kind == "name"]
    is_torn = any(len(_wrapped(row[i], "name", widths[i])) > _MOST_PIECES for row in rows for i in names)
    lines = _blocks(columns, rows, width) if room < 0 or is_torn else _columns(columns, rows, widths)
    return [*lines, ""]


def _least_width(column: Column, cells: list[str]) -> int:
    words = [len(word) for word in column.title.split()]
    if column.kind == "figure":
        return max([*words, *map(cell_len, cells)])
    if column.kind == "name":
        pieces = (cell_len(piece) for cell in cells for piece in _PIECES.findall(cell))
        return max([*words, min(_LONGEST_PIECE, max(pieces, default=0))])
    return max([*words, min(_NARROWEST_TEXT, max(map(cell_len, cells), default=0))])


def _widened(least: list[int], full: list[int], room: int) -> list[int]:
    """Return widths between the least and the full ones; columns on the left get the room first."""
    widths = list(least)
    for i, (low, high) in enumerate(zip(least, full, strict=True)):
        widths[i] += max(0, min(room, high - low))
        room -= widths[i] - low
    return widths


def _boxed(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: list[int]) -> list[str]:
    def rule(left: str, line: str, middle: str, right: str) -> str:
        return left + middle.join(line * (width + 2) for width in widths) + right

    def line(texts: Sequence[str], bar: str) -> str:
        cells = (_aligned(text, column, width) for text, column, width in zip(texts, columns, widths, strict=True))
        return f"{bar} " + f" {bar} ".join(cells) + f" {bar}"

    return [
        rule("┏", "━", "┳", "┓"),
        line([column.title for column in columns], "┃"),
        rule("┡", "━", "╇", "┩"),
        *(line(row, "│") for row in rows),
        rule("└", "─", "┴", "┘"),
    ]


def _columns(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: list[int]) -> list[str]:
    def lines(texts: Sequence[str], *, titles: bool = False) -> list[str]:
        wrapped = [
            _wrapped(text, "text" if titles else column.kind, width)
            for text, column, width in zip(texts, columns, widths, strict=True)
        ]
        height = max(map(len, wrapped))
        # Titles are aligned to the bottom of their row, values to the top.
        padded = [[""] * (height - len(one)) + one if titles else one + [""] * (height - len(one)) for one in wrapped]
        return [
            _GAP.join(
                _aligned(one[i], column, width) for one, column, width in zip(padded, columns, widths, strict=True)
            ).rstrip()
            for i in range(height)
        ]

    rule = _GAP.join("─" * width for width in widths)
    return [
        *lines([column.title for column in columns], titles=True),
        rule,
        *(line for row in rows for line in lines(row)),
    ]


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    label = max(cell_len(column.title) for column in columns[1:])
    found = []
    for row in rows:
        name = " ".join([row[0], *(text for text, column in zip(row, columns, strict=True) if not column.title)])
        found += _wrapped(name.strip(), "name", width)
        for text, column in zip(row[1:], columns[1:], strict=True):
            if text and column.title:
                kind = "text" if column.kind == "figure" else column.kind
                first, *others = _wrapped(text, kind, max(width - label - 4, 1))
                found.append(f"  {column.title:<{label}}  {first}")
                found += [f"  {'':<{label}}  {one}" for one in others]
    return found


def _aligned(text: str, column: Column, width: int) -> str:
    space = " " * (width - cell_len(text))
    return space + text if column.kind == "figure" else text + space


def _wrapped(text: str, kind: str, width: int) -> list[str]:
    if kind == "text":
        return textwrap.wrap(text, max(width, 1)) or [""]
    if kind == "figure":
        return [text]
    lines = [""]
    for piece in _PIECES.findall(text):
        for part in [piece] if len(piece) <= width else chop_cells(piece, width):
            if cell_len(lines[-1] + part) <= width:
                lines[-1] += part
            else:
                lines.append(part)
    return lines
