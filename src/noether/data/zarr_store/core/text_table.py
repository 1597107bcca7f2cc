"""Tables as text: a header, then rows whose cells are separated by commas, semicolons, tabs or bars. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass

__all__ = ["TextRow", "TextTable", "parse_text_table"]

# Of all rows together: enough for a million samples with some attributes each.
_MAX_CELLS = 1 << 24
_SEPARATORS = ",;\t|"
_MAX_SHOWN = 40

# Larger integers are rounded by most readers of JSON, and Python parses none of over 4,300 digits.
_MAX_DIGITS = 19
# An id such as 007 is no number: it would not be the same any more.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
# 0,3 and 1.234,5 of a German spreadsheet, 1,234.5 of an English one, 1 234 and 1'234: some are numbers in several ways.
_LOCAL_NUMBER = re.compile(
    r"[+-]?([0-9]*,[0-9]+|[0-9]{1,3}([.,' \u00a0\u202f\u2019][0-9]{3})+([.,][0-9]*)?)([eE][+-]?[0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class TextRow:
    """One row of a table.

    Attributes
    ----------
    line : int
        The number of its last line.
    cells : tuple of str
        One for each column, without blanks around them.
    """

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table with a name for each column.

    Attributes
    ----------
    names : tuple of str
        Names of the columns, without blanks around them.
    rows : list of TextRow
        The rows that are not blank.
    """

    names: tuple[str, ...]
    rows: list[TextRow]

    def by_id(self, column: str) -> dict[str, TextRow]:
        """Return the rows by their cell of a column.

        Raises
        ------
        ValueError
            Two rows have the same cell, or a row has an empty one. Some number is written as no program reads it for
            sure: where one has a decimal comma, the point of another may be one between thousands.
        """
        at = self.names.index(column)
        rows: dict[str, TextRow] = {}
        for row in self.rows:
            row_id = row.cells[at]
            if not row_id or row_id in rows:
                raise ValueError(
                    f"line {row.line}: expected a sample of its own for each row, got {row_id!r} "
                    f"{'again' if row_id else 'as id'}"
                )
            rows[row_id] = row
            for name, cell in zip(self.names, row.cells, strict=True):
                if name != column:
                    _require_clear(cell, f"line {row.line}, column {name!r}")
        return rows

    def values(self, row: TextRow, leave_out: str | None = None) -> dict[str, int | float | str]:
        """Return the cells of a row by column: numbers as numbers, others as text, empty ones left out.

        Parameters
        ----------
        row : TextRow
            One of the rows of this table.
        leave_out : str, optional
            A column that is left out as well.

        Raises
        ------
        ValueError
            A number is not finite, or is written as no program reads it for sure: ``0,3``, ``1.234,5``.
        """
        return {
            name: _value(cell, f"line {row.line}, column {name!r}")
            for name, cell in zip(self.names, row.cells, strict=True)
            if cell and name != leave_out
        }


def parse_text_table(text: str, separator: str | None = None, max_cells: int = _MAX_CELLS) -> TextTable:
    """Parse a table; a column that has neither a name nor any cell, as a comma at the ends of lines makes, is left out.

    Parameters
    ----------
    text : str
        The header is the first line that is not blank.
    separator : str, optional
        What separates cells; without it, that of comma, semicolon, tab and bar that fits all rows.
    max_cells : int
        Most cells that the table may have.

    Raises
    ------
    ValueError
        The text is no table, a row has more or fewer cells than the header, a column has cells and no name or the name
        of another one, or two separators fit.
    """
    candidates = [separator] if separator else _separators(text)
    if max(map(text.count, candidates)) + text.count("\n") >= max_cells:
        raise ValueError(f"over {max_cells:,} cells; expected at most so many")
    tables = [table for one in candidates if len(candidates) > 1 and (table := _table_if_fitting(text, one))]
    if not tables:
        return _table(text, candidates[0])
    widest = max(len(table.names) for table in tables)
    best = [table for table in tables if len(table.names) == widest]
    if len(best) > 1:
        one, other = (_shown(table.names) for table in best[:2])
        raise ValueError(f"two separators fit the table, with columns {one}, or {other}; quote names that hold one")
    return best[0]


def _separators(text: str) -> list[str]:
    """Return the separators that the header has, the most frequent one first; a comma without any."""
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
        raise ValueError(f"line {reader.line_num}: no row of a table ({error})") from error
    return rows


def _fitted(row: TextRow, header: tuple[str, ...], n_columns: int) -> TextRow:
    """Return a row without the empty cells that it has beyond the last column with a name."""
    if any(row.cells[n_columns : len(header)]):
        raise _header_error(header)
    n_cells = len(row.cells)
    if n_cells < n_columns or any(row.cells[n_columns:]):
        raise ValueError(
            f"line {row.line}: expected {n_columns} cells as in the header, got {n_cells}; quote text that holds the "
            "separator"
        )
    if n_columns == 1 and _is_numbers(row.cells[0].split()):
        raise ValueError(
            f"line {row.line}: expected cells separated by commas, semicolons, tabs or bars, got {row.cells[0]!r}"
        )
    return TextRow(row.line, row.cells[:n_columns])


def _header_error(header: tuple[str, ...]) -> ValueError:
    return ValueError(f"expected a header with a name of its own for each column, got {_shown(header)}")


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
            f"{where}: expected a number with a decimal point and nothing between thousands, such as 1234.5, got "
            f"{cell!r}; save the table with such numbers"
        )
