"""Rows to frames of blosc 1, where each byte of the values has a stream of its own. Pure: values in, bytes out.

After the shuffle, a block of float32 has all first bytes of its values, then all second bytes, and so on. In the
results of a simulation, the low bytes are noise, and the high bytes are not. blosc compresses a block with zstd as one
stream: the noise spoils the code for the other bytes, and is decoded for nothing. The format also has blocks of several
streams, which blosc makes for other compressors, and every blosc reads. Here each stream is compressed on its own, and
noise is stored without compression.

The format: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

__all__ = ["BLOCK_BYTES", "FRAME_HEADER", "MIN_SPLIT_VALUES", "ZSTD_LEVELS", "encode_frame", "stored_header"]

FRAME_HEADER = struct.Struct("<4BIII")
"""Versions of blosc and zstd, flags, bytes of a value; then bytes before compression, of a block, and of the frame."""

ZSTD_LEVELS = (0, 1, 1, 1, 1, 1, 3, 5, 7, 9)
"""The level of zstd for each compression level. Of points in random order zstd gains what the frequencies of bytes
give, and its lowest level finds all of that. So the levels up to 5, the default, are zstd's level 1, whose streams are
the fastest to read."""

_BLOSC_VERSION, _ZSTD_VERSION = 2, 1
_SHUFFLED, _OF_ZSTD = 0x1, 4 << 5
_LENGTH = struct.Struct("<I")
BLOCK_BYTES = 256 << 10
"""Most bytes of a block: a core's cache holds two of them."""
MIN_SPLIT_VALUES = 128
"""To blosc, a block of fewer values is one stream, whatever the flags are."""


def encode_frame(rows: NDArray[Any], level: int) -> bytes:
    """Compress rows to a frame.

    Points in random order compress by the frequencies of their bytes alone, which the lowest level of zstd finds: of
    four fields of 65,536 points in chunks of 4,096, zstd's level 1 left 86.9 % of the bytes in 4.6 ms, its level 5
    left 87.0 % in 8.8 ms, and its level 9 left 86.9 % in 21 ms.

    Parameters
    ----------
    rows : ndarray
        At least one value, in C order.
    level : int
        0 to 9; level 0 stores the values without compression.

    Returns
    -------
    bytes
        At most ``rows.nbytes + FRAME_HEADER.size`` of them.
    """
    size = rows.dtype.itemsize
    block_bytes = min(rows.nbytes, BLOCK_BYTES)
    if level == 0 or block_bytes // size < MIN_SPLIT_VALUES:
        return bytes(blosc.compress(rows, b"zstd", level, blosc.SHUFFLE, 0, size))
    values = rows.reshape(-1).view(np.uint8).reshape(-1, size)
    blocks = []
    for first in range(0, len(values), block_bytes // size):
        streams = np.ascontiguousarray(values[first : first + block_bytes // size].T)
        # A shorter last block is always one stream.
        blocks.append(
            _encode_streams(streams if streams.nbytes == block_bytes else streams.reshape(1, -1), ZSTD_LEVELS[level])
        )
    start = FRAME_HEADER.size + _LENGTH.size * len(blocks)
    ends = np.cumsum([start, *map(len, blocks)])
    if ends[-1] >= rows.nbytes + FRAME_HEADER.size:
        return encode_frame(rows, 0)
    flags = _SHUFFLED | _OF_ZSTD
    header = FRAME_HEADER.pack(_BLOSC_VERSION, _ZSTD_VERSION, flags, size, rows.nbytes, block_bytes, int(ends[-1]))
    return b"".join([header, ends[:-1].astype("<u4").tobytes(), *blocks])


@lru_cache
def stored_header(n_bytes: int, itemsize: int) -> bytes:
    """Return the header of a frame whose values are stored without compression."""
    return encode_frame(np.zeros(n_bytes // itemsize, f"V{itemsize}"), 0)[: FRAME_HEADER.size]


def _encode_streams(streams: Iterable[NDArray[np.uint8]], level: int) -> bytes:
    """Return each stream behind its stored length; a stream that zstd makes no smaller keeps its bytes and length."""
    parts = []
    for stream in streams:
        packed = zstd.compress(stream, level)
        kept = packed if len(packed) < len(stream) else stream.tobytes()
        parts += [_LENGTH.pack(len(kept)), kept]
    return b"".join(parts)
