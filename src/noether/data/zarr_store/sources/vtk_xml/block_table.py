"""Where the blocks of an array lie in a VTK file, as the header before them says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.vtk_xml.array_bytes import ArrayBytes
from noether.data.zarr_store.sources.vtk_xml.compression import MOST_TIMES, Compression

__all__ = ["BlockTable", "read_block_table"]

# Numbers computed from smaller ones fit in 64 bits.
_MAX_BYTES = 1 << 48


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The blocks of an array, one after the other.

    Attributes
    ----------
    first : int
        Where in the file the text begins that they are in.
    ends : ndarray of int64, shape (n_blocks + 1,)
        Where in that text the first one begins, and where each ends.
    made_ends : ndarray of int64, shape (n_blocks + 1,)
        The same of what they are decompressed to: bytes of the array's values.
    """

    first: int
    ends: NDArray[np.int64]
    made_ends: NDArray[np.int64]

    @property
    def n_bytes(self) -> int:
        """Bytes of the array's values."""
        return int(self.made_ends[-1])

    @property
    def largest(self) -> int:
        """Bytes of values in the largest block."""
        return int(np.diff(self.made_ends).max(initial=0))


def read_block_table(stored: ArrayBytes, header: np.dtype[Any], compression: Compression | None) -> BlockTable:
    """Read the header of an array: sizes of its blocks, or the bytes of its values, which are then one block.

    Parameters
    ----------
    stored : ArrayBytes
        The array.
    header : numpy.dtype
        Of the header's numbers.
    compression : {"zlib", "lz4", "lzma"} or None
        Of the blocks.

    Raises
    ------
    DamagedArrayError
        The header promises more than follows, or than can be in what follows.
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
        # In base64, the header and the values are one text.
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
