"""The values of an array in a VTK file, read in ranges."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import run_in_order
from noether.data.zarr_store.sources.byte_source import Buffer
from noether.data.zarr_store.sources.lazy_arrays import read_threads
from noether.data.zarr_store.sources.spilled_arrays import SMALL_ARRAY_BYTES, spill
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.vtk_xml.array_bytes import ArrayBytes
from noether.data.zarr_store.sources.vtk_xml.block_table import read_block_table
from noether.data.zarr_store.sources.vtk_xml.compression import decompress
from noether.data.zarr_store.sources.vtk_xml.document import ArrayHead, Document
from noether.data.zarr_store.sources.vtk_xml.text_numbers import parse_numbers

__all__ = ["ArrayValues", "open_array"]

# An array with larger blocks is decompressed once, so that reads of several ranges in a block do not repeat the work.
_LARGE_BLOCK_BYTES = 4 << 20
_MAX_BLOCK_BYTES = 256 << 20
_STEP_VALUES = 1 << 18


class ArrayValues(Protocol):
    """The values of an array, in the byte order of this machine. Safe to use from many threads."""

    name: str
    """Name of the array."""

    dtype: np.dtype[Any]
    """Dtype of the values."""

    width: int
    """Number of values per row."""

    def __len__(self) -> int:
        """Return the number of values."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the values `start` to `stop`; shape ``(stop - start,)``.

        Raises
        ------
        DamagedArrayError
            The file ends too early, or a block does not have the size in its header.
        """

    def whole(self) -> NDArray[Any]:
        """Read all values. Raises the same errors as `read`.

        A small array is read into memory, a large one into a memory-mapped temporary file.
        """


def open_array(document: Document, head: ArrayHead, n_rows: int | None = None) -> ArrayValues:
    """Open an array: read its header now, and its values lazily.

    Decimal numbers and large blocks are decoded now: into memory if the array is small, else into a temporary file.

    Parameters
    ----------
    document : Document
        The file.
    head : ArrayHead
        Description of the array.
    n_rows : int, optional
        Expected number of rows.

    Raises
    ------
    DamagedArrayError
        The header contradicts the bytes that follow, or the array does not have `n_rows` rows.
    NotStreamedError
        A block is too large for memory.
    """
    stored, dtype = ArrayBytes(document.source, head), head.dtype.newbyteorder("=")
    values: ArrayValues
    if head.is_text:
        n_values = sum(map(len, parse_numbers(stored, head, dtype)))
        values = _Decoded(head, dtype, spill(parse_numbers(stored, head, dtype), n_values, dtype, head.name))
    else:
        encoded = _Encoded(document, head, stored)
        largest = encoded.largest_block
        if largest > _MAX_BLOCK_BYTES:
            raise NotStreamedError(f"array {head.name!r} has a block of {largest:,} bytes")
        values = encoded if largest <= _LARGE_BLOCK_BYTES else _Decoded(head, dtype, encoded.whole())
    if n_rows is not None and len(values) != n_rows * head.width:
        raise stored.damaged(f"it has {len(values):,} values; expected {n_rows * head.width:,}")
    return values


class _Decoded:
    def __init__(self, head: ArrayHead, dtype: np.dtype[Any], values: NDArray[Any]) -> None:
        self.name, self.dtype, self.width = head.name, dtype, head.width
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._values[start:stop]

    def whole(self) -> NDArray[Any]:
        return self._values


class _Encoded:
    def __init__(self, document: Document, head: ArrayHead, stored: ArrayBytes) -> None:
        self.name, self.dtype, self.width = head.name, head.dtype.newbyteorder("="), head.width
        self._file_dtype = head.dtype
        self._compression = document.compression
        self._stored = stored
        self._table = read_block_table(stored, document.header, document.compression)
        if self._table.n_bytes % self.dtype.itemsize:
            raise stored.damaged(f"it has {self._table.n_bytes:,} bytes; expected whole values of {self.dtype}")

    def __len__(self) -> int:
        return self._table.n_bytes // self.dtype.itemsize

    @property
    def largest_block(self) -> int:
        return self._table.largest if self._compression else 0

    def read(self, start: int, stop: int) -> NDArray[Any]:
        size = self.dtype.itemsize
        data = self._bytes(start * size, stop * size) if start < stop else b""
        # Bytes decoded from base64 may begin at any address.
        return np.require(np.frombuffer(data, self._file_dtype), self.dtype, "A")

    def whole(self) -> NDArray[Any]:
        if self._table.n_bytes <= SMALL_ARRAY_BYTES:
            return self.read(0, len(self))
        step, threads = max(_STEP_VALUES, self.largest_block // self.dtype.itemsize), read_threads()
        tasks = (partial(self.read, start, min(start + step, len(self))) for start in range(0, len(self), step))
        with ThreadPoolExecutor(threads, thread_name_prefix="noether-read") as pool:
            return spill(run_in_order(pool, tasks, ahead=threads + 1), len(self), self.dtype, self.name)

    def _bytes(self, start: int, stop: int) -> Buffer:
        table = self._table
        if not self._compression:
            before = int(table.ends[0])
            return self._stored.read(table.first, before + start, before + stop)
        first, last = (np.searchsorted(table.made_ends, [start, stop - 1], "right") - 1).tolist()
        begin = int(table.ends[first])
        data = memoryview(self._stored.read(table.first, begin, int(table.ends[last + 1])))
        made: list[Buffer] = [self._block(data, begin, block) for block in range(first, last + 1)]
        made[-1] = memoryview(made[-1])[: stop - int(table.made_ends[last])]
        made[0] = memoryview(made[0])[start - int(table.made_ends[first]) :]
        return made[0] if first == last else b"".join(made)

    def _block(self, data: memoryview, begin: int, block: int) -> bytes:
        table = self._table
        start, stop = table.ends[block : block + 2].tolist()
        n_bytes = int(table.made_ends[block + 1] - table.made_ends[block])
        try:
            return decompress(data[start - begin : stop - begin], n_bytes, self._compression or "zlib")
        except ValueError as error:
            place = self._stored.place(table.first, start)
            raise self._stored.damaged(f"block {block} at byte {place:,}: {error}") from error
