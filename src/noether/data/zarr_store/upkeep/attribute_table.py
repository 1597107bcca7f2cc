"""Attributes of samples from a table: CSV with a header, or JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noether.data.zarr_store.core import parse_document, parse_text_table
from noether.data.zarr_store.errors import ArgumentError, nearest_names

__all__ = ["read_attribute_table"]

ID_COLUMNS = ("sample_id", "id")

# Of the user's own file: enough for a million samples with some attributes each.
_MAX_VALUES = 1 << 24


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
        cells than the header, or a number that is not finite or has no decimal point but a comma.
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
    try:
        table = parse_text_table(text, "\t" if file.suffix.lower() == ".tsv" else None)
        column = _column_of_ids(file, table.names, id_column)
        attributes = {sample_id: table.values(row, leave_out=column) for sample_id, row in table.by_id(column).items()}
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(f"{file}: {error}") from error
    if not attributes:
        raise ArgumentError(f"{file}: expected a row for at least one sample, got none")
    return attributes


def _column_of_ids(file: Path, names: Sequence[str], id_column: str | None) -> str:
    wanted = ID_COLUMNS if id_column is None else (id_column,)
    for name in wanted:
        if name in names:
            return name
    expected = " or ".join(map(repr, wanted))
    raise ArgumentError(f"{file}: expected a column {expected} of sample ids; {nearest_names(wanted[0], names)}")
