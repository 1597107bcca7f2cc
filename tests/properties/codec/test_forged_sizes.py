"""Chunks with a wrong size: the compiled decoder agrees with a simple decoder in Python."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from noether.data.zarr_store.codec.blosc_encoding import FRAME_HEADER, encode_frame
from noether.data.zarr_store.codec.shard import ChunkCodec

pytestmark = pytest.mark.usefixtures("compiled")

SIZE = struct.Struct("<I")
STORED, NOT_SPLIT = 0x2, 0x10


def streams_of(flags: int, itemsize: int, n_bytes: int, block_bytes: int) -> list[list[int]]:
    """Return the number of bytes of each stream of each block, before compression."""
    sizes = [min(block_bytes, n_bytes - first) for first in range(0, n_bytes, block_bytes)]
    may_split = not flags & NOT_SPLIT and block_bytes // itemsize >= 128
    return [[size // itemsize] * itemsize if may_split and size == block_bytes else [size] for size in sizes]


def decode_plainly(frame: bytes, wanted_bytes: int) -> bytes | None:
    """Decode a frame as its format is defined, by slices that end where the frame ends; None if a size is wrong."""
    *_, flags, itemsize, n_bytes, block_bytes, n_compressed = FRAME_HEADER.unpack_from(frame)
    if (n_bytes, n_compressed) != (wanted_bytes, len(frame)) or not 0 < block_bytes <= n_bytes:
        return None
    if flags & STORED:
        return frame[FRAME_HEADER.size :] if len(frame) == FRAME_HEADER.size + n_bytes else None
    if block_bytes % itemsize:
        return None
    blocks = []
    try:
        for i, sizes in enumerate(streams_of(flags, itemsize, n_bytes, block_bytes)):
            (at,) = SIZE.unpack_from(frame, FRAME_HEADER.size + SIZE.size * i)
            planes = []
            for size in sizes:
                (length,) = SIZE.unpack_from(frame, at)
                at += SIZE.size
                stream = frame[at : at + length]
                at += length
                planes.append(stream if length == size else zstd.decompress(stream))
                if len(stream) != length or len(planes[-1]) != size:
                    return None
            blocks.append(np.frombuffer(b"".join(planes), np.uint8).reshape(itemsize, -1).T.tobytes())
    except (struct.error, RuntimeError, ValueError):
        return None
    return b"".join(blocks)


def places_of_sizes(frame: bytes) -> list[int]:
    """Return the offsets of all sizes in an intact frame: in its header, its block table, and before each stream."""
    *_, flags, itemsize, n_bytes, block_bytes, _ = FRAME_HEADER.unpack_from(frame)
    places = [4, 8, 12]
    if not flags & STORED:
        for i, sizes in enumerate(streams_of(flags, itemsize, n_bytes, block_bytes)):
            places.append(FRAME_HEADER.size + SIZE.size * i)
            (at,) = SIZE.unpack_from(frame, places[-1])
            for _ in sizes:
                places.append(at)
                at += SIZE.size + SIZE.unpack_from(frame, at)[0]
    return places


def frame_of(rows: NDArray[Any], encoder: str) -> bytes:
    if encoder == "streams":
        return encode_frame(rows, 1)
    block_bytes = {"one block": 0, "small blocks": 1024}[encoder]
    return bytes(blosc.compress(rows, b"zstd", 1, blosc.SHUFFLE, block_bytes, rows.itemsize))


def rows_of(dtype: np.dtype[Any], n_rows: int, kind: str) -> NDArray[Any]:
    n_bytes = n_rows * dtype.itemsize
    if kind == "noise":
        return np.frombuffer(np.random.default_rng(0).bytes(n_bytes), dtype)
    steps = np.arange(n_bytes) // 7 if kind == "steps" else np.zeros(n_bytes)
    return steps.astype(np.uint8).view(dtype)


@given(
    st.sampled_from(["<f2", "<f4", "<f8"]).map(np.dtype),
    st.integers(1, 700),
    st.sampled_from(["streams", "one block", "small blocks"]),
    st.sampled_from(["noise", "steps", "constant"]),
    st.data(),
)
def test_chunk_is_decoded_only_if_all_sizes_fit(
    dtype: np.dtype[Any], n_rows: int, encoder: str, kind: str, data: st.DataObject
) -> None:
    """The chunks are truncated, or one of their sizes is wrong.

    The buffers have the exact size of the chunk, so that a sanitizer sees a read behind its end.
    """
    rows = rows_of(dtype, n_rows, kind)
    forged = bytearray(frame_of(rows, encoder))
    at = data.draw(st.sampled_from(places_of_sizes(bytes(forged))))
    n_cut = data.draw(st.integers(0, min(9, len(forged) - FRAME_HEADER.size)))
    del forged[len(forged) - n_cut :]
    SIZE.pack_into(forged, FRAME_HEADER.size - SIZE.size, len(forged))
    if at + SIZE.size <= len(forged):
        (size,) = SIZE.unpack_from(forged, at)
        near = st.sampled_from([size, len(forged), len(forged) - at, rows.nbytes])
        others = near.flatmap(lambda size: st.integers(size - 9, size + 9)) | st.just(-1)
        SIZE.pack_into(forged, at, data.draw(st.just(size) | others) % (1 << 32))
    chunk = np.frombuffer(forged, np.uint8).copy()
    expected = decode_plainly(chunk.tobytes(), rows.nbytes)
    codec, out = ChunkCodec(dtype, n_rows, 1, checksum=False), np.empty((n_rows, 1), dtype)
    assert codec.decode_run(chunk.data, [0, len(chunk)], out) == (expected is not None)
    assert expected in (None, out.tobytes())
