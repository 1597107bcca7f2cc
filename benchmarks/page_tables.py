"""Tables of pages that scripts compute: a script replaces the lines between two comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.settings import REPOSITORY

__all__ = ["markdown_table", "read_table", "write_table"]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown. Columns after the first one are aligned to the right."""
    lines = [" | ".join(row) for row in rows]
    rule = " | ".join("---" if column == 0 else "--:" for column in range(len(head)))
    return "\n".join(f"| {line} |" for line in (" | ".join(head), rule, *lines))


def read_table(page: str, name: str) -> str:
    """Return a table of a page of ``docs``. Raises `LookupError` if the page has no such table."""
    found = _pattern(name).search(_path(page).read_text(encoding="utf-8"))
    if found is None:
        raise LookupError(
            f"docs/{page}: no table {name!r}; add the line <!-- table: {name} --> and the line <!-- end -->"
        )
    return found[2].strip("\n")


def write_table(page: str, name: str, table: str) -> None:
    """Replace a table of a page of ``docs``."""
    read_table(page, name)
    text = _path(page).read_text(encoding="utf-8")
    _path(page).write_text(
        _pattern(name).sub(lambda found: f"{found[1]}\n{table}\n\n{found[3]}", text), encoding="utf-8"
    )


def _path(page: str) -> Path:
    return REPOSITORY / "docs" / page


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- table: {re.escape(name)} -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)
