"""The index at the end of a shard. Pure: bytes in, bytes out.

The index holds the offset and length of every chunk as little-endian uint64, then the crc32c of these entries (Zarr's
codec ``sharding_indexed``). The bytes can be damaged or forged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec.encoding import crc_bytes
from noether.data.zarr_store.errors import CorruptDataError

__all__ = ["MISSING", "ShardIndex", "index_size"]

Buffer = bytes | memoryview

MISSING = (1 << 64) - 1
"""Offset and length of a chunk that is not stored: all its values are the fill value."""

_CRC_BYTES = 4
_ENTRY_BYTES = 16


def index_size(n_chunks: int) -> int:
    """Return the number of bytes of the index of a shard with `n_chunks` entries."""
    return n_chunks * _ENTRY_BYTES + _CRC_BYTES


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """The offsets and lengths of the chunks in one shard.

    Attributes
    ----------
    offsets, lengths : ndarray of uint64, shape (n_chunks,)
        Offsets from the start of the shard, and lengths, in bytes; both are `MISSING` for a chunk that is not stored.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    _n_in_a_row: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_stored = self.lengths != np.uint64(MISSING)
        is_stored[1:] &= self.offsets[1:] == self.offsets[:-1] + self.lengths[:-1]
        n_in_a_row = len(is_stored) if is_stored.all() else int(np.argmin(is_stored))
        object.__setattr__(self, "_n_in_a_row", n_in_a_row)

    @classmethod
    def of_lengths(cls, lengths: Sequence[int] | NDArray[np.integer[Any]], capacity: int | None = None) -> Self:
        """Return the index of contiguous chunks that begin at the start of the shard.

        Parameters
        ----------
        lengths : sequence of int
            Number of bytes of each chunk; 0 for a chunk that is not stored.
        capacity : int, optional
            Number of entries of the index, if larger than the number of lengths.
        """
        sizes = np.zeros(max(capacity or 0, len(lengths)), np.uint64)
        sizes[: len(lengths)] = lengths
        offsets = np.zeros_like(sizes)
        np.cumsum(sizes[:-1], out=offsets[1:])
        stored = sizes > 0
        missing = np.uint64(MISSING)
        return cls(np.where(stored, offsets, missing), np.where(stored, sizes, missing))

    def encode(self) -> bytes:
        """Return the bytes of the index, which are the last bytes of the shard."""
        entries = np.stack([self.offsets, self.lengths], axis=1).astype("<u8").tobytes()
        return entries + crc_bytes(entries)

    @classmethod
    def decode(cls, data: Buffer, n_chunks: int, shard_size: int) -> Self:
        """Parse and check the index at the end of a shard.

        Parameters
        ----------
        data : bytes-like
            The last ``index_size(n_chunks)`` bytes of the shard.
        n_chunks : int
            Number of entries of the index.
        shard_size : int
            Number of bytes of the shard.

        Raises
        ------
        CorruptDataError
            The index is damaged, an entry points outside the shard, or chunks overlap.
        """
        expected = index_size(n_chunks)
        if len(data) != expected or shard_size < expected:
            raise CorruptDataError(f"it ends early: expected an index of {expected:,} bytes, got {len(data):,}")
        view = np.frombuffer(data, np.uint8)
        entries, crc = view[:-_CRC_BYTES], view[-_CRC_BYTES:]
        if google_crc32c.value(entries) != int.from_bytes(crc.tobytes(), "little"):
            raise CorruptDataError("the checksum of its index does not match its bytes")
        offsets, lengths = entries.view("<u8").reshape(n_chunks, 2).T.astype(np.uint64)
        index = cls(offsets, lengths)
        index._require_sound(shard_size - expected)
        return index

    def ranges_of(self, chunk: int, n_chunks: int = 1) -> list[tuple[int, int]]:
        """Return (offset, length) of `n_chunks` chunks from `chunk` on; (0, 0) for a chunk that is not stored."""
        stop = chunk + n_chunks
        ranges = zip(self.offsets[chunk:stop].tolist(), self.lengths[chunk:stop].tolist(), strict=True)
        return [(0, 0) if length == MISSING else (offset, length) for offset, length in ranges]

    def bounds_of(self, chunk: int, n_chunks: int) -> tuple[int, list[int]] | None:
        """Return the byte range of `n_chunks` chunks from `chunk` on, and their bounds within it.

        Returns
        -------
        tuple of (int, list of int) or None
            The offset of the first chunk in the shard; and, relative to it, the offset of each chunk and the end of the
            last chunk. None unless all chunks from the start of the shard up to the last of these are stored and
            contiguous.
        """
        if chunk + n_chunks > self._n_in_a_row:
            return None
        lengths = self.lengths[chunk : chunk + n_chunks].tolist()
        return int(self.offsets[chunk]), list(accumulate(lengths, initial=0))

    @property
    def n_bytes(self) -> int:
        """Number of bytes of memory that the index takes."""
        return self.offsets.nbytes + self.lengths.nbytes

    def _require_sound(self, n_bytes: int) -> None:
        """Raise `CorruptDataError` unless all chunks are in the first `n_bytes` bytes and do not overlap."""
        stored = self.lengths != MISSING
        if np.any(stored != (self.offsets != MISSING)) or np.any(self.lengths == 0):
            raise CorruptDataError("its index has a chunk with only an offset, or with only a length")
        offsets, lengths = self.offsets[stored], self.lengths[stored]
        # The comparison avoids a sum, which could overflow.
        limit = np.uint64(n_bytes)
        outside = (lengths > limit) | (offsets > limit - np.minimum(lengths, limit))
        if np.any(outside):
            raise CorruptDataError(f"its index points past the end of its chunks at byte {n_bytes:,}")
        order = np.argsort(offsets, kind="stable")
        starts, ends = offsets[order], (offsets + lengths)[order]
        if np.any(starts[1:] < ends[:-1]):
            raise CorruptDataError("chunks overlap in its index")
