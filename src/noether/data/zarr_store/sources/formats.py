"""File formats of single arrays and of attributes, by suffix. Libraries are imported on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from noether.data.zarr_store.core import parse_document, parse_text_table
from noether.data.zarr_store.errors import MissingDependencyError, SourceError
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.npy import head_of_npy, head_of_npz, load_npy, load_npz
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.torch_files import head_of_pt, load_pt
from noether.data.zarr_store.stores import is_remote

__all__ = [
    "ATTRIBUTE_FORMATS",
    "FORMATS",
    "TABLE_SEPARATORS",
    "as_floats",
    "damage_reported",
    "describe_file",
    "load_file",
    "read_text",
    "require_root",
]

T = TypeVar("T")

# A file of attributes holds a few numbers and names per sample.
_MAX_TEXT_BYTES = 16 << 20
_MAX_VALUES = 1 << 17
TABLE_SEPARATORS = {".csv": None, ".tsv": "\t"}
"""Separators of the cells of a table by suffix; None if the separator is detected from the table."""


def _load_json(file: BinaryIO) -> Any:
    return parse_document(read_text(file).encode(), finite=False)


def _load_row(file: BinaryIO, separator: str | None) -> dict[str, Any]:
    """Load a table with one line of names and one line of values."""
    table = parse_text_table(read_text(file), separator, _MAX_VALUES)
    if len(table.rows) != 1:
        raise ValueError(
            f"expected a line of names and a line of values, got {len(table.rows) + bool(table.names):,} lines; "
            "if the table has a row per sample, name the column of the ids in the mapping: "
            "{ file = ..., id = COLUMN }"
        )
    if all(map(_is_number, table.names)):
        raise ValueError(f"expected a line of names, got {', '.join(table.names)}; write the names above the values")
    return as_floats(table.values(table.rows[0]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with integers as floats: a coefficient that is 1 in one sample can be 0.9 in another."""
    return {name: float(value) if isinstance(value, int) else value for name, value in values.items()}


def read_text(file: BinaryIO, max_bytes: int = _MAX_TEXT_BYTES) -> str:
    """Read UTF-8 text, with or without a byte order mark. Raises `ValueError` if it is too long or not UTF-8."""
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"expected at most {max_bytes:,} bytes of text, got more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text, got an invalid byte at offset {error.start:,}; save the file as UTF-8"
        ) from error


FORMATS: dict[str, Callable[[BinaryIO], Any]] = {".pt": load_pt, ".npy": load_npy, ".npz": load_npz}
_HEADS: dict[str, Callable[[BinaryIO], FieldDescription]] = {
    ".pt": head_of_pt,
    ".npy": head_of_npy,
    ".npz": head_of_npz,
}
ATTRIBUTE_FORMATS: dict[str, Callable[[BinaryIO], Any]] = {
    **FORMATS,
    ".json": _load_json,
    **{suffix: partial(_load_row, separator=separator) for suffix, separator in TABLE_SEPARATORS.items()},
}


def load_file(file: BinaryIO, name: str, where: str) -> Any:
    """Load the content of one file: an array or, for attributes, a dict.

    Parameters
    ----------
    file : binary file
        Open for reading.
    name : str
        Name of the file; its suffix is the format.
    where : str
        Sample and field, as the start of error messages.

    Raises
    ------
    SourceError
        The file is damaged, or holds pickled objects instead of data.
    MissingDependencyError
        The format's library is not installed.
    """
    return _parse(ATTRIBUTE_FORMATS, file, name, where)


def describe_file(file: BinaryIO, name: str, where: str) -> FieldDescription:
    """Describe the array of a file from its header; parameters and errors are those of `load_file`."""
    return _parse(_HEADS, file, name, where)


def _parse(parsers: Mapping[str, Callable[[BinaryIO], T]], file: BinaryIO, name: str, where: str) -> T:
    with damage_reported(name, where):
        return parsers[suffix_of(name)](file)


@contextmanager
def damage_reported(name: str, where: str) -> Iterator[None]:
    """Convert errors of reading a file into those of `load_file`, with its parameters `name` and `where`."""
    try:
        yield
    except MissingDependencyError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{where}: {name} needs more memory than is free ({_first_line(error)}); use fewer workers, or make the "
            "file again if it should be smaller"
        ) from error
    except Exception as error:  # for damaged bytes the parsers raise any error, such as KeyError
        raise SourceError(f"{where}: {name} cannot be read ({_first_line(error)}); make the file again") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if text and isinstance(error, ValueError | TypeError | RuntimeError | OSError | MemoryError):
        return text.splitlines()[0]
    return f"it is damaged, or in another format: {error!r}"


def require_root(root: str) -> None:
    """Raise `SourceError` if a local root does not exist."""
    if not is_remote(root) and not Path(root).exists():
        raise SourceError(f"{root} does not exist; check the path")
