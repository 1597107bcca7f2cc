"""Decompress the blocks of an array. The size of the result is limited to the size that the array's header states."""

from __future__ import annotations

import lzma
from typing import Any, Literal

from isal import isal_zlib  # faster than Python's zlib: 1.3x to 2x on the blocks of floats and of cells
from numcodecs import lz4

__all__ = ["MOST_TIMES", "Compression", "decompress"]

Compression = Literal["zlib", "lz4", "lzma"]

MOST_TIMES: dict[Compression, int] = {"zlib": 1_032, "lz4": 255, "lzma": 1 << 14}
"""Largest ratio of the decompressed size of a block to its compressed size.

The limits of zlib and LZ4 follow from their formats. The limit of LZMA is twice the ratio that zeros reach.
"""

# Memory limit of LZMA; dictionaries of its highest level take less.
_LZMA_BYTES = 1 << 28


def decompress(data: bytes | memoryview, n_bytes: int, compression: Compression) -> bytes:
    """Decompress a block.

    Parameters
    ----------
    data : bytes-like
        The block.
    n_bytes : int
        Expected size of the result, less than 2**31.
    compression : {"zlib", "lz4", "lzma"}
        Format of the block.

    Raises
    ------
    ValueError
        The block is damaged, or does not decompress to `n_bytes`.
    """
    is_whole = True
    try:
        if compression == "lz4":
            # numcodecs expects the size of the result in front of the block.
            made = bytes(lz4.decompress(n_bytes.to_bytes(4, "little") + bytes(data)))
        else:
            stream: Any = (
                isal_zlib.decompressobj() if compression == "zlib" else lzma.LZMADecompressor(memlimit=_LZMA_BYTES)
            )
            made = stream.decompress(data, n_bytes + 1)
            is_whole = stream.eof
    except (isal_zlib.error, lzma.LZMAError, RuntimeError) as error:  # type: ignore[misc]  # its stub names an instance
        raise ValueError(f"it cannot be decompressed ({error})") from error
    if len(made) != n_bytes:
        raise ValueError(f"expected {n_bytes:,} bytes from it, got {'more' if len(made) > n_bytes else len(made)}")
    if not is_whole:
        raise ValueError("its end, with the checksum, is missing")
    return made
