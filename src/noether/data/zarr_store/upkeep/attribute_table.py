"""Reading attributes of samples from a file: a table with a header, or JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noether.data.zarr_store.core import parse_document, parse_text_table
from noether.data.zarr_store.errors import ArgumentError, nearest_names

__all__ = ["read_attribute_table"]

ID_COLUMNS = ("sample_id", "id")

# Limit for the user's file: enough for a million samples with some attributes each.
_MAX_VALUES = 1 << 24


def read_attribute_table(path: str | os.PathLike[str], *, id_column: str | None = None) -> dict[str, dict[str, Any]]:
    """Read attributes by sample id from a file.

    Parameters
    ----------
    path : str or path
        A JSON file (``.json``) with an object ``{sample_id: {name: value}}``, or a table with a header and one row per
        sample. The cells of a table are separated by commas, semicolons or bars, or by tabs if the name ends in
        ``.tsv``. Numeric cells become numbers, other cells become text, and empty cells are left out.
    id_column : str, optional
        Name of the column with the sample ids. The default is ``sample_id``, or else ``id``.

    Raises
    ------
    ArgumentError
        The file cannot be read, has no such column or no row, or has a sample twice; a row has more or fewer cells than
        the header; or a number is not finite, or has a decimal comma.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise ArgumentError(f"{file}: the table cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file}: expected text in UTF-8 ({error}); save the file as UTF-8") from error
    if file.suffix.lower() != ".json":
        return _read_rows(file, text, id_column)
    if id_column is not None:
        raise ArgumentError(
            f"{file}: expected no id column, since a JSON file has no columns, got {id_column!r}; leave it out"
        )
    return _read_json(file, text)


def _read_json(file: Path, text: str) -> dict[str, dict[str, Any]]:
    try:
        content = parse_document(text.encode(), max_values=_MAX_VALUES)
    except ValueError as error:
        raise ArgumentError(f"{file}: {error}") from error
    if not isinstance(content, dict) or not content or not all(isinstance(one, dict) for one in content.values()):
        raise ArgumentError(
            f"{file}: expected an object with at least one sample; write {{sample_id: {{name: value}}}}"
        )
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
        raise ArgumentError(f"{file}: expected at least one row, got none; write one row per sample")
    return attributes


def _column_of_ids(file: Path, names: Sequence[str], id_column: str | None) -> str:
    wanted = ID_COLUMNS if id_column is None else (id_column,)
    for name in wanted:
        if name in names:
            return name
    expected = " or ".join(map(repr, wanted))
    raise ArgumentError(f"{file}: expected a column {expected} of sample ids; {nearest_names(wanted[0], names)}")
