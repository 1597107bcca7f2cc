"""File formats of one array, or of attributes: found by suffix, each with its library imported on use."""

from __future__ import annotations

import pickle
import re
import zipfile
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

# To gather points from memory takes half the time that temporary files take; larger tensors do not get the memory.
_MAP_BYTES = 1 << 30


def _load_pt(file: BinaryIO) -> Any:
    return _to_numpy(_load_tensors(file, "cpu"))


def _head_of_pt(file: BinaryIO) -> FieldDescription:
    # On this device a tensor has no values, and none are read.
    tensor = _load_tensors(file, "meta")
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"it holds a {type(tensor).__name__}, where one tensor is expected")
    _require_own_values(tensor)
    # NumPy's form of another dtype is a copy.
    in_memory = _path_to_map(file) is None or tensor.dtype == torch.bfloat16
    return FieldDescription(tuple(tensor.shape), _to_numpy(torch.empty(0, dtype=tensor.dtype)).dtype, in_memory)


def _load_tensors(file: BinaryIO, device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "reading .pt files", "torch") from error
    path = _path_to_map(file)
    _require_uncompressed(file)
    try:
        return torch.load(path or file, map_location=device, weights_only=True, mmap=path is not None)
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises weights_only=False, which runs the code.
        found = re.search(r"(?i)unsupported (?:global|class):? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"it holds {found[1]}" if found else "it is damaged, or holds something else"
        raise ValueError(f"{what}, where only tensors are allowed") from error


def _path_to_map(file: BinaryIO) -> str | None:
    """Return a path of the very file that is open, where it is better mapped than loaded."""
    try:
        path = Path(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # it is in memory, or elsewhere
        return None
    is_large = path.is_file() and path.stat().st_size >= _MAP_BYTES
    return str(path) if is_large and zipfile.is_zipfile(file) else None  # the older format cannot be mapped


def _require_uncompressed(file: BinaryIO) -> None:
    """Raise `ValueError` where an archive holds more than it has bytes.

    `torch.save` compresses nothing, but `torch.load` decompresses whatever it finds.
    """
    if not file.seekable():
        return  # a pipe
    claimed = 0
    if zipfile.is_zipfile(file):  # the older format is a pickle with the values behind it
        with zipfile.ZipFile(file) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
    size = file.seek(0, 2)
    file.seek(0)
    if claimed > size:
        raise ValueError(f"it claims {claimed:,} bytes, and has {size:,}; expected what torch.save writes")


def _require_own_values(tensor: Any) -> None:
    """Raise `ValueError` where a tensor repeats the same values, as one of a few bytes can without end."""
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        raise ValueError(
            f"its tensor of shape {tuple(tensor.shape)} claims {claimed:,} bytes, and has {stored:,}; save it with "
            ".contiguous()"
        )


def _to_numpy(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        _require_own_values(value)
    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16, and float32 holds all its values.
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: _to_numpy(item) for key, item in value.items()}
    return value


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


FORMATS: dict[str, Callable[[BinaryIO], Any]] = {".pt": _load_pt, ".npy": load_npy, ".npz": load_npz}
_HEADS: dict[str, Callable[[BinaryIO], FieldDescription]] = {
    ".pt": _head_of_pt,
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
