"""HTML that describes an object in a notebook: facts, and tables that fold. It has no scripts.

Text may come from a store of strangers. It is escaped here, and nowhere else: callers pass text, never HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from noether.data.zarr_store.core.names import printable

__all__ = ["HtmlTable", "html_repr", "shortened"]

MAX_ROWS = 20
"""Maximum number of rows of a table that are shown, and maximum number of tables."""
_MAX_TEXT = 200

# Colours are those of the page, so that the same style suits light and dark pages.
_STYLE = """
.nzs{font-size:13px;line-height:1.5;max-width:1000px;color:inherit}
.nzs-title{font-weight:600;padding:2px 0 6px;border-bottom:1px solid rgba(128,128,128,.45)}
.nzs details{border-bottom:1px solid rgba(128,128,128,.25)}
.nzs summary{cursor:pointer;padding:4px 0}
.nzs summary b{font-weight:600}
.nzs summary span,.nzs-more{opacity:.7;margin-left:.6em}
.nzs table{border-collapse:collapse;margin:0 0 8px 16px;border:none;font-size:inherit}
.nzs th,.nzs td{text-align:left;vertical-align:top;padding:1px 18px 1px 0;border:none;background:none;
font-weight:400;white-space:pre-wrap;overflow-wrap:anywhere}
.nzs th{opacity:.7}
.nzs-facts{margin:6px 0!important}
"""


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table that folds.

    Attributes
    ----------
    title, note : str
        Name of the table, and a few words beside it.
    header : sequence of str
        Names of the columns.
    rows : sequence of sequences of str
        Cells; only the first 20 rows are shown.
    n_rows : int or None
        Number of rows of the whole table, if `rows` has only the first of them; None if `rows` has all.
    is_open : bool
        Whether the table is unfolded at first.
    """

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_rows: int | None = None
    is_open: bool = False


def html_repr(title: str, facts: Sequence[tuple[str, str]], tables: Sequence[HtmlTable]) -> str:
    """Return HTML with a title, facts by name, and tables.

    The size is bounded: at most 20 tables of 20 rows, and 200 characters of each text.
    """
    lines = [f"<style>{_STYLE}</style>", '<div class="nzs">', f'<div class="nzs-title">{_text(title)}</div>']
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts[:MAX_ROWS])
    lines.append(f'<table class="nzs-facts">{cells}</table>')
    lines += map(_folding, tables[:MAX_ROWS])
    if len(tables) > MAX_ROWS:
        lines.append(_more(len(tables) - MAX_ROWS))
    return "\n".join([*lines, "</div>"])


def shortened(text: str, length: int = _MAX_TEXT) -> str:
    """Return a text, or its beginning and an ellipsis if it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _folding(table: HtmlTable) -> str:
    shown = table.rows[:MAX_ROWS]
    hidden = (len(table.rows) if table.n_rows is None else table.n_rows) - len(shown)
    header = "".join(f"<th>{_text(name)}</th>" for name in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in shown)
    return (
        f"<details{' open' if table.is_open else ''}><summary><b>{_text(table.title)}</b>"
        f"<span>{_text(table.note)}</span></summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
        f"{_more(hidden) if hidden else ''}</details>"
    )


def _more(hidden: int) -> str:
    return f'<div class="nzs-more">… and {hidden:,} more</div>'


def _text(text: str) -> str:
    return escape(printable(shortened(text)), quote=True)
