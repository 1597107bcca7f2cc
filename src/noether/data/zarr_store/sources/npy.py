"""Loading NumPy's files, ``.npy`` and ``.npz``. Claimed sizes are checked before memory is allocated.

A valid archive of a few megabytes can hold terabytes of zeros, so the claimed size must also fit in memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import replace
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import available_memory_bytes
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.mapped_files import path_to_map

__all__ = ["head_of_npy", "head_of_npz", "load_members", "load_npy", "load_npz", "member_heads"]

# The compression methods of numpy.savez and numpy.savez_compressed.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SUFFIX = ".npy"
# The largest compression ratio of Deflate, see https://zlib.net/zlib_tech.html. The slack is for small members.
_MAX_DEFLATE_RATIO = 1032
_SLACK_BYTES = 1 << 12


def load_npy(file: BinaryIO) -> NDArray[Any]:
    """Load a ``.npy`` file, or memory-map a large one.

    Raises
    ------
    ValueError
        The file is not a ``.npy``, holds Python objects, or ends early.
    """
    if file.seekable():  # pipes are not
        start = file.tell()
        head_of_npy(file)
        path = path_to_map(file)
        if path is not None:
            mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            return mapped
        file.seek(start)
    # np.load is not used: it mistakes a text file for a pickle, and its error message advises unpickling it.
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def head_of_npy(file: BinaryIO) -> FieldDescription:
    """Describe the array of a seekable ``.npy`` file from its header. Raises the errors of `load_npy`."""
    head = _read_head(file)
    at = file.tell()
    size = file.seek(0, 2) - at
    file.seek(at)
    if head.n_bytes > size:
        raise ValueError(f"it ends early: expected {head.n_bytes:,} bytes, got {size:,}")
    return replace(head, in_memory=path_to_map(file) is None)


def load_npz(file: BinaryIO) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Load a ``.npz`` file: its array if there is only one, else a dict of all arrays by name.

    Raises
    ------
    ValueError
        The file is not an archive of arrays, or claims more bytes than it can hold.
    MemoryError
        The arrays do not fit in the available memory.
    """
    arrays = load_members(file, member_heads(file))
    return arrays if len(arrays) > 1 else arrays.popitem()[1]


def load_members(file: BinaryIO, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Load the requested arrays of a ``.npz`` file. Raises the errors of `load_npz`.

    Parameters
    ----------
    file : binary file
        A seekable file.
    names : iterable of str
        Names of arrays, as `member_heads` returns them.
    """
    with zipfile.ZipFile(file) as archive:
        heads = _heads(archive)
        members = {name: name + _SUFFIX for name in names}
        needed, available = sum(heads[member].n_bytes for member in members.values()), available_memory_bytes()
        if available is not None and needed > available:
            raise MemoryError(f"its arrays need {needed:,} bytes, {available:,} are free")
        return {name: _load_member(archive, member) for name, member in members.items()}


def member_heads(file: BinaryIO) -> dict[str, FieldDescription]:
    """Describe the arrays of a seekable ``.npz`` file by name. Raises the errors of `load_npz`."""
    with zipfile.ZipFile(file) as archive:
        return {name.removesuffix(_SUFFIX): head for name, head in _heads(archive).items()}


def head_of_npz(file: BinaryIO) -> FieldDescription:
    """Describe the only array of a ``.npz`` file. Raises the errors of `load_npz`."""
    heads = list(member_heads(file).values())
    if len(heads) > 1:
        raise ValueError(f"expected one array, got {len(heads):,}")
    return heads[0]


def _heads(archive: zipfile.ZipFile) -> dict[str, FieldDescription]:
    """Describe the arrays of an archive by member name."""
    heads = {info.filename: _checked_head(archive, info) for info in archive.infolist()}
    if not heads:
        raise ValueError("it holds no array")
    return heads


def _checked_head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> FieldDescription:
    name = info.filename
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED or not name.endswith(_SUFFIX):
        raise ValueError(f"member {name!r}: expected an array as numpy.savez writes it")
    if info.file_size > info.compress_size * _MAX_DEFLATE_RATIO + _SLACK_BYTES:
        raise ValueError(
            f"member {name!r} claims {info.file_size:,} bytes, "
            f"more than its {info.compress_size:,} compressed bytes can hold"
        )
    with archive.open(info) as member:
        head = _read_head(member)
        expected = member.tell() + head.n_bytes
    if expected != info.file_size:
        raise ValueError(f"member {name!r} claims {info.file_size:,} bytes, its array claims {expected:,}")
    return head


def _load_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _read_head(file: IO[bytes]) -> FieldDescription:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: unpickling them can run code")
    if any(size < 0 for size in shape):
        raise ValueError(f"expected a shape without negative sizes, got {shape}")
    return FieldDescription(shape, dtype)
