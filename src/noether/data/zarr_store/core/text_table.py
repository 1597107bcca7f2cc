"""Tables as text: a header, then rows of cells between commas, semicolons, tabs or vertical bars. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass

__all__ = ["TextRow", "TextTable", "parse_text_table"]

# Maximum number of cells of a table: enough for a million samples with some attributes each.
_MAX_CELLS = 1 << 24
_SEPARATORS = ",;\t|"
_MAX_SHOWN = 40

# Most JSON readers round larger integers, and Python does not parse integers of over 4,300 digits.
_MAX_DIGITS = 19
# An id such as 007 stays text: as a number it would lose its zeros.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
# 0,3 and 1.234,5 (German), 1,234.5 (English), 1 234 and 1'234. Some of these have two meanings: 1,234 is 1.234 or 1234.
_LOCAL_NUMBER = re.compile(
    r"[+-]?([0-9]*,[0-9]+|[0-9]{1,3}([.,' \u00a0\u202f\u2019][0-9]{3})+([.,][0-9]*)?)([eE][+-]?[0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class TextRow:
    """One row of a table.

    Attributes
    ----------
    line : int
        Line number of the last line of the row.
    cells : tuple of str
        One cell for each column, without surrounding spaces.
    """

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table with a name for each column.

    Attributes
    ----------
    names : tuple of str
        Names of the columns, without surrounding spaces.
    rows : list of TextRow
        The rows that are not empty.
    """

    names: tuple[str, ...]
    rows: list[TextRow]

    def by_id(self, column: str) -> dict[str, TextRow]:
        """Return the rows by the ids in one column.

        Raises
        ------
        ValueError
            Two rows have the same id, or an id is empty. Or a number in any column is ambiguous, such as ``0,3`` or
            ``1.234,5``: the file can use decimal commas, so other numbers can have points between thousands.
        """
        at = self.names.index(column)
        rows: dict[str, TextRow] = {}
        for row in self.rows:
            row_id = row.cells[at]
            if not row_id or row_id in rows:
                raise ValueError(
                    f"line {row.line}: expected a different sample id in each row, got {row_id!r}"
                    f"{' again' if row_id else ''}"
                )
            rows[row_id] = row
            for name, cell in zip(self.names, row.cells, strict=True):
                if name != column:
                    _require_clear(cell, f"line {row.line}, column {name!r}")
        return rows

    def values(self, row: TextRow, leave_out: str | None = None) -> dict[str, int | float | str]:
        """Return the cells of a row by column name, without empty cells.

        Cells that hold a number are returned as int or float, all others as str.

        Parameters
        ----------
        row : TextRow
            A row of this table.
        leave_out : str, optional
            Name of a column to leave out.

        Raises
        ------
        ValueError
            A number is not finite, or is ambiguous, such as ``0,3`` or ``1.234,5``.
        """
        return {
            name: _value(cell, f"line {row.line}, column {name!r}")
            for name, cell in zip(self.names, row.cells, strict=True)
            if cell and name != leave_out
        }


def parse_text_table(text: str, separator: str | None = None, max_cells: int = _MAX_CELLS) -> TextTable:
    """Parse a table.

    Columns without a name and without any value, as commas at the ends of lines make them, are left out.

    Parameters
    ----------
    text : str
        The header is the first line that is not blank.
    separator : str, optional
        Separator of the cells. By default, the one of comma, semicolon, tab and vertical bar that fits all rows.
    max_cells : int
        Maximum number of cells of the table.

    Raises
    ------
    ValueError
        The text is not a table, a row has more or fewer cells than the header, two columns have the same name, a
        column has values but no name, or two separators fit.
    """
    candidates = [separator] if separator else _separators(text)
    if max(map(text.count, candidates)) + text.count("\n") >= max_cells:
        raise ValueError(f"expected at most {max_cells:,} cells, got more")
    tables = [table for one in candidates if len(candidates) > 1 and (table := _table_if_fitting(text, one))]
    if not tables:
        return _table(text, candidates[0])
    widest = max(len(table.names) for table in tables)
    best = [table for table in tables if len(table.names) == widest]
    if len(best) > 1:
        one, other = (_shown(table.names) for table in best[:2])
        raise ValueError(
            f"two separators fit the table: the columns can be {one} or {other}; put quotes around names that contain "
            "a separator"
        )
    return best[0]


def _separators(text: str) -> list[str]:
    """Return the separators in the header, the most frequent first; a comma if there is none."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    there = [one for one in _SEPARATORS if one in header]
    return sorted(there, key=header.count, reverse=True) or [","]


def _table_if_fitting(text: str, separator: str) -> TextTable | None:
    try:
        table = _table(text, separator)
    except ValueError:
        return None
    return table if len(table.names) > 1 else None


def _table(text: str, separator: str) -> TextTable:
    rows = _rows(text, separator)
    header = rows[0].cells if rows else ()
    n_columns = max((at + 1 for at, name in enumerate(header) if name), default=0)
    rows = [_fitted(row, header, n_columns) for row in rows[1:]]
    used = [at for at in range(n_columns) if header[at] or any(row.cells[at] for row in rows)]
    names = tuple(header[at] for at in used)
    if "" in names or len(set(names)) < len(names):
        raise _header_error(header)
    if len(used) < n_columns:
        rows = [TextRow(row.line, tuple(row.cells[at] for at in used)) for row in rows]
    return TextTable(names, rows)


def _rows(text: str, separator: str) -> list[TextRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows = []
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped):
                rows.append(TextRow(reader.line_num, stripped))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: cannot be parsed as a row of a table ({error})") from error
    return rows


def _fitted(row: TextRow, header: tuple[str, ...], n_columns: int) -> TextRow:
    """Return a row without the empty cells after the last named column."""
    if any(row.cells[n_columns : len(header)]):
        raise _header_error(header)
    n_cells = len(row.cells)
    if n_cells < n_columns or any(row.cells[n_columns:]):
        raise ValueError(
            f"line {row.line}: expected {n_columns} cells as in the header, got {n_cells}; put quotes around text that "
            "contains the separator"
        )
    if n_columns == 1 and _is_numbers(row.cells[0].split()):
        raise ValueError(
            f"line {row.line}: expected cells between commas, semicolons, tabs or vertical bars, got {row.cells[0]!r}"
        )
    return TextRow(row.line, row.cells[:n_columns])


def _header_error(header: tuple[str, ...]) -> ValueError:
    return ValueError(f"expected a header with a different name for each column, got {_shown(header)}")


def _shown(header: tuple[str, ...]) -> str:
    more = f", and {len(header) - _MAX_SHOWN} more" if len(header) > _MAX_SHOWN else ""
    return ", ".join(map(repr, header[:_MAX_SHOWN])) + more


def _is_numbers(words: list[str]) -> bool:
    return len(words) > 1 and all(_INTEGER.fullmatch(word) or _FLOAT.fullmatch(word) for word in words)


def _value(cell: str, where: str) -> int | float | str:
    if _INTEGER.fullmatch(cell):
        return int(cell) if len(cell) < _MAX_DIGITS else float(cell)
    if _FLOAT.fullmatch(cell):
        number = float(cell)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(cell):
        _require_clear(cell, where)
        return cell
    raise ValueError(f"{where}: expected a finite number or text, got {cell!r}; leave the cell empty")


def _require_clear(cell: str, where: str) -> None:
    if _LOCAL_NUMBER.fullmatch(cell) and not _FLOAT.fullmatch(cell):
        raise ValueError(
            f"{where}: expected a number with a decimal point and no thousands separators, such as 1234.5, got "
            f"{cell!r}; save the table with such numbers"
        )
