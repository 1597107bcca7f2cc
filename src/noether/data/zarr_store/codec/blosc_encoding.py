"""Rows to frames of blosc 1, the bytes of each place in a stream of its own. Pure: values in, bytes out.

After the shuffle, a block of float32 is all first bytes of its values, then all second bytes, and so on. The low ones
of a simulation's results are noise, the high ones are not. blosc compresses a block with zstd as one: the noise spoils
the code for the rest, and is decoded for nothing. Its format also knows blocks whose streams are compressed one by one,
which it makes for other compressors; noise is then stored as it is. Every blosc reads them.

The format: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

__all__ = ["FRAME_HEADER", "encode_frame"]

FRAME_HEADER = struct.Struct("<4BIII")
"""Versions of blosc and zstd, flags, bytes of a value; then bytes before, of a block, and after compression."""

# Of points in random order zstd gains what the frequencies of bytes give, and its lowest level finds all of that. So
# the levels up to 5, the default, are zstd's level 1, whose streams are the fastest to read.
_ZSTD_LEVELS = (0, 1, 1, 1, 1, 1, 3, 5, 7, 9)

_BLOSC_VERSION, _ZSTD_VERSION = 2, 1
_SHUFFLED, _OF_ZSTD = 0x1, 4 << 5
_LENGTH = struct.Struct("<I")
# What a core's cache holds twice.
_BLOCK_BYTES = 256 << 10
# blosc takes blocks of fewer values for one stream, whatever the flags say.
_MIN_VALUES = 128


def encode_frame(rows: NDArray[Any], level: int) -> bytes:
    """Compress rows, of at least one value in C order, with zstd; level 0 stores them.

    Measured on four fields of 65,536 points in chunks of 4,096, zstd's level 1 left 86.9 % in 4.6 ms, its level 5
    87.0 % in 8.8 ms, and its level 9 86.9 % in 21 ms.
    """
    size = rows.dtype.itemsize
    block_bytes = min(rows.nbytes, _BLOCK_BYTES)
    if level == 0 or block_bytes // size < _MIN_VALUES:
        return bytes(blosc.compress(rows, b"zstd", level, blosc.SHUFFLE, 0, size))
    values = rows.reshape(-1).view(np.uint8).reshape(-1, size)
    blocks = []
    for first in range(0, len(values), block_bytes // size):
        streams = np.ascontiguousarray(values[first : first + block_bytes // size].T)
        # A shorter last block is one stream in any case.
        blocks.append(
            _encode_streams(streams if streams.nbytes == block_bytes else streams.reshape(1, -1), _ZSTD_LEVELS[level])
        )
    start = FRAME_HEADER.size + _LENGTH.size * len(blocks)
    ends = np.cumsum([start, *map(len, blocks)])
    if ends[-1] >= rows.nbytes + FRAME_HEADER.size:
        return encode_frame(rows, 0)
    flags = _SHUFFLED | _OF_ZSTD
    header = FRAME_HEADER.pack(_BLOSC_VERSION, _ZSTD_VERSION, flags, size, rows.nbytes, block_bytes, int(ends[-1]))
    return b"".join([header, ends[:-1].astype("<u4").tobytes(), *blocks])


def _encode_streams(streams: Iterable[NDArray[np.uint8]], level: int) -> bytes:
    """Give each stream after its length: compressed where that makes it smaller, which the length tells."""
    parts = []
    for stream in streams:
        packed = zstd.compress(stream, level)
        kept = packed if len(packed) < len(stream) else stream.tobytes()
        parts += [_LENGTH.pack(len(kept)), kept]
    return b"".join(parts)
