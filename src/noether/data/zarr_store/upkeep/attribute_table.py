"""Attributes of samples from a table: CSV with a header, or JSON."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noether.data.zarr_store.core import parse_document
from noether.data.zarr_store.errors import ArgumentError, nearest_names

__all__ = ["read_attribute_table"]

ID_COLUMNS = ("sample_id", "id")

# Of the user's own file: enough for a million samples with some attributes each.
_MAX_VALUES = 1 << 24

# Larger integers are rounded by most readers of JSON, and Python parses none of over 4,300 digits.
_MAX_DIGITS = 19

_DELIMITERS = ",;\t|"
# An id such as 007 is no number: it would not be the same any more.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


def read_attribute_table(path: str | os.PathLike[str], *, id_column: str | None = None) -> dict[str, dict[str, Any]]:
    """Read attributes by sample id from a file.

    Parameters
    ----------
    path : str or path
        A JSON file (``.json``) of an object ``{sample_id: {name: value}}``; or a table with a header and a row for each
        sample, whose cells are separated by commas, semicolons, bars or, in any file that ends in ``.tsv``, tabs.
        Numbers become numbers, other cells text, and empty cells are left out.
    id_column : str, optional
        The column of the sample ids; ``sample_id`` or ``id`` without it.

    Raises
    ------
    ArgumentError
        The file cannot be read, has no such column or no row, names a sample twice, or has a row with more or fewer
        cells than the header, or a number that is not finite.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise ArgumentError(f"{file}: the table cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file}: expected text in UTF-8 ({error})") from error
    if file.suffix.lower() != ".json":
        return _read_rows(file, text, id_column)
    if id_column is not None:
        raise ArgumentError(f"{file}: a JSON file has no columns, so expected no id column, got {id_column!r}")
    return _read_json(file, text)


def _read_json(file: Path, text: str) -> dict[str, dict[str, Any]]:
    try:
        content = parse_document(text.encode(), max_values=_MAX_VALUES)
    except ValueError as error:
        raise ArgumentError(f"{file}: {error}") from error
    if not isinstance(content, dict) or not content or not all(isinstance(one, dict) for one in content.values()):
        raise ArgumentError(f"{file}: expected an object of at least one sample, {{sample_id: {{name: value}}}}")
    return content


def _read_rows(file: Path, text: str, id_column: str | None) -> dict[str, dict[str, Any]]:
    rows = _rows(file, text)
    _, header = next(rows, (0, []))
    names = [name.strip() for name in header]
    if "" in names or len(set(names)) < len(names):
        raise ArgumentError(f"{file}: expected a header with a name of its own for each column, got {header}")
    at = _place_of_ids(file, names, id_column)
    table: dict[str, dict[str, Any]] = {}
    for line, cells in rows:
        if len(cells) != len(names):
            raise ArgumentError(
                f"{file}, line {line}: expected {len(names)} cells as in the header, got {len(cells)}; quote text that "
                "holds the separator"
            )
        sample_id = cells[at].strip()
        if not sample_id or sample_id in table:
            raise ArgumentError(
                f"{file}, line {line}: expected a sample of its own for each row, got {sample_id!r} "
                f"{'again' if sample_id else 'as id'}"
            )
        table[sample_id] = {
            name: _value(cell, f"{file}, line {line}, column {name!r}")
            for number, (name, cell) in enumerate(zip(names, map(str.strip, cells), strict=True))
            if number != at and cell
        }
    if not table:
        raise ArgumentError(f"{file}: expected a row for at least one sample, got none")
    return table


def _rows(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(file, text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ArgumentError(f"{file}, line {reader.line_num}: no row of a table ({error})") from error


def _delimiter(file: Path, text: str) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _place_of_ids(file: Path, names: list[str], id_column: str | None) -> int:
    wanted = ID_COLUMNS if id_column is None else (id_column,)
    for name in wanted:
        if name in names:
            return names.index(name)
    expected = " or ".join(map(repr, wanted))
    raise ArgumentError(f"{file}: expected a column {expected} of sample ids; {nearest_names(wanted[0], names)}")


def _value(cell: str, where: str) -> Any:
    if _INTEGER.fullmatch(cell):
        return int(cell) if len(cell) < _MAX_DIGITS else float(cell)
    if _FLOAT.fullmatch(cell):
        number = float(cell)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(cell):
        return cell
    raise ArgumentError(f"{where}: expected a finite number or text, got {cell!r}; leave the cell empty")
