"""File formats of one array, or of attributes: found by suffix, each with its library imported on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, TypeVar

from noether.data.zarr_store.core import parse_document, parse_text_table
from noether.data.zarr_store.errors import MissingDependencyError, SourceError
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.npy import head_of_npy, head_of_npz, load_npy, load_npz
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.torch_files import head_of_pt, load_pt

__all__ = [
    "ATTRIBUTE_FORMATS",
    "FORMATS",
    "TABLE_SEPARATORS",
    "as_floats",
    "damage_reported",
    "describe_file",
    "load_file",
    "read_text",
]

T = TypeVar("T")

# Attributes are a few numbers and names of a sample.
_MAX_TEXT_BYTES = 16 << 20
_MAX_VALUES = 1 << 17
TABLE_SEPARATORS = {".csv": None, ".tsv": "\t"}
"""What separates the cells of a table, by suffix; None where the table itself has to tell."""


def _load_json(file: BinaryIO) -> Any:
    return parse_document(read_text(file).encode(), finite=False)


def _load_row(file: BinaryIO, separator: str | None) -> dict[str, Any]:
    """Load a table of a line of names and a line of values."""
    table = parse_text_table(read_text(file), separator, _MAX_VALUES)
    if len(table.rows) != 1:
        raise ValueError(
            "expected a line of names and a line with as many values, got "
            f"{len(table.rows) + bool(table.names)} lines; in the mapping, a table of all samples names the column of "
            "their ids: { file = ..., id = COLUMN }"
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
    """Return values with each integer as a float: a coefficient that is 1 in one sample is 0.9 in another."""
    return {name: float(value) if isinstance(value, int) else value for name, value in values.items()}


def read_text(file: BinaryIO, max_bytes: int = _MAX_TEXT_BYTES) -> str:
    """Read text in UTF-8, with or without a byte order mark; `ValueError` where it is too long or is none."""
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes; expected a few attributes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, which byte {error.start} is not; save it as UTF-8") from error


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
    """Load what one file holds: an array, or for attributes also a dict of them.

    Parameters
    ----------
    file : binary file
        Open for reading.
    name : str
        Its name; the suffix says its format.
    where : str
        Names sample and field, to begin an error with.

    Raises
    ------
    SourceError
        The file is broken, or holds code instead of data.
    MissingDependencyError
        The format's library is not installed.
    """
    return _parse(ATTRIBUTE_FORMATS, file, name, where)


def describe_file(file: BinaryIO, name: str, where: str) -> FieldDescription:
    """Describe the array of a file from the head of it; parameters and errors are those of `load_file`."""
    return _parse(_HEADS, file, name, where)


def _parse(parsers: Mapping[str, Callable[[BinaryIO], T]], file: BinaryIO, name: str, where: str) -> T:
    with damage_reported(name, where):
        return parsers[suffix_of(name)](file)


@contextmanager
def damage_reported(name: str, where: str) -> Iterator[None]:
    """Report what fails while a file is read as `load_file` does; `name` and `where` are its parameters."""
    try:
        yield
    except MissingDependencyError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{where}: {name} needs more memory than there is ({_first_line(error)}); make the file again if it is "
            "not that large, else use fewer workers"
        ) from error
    except Exception as error:  # broken bytes make the parsers raise anything, KeyError and TokenError included
        raise SourceError(f"{where}: {name} cannot be read ({_first_line(error)}); make the file again") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if text and isinstance(error, ValueError | TypeError | RuntimeError | OSError | MemoryError):
        return text.splitlines()[0]
    return f"it is damaged, or in another format: {error!r}"
