"""Encoding of rows as neighbouring chunks. Pure: values in, bytes out."""

from __future__ import annotations

from functools import partial
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.blosc_encoding import (
    BLOCK_BYTES,
    MIN_SPLIT_VALUES,
    ZSTD_LEVELS,
    encode_frame,
    stored_header,
)
from noether.data.zarr_store.codec.casting import gather, is_cast_natively

__all__ = ["crc_bytes", "encode_chunks"]


def encode_chunks(
    values: NDArray[Any],
    order: NDArray[np.int64] | None,
    dtype: np.dtype[Any],
    chunk_rows: int,
    *,
    level: int,
    checksum: bool,
) -> tuple[bytes, list[int]]:
    """Gather rows, cast them, and encode them as neighbouring chunks.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        Any integer or floating dtype.
    order : ndarray of int64, shape (n,), or None
        Row ``i`` of the chunks is row ``order[i]`` of `values`; None keeps the order. The rows must fill whole chunks,
        at most `MAX_RUN_CHUNKS` of them.
    dtype : numpy.dtype
        Stored dtype: floating, little endian. A value beyond its range becomes infinite.
    chunk_rows : int
        Number of rows of a chunk.
    level : int
        Compression level, 0 to 9; see `encode_frame`.
    checksum : bool
        Whether to append the crc32c of each frame to it.

    Returns
    -------
    bytes
        The concatenated chunks.
    list of int
        Number of bytes of each chunk.

    Warns
    -----
    RuntimeWarning
        The compiled module is missing (once per process).
    """
    width = values.shape[1]
    if native.encode is None:
        native.warn_of_slow_path()
    elif chunk_rows * width >= MIN_SPLIT_VALUES:
        n_bytes = chunk_rows * width * dtype.itemsize
        encode = partial(
            native.encode,
            chunk_rows=chunk_rows,
            width=width,
            itemsize=dtype.itemsize,
            block_bytes=min(n_bytes, BLOCK_BYTES),
            level=ZSTD_LEVELS[level],
            checksum=checksum,
            stored_header=stored_header(n_bytes, dtype.itemsize),
        )
        if is_cast_natively(values, dtype):
            data, lengths = encode(values, order, narrow=values.dtype != dtype)
            if lengths:
                return data, lengths
        # NumPy does all other casts, and all casts of NaN.
        return encode(gather(values, order, dtype), None, narrow=False)
    rows = gather(values, order, dtype)
    frames = [encode_frame(rows[first : first + chunk_rows], level) for first in range(0, len(rows), chunk_rows)]
    chunks = [frame + crc_bytes(frame) for frame in frames] if checksum else frames
    return b"".join(chunks), [len(chunk) for chunk in chunks]


def crc_bytes(data: bytes) -> bytes:
    """Return the crc32c of bytes as four bytes, little endian."""
    return int(google_crc32c.value(data)).to_bytes(4, "little")
