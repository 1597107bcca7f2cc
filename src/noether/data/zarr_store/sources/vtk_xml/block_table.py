"""The offsets of the blocks of an array in a VTK file, read from the header before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.vtk_xml.array_bytes import ArrayBytes
from noether.data.zarr_store.sources.vtk_xml.compression import MOST_TIMES, Compression

__all__ = ["BlockTable", "read_block_table"]

# Sums and products of sizes below this limit fit in 64 bits.
_MAX_BYTES = 1 << 48


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The blocks of an array, one after the other.

    Attributes
    ----------
    first : int
        Offset in the file of the text that holds the blocks.
    ends : ndarray of int64, shape (n_blocks + 1,)
        Offset in that text of the first block, then the end of each block.
    made_ends : ndarray of int64, shape (n_blocks + 1,)
        The same offsets for the decompressed blocks, in bytes of the array's values.
    """

    first: int
    ends: NDArray[np.int64]
    made_ends: NDArray[np.int64]

    @property
    def n_bytes(self) -> int:
        """Size of the array's values in bytes."""
        return int(self.made_ends[-1])

    @property
    def largest(self) -> int:
        """Size of the largest block in bytes, decompressed."""
        return int(np.diff(self.made_ends).max(initial=0))


def read_block_table(stored: ArrayBytes, header: np.dtype[Any], compression: Compression | None) -> BlockTable:
    """Read the header of an array: the sizes of its blocks.

    The values of an array without compression are one block.

    Parameters
    ----------
    stored : ArrayBytes
        Bytes of the array.
    header : numpy.dtype
        Dtype of the numbers in the header.
    compression : {"zlib", "lz4", "lzma"} or None
        Compression of the blocks.

    Raises
    ------
    DamagedArrayError
        The header promises more bytes than follow, or more values than the blocks can hold.
    """
    first, word = stored.start, header.itemsize

    def words(start: int, stop: int) -> NDArray[np.uint64]:
        data = stored.read(first, start * word, stop * word)
        return np.frombuffer(data, header).astype(np.uint64)

    if compression is None:
        n_bytes = int(words(0, 1)[0])
        room = stored.room_from(first) - word
        if n_bytes > room:
            raise stored.damaged(f"its header at byte {first:,} promises {n_bytes:,} bytes; {max(room, 0):,} follow")
        # Without compression, the header and the values are one base64 text.
        ends = np.array([0, n_bytes])
        return BlockTable(first, ends + word, ends)
    n_blocks, block_bytes, last_bytes = words(0, 3).tolist()
    room = stored.room_from(first)
    if n_blocks > room // word or block_bytes > _MAX_BYTES or last_bytes > block_bytes:
        raise stored.damaged(
            f"its header at byte {first:,} promises {n_blocks:,} blocks of {block_bytes:,} bytes; {room:,} follow"
        )
    lengths = words(3, 3 + n_blocks)
    begin = first + stored.encoded_length((3 + n_blocks) * word)
    room = stored.room_from(begin)
    made = np.full(n_blocks, block_bytes, np.uint64)
    if n_blocks and last_bytes:
        made[-1] = last_bytes
    if lengths.max(initial=0) > room or lengths.sum(dtype=np.float64) > 2.0 * room or int(lengths.sum()) > room:
        raise stored.damaged(f"its header at byte {first:,} promises blocks beyond the {room:,} bytes that follow")
    if np.any(made > lengths * np.uint64(MOST_TIMES[compression])):
        raise stored.damaged(f"its header at byte {first:,} promises more values than its blocks can hold")
    return BlockTable(begin, _ends_of(lengths), _ends_of(made))


def _ends_of(lengths: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths.astype(np.int64))])
