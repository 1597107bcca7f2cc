"""Rows that are taken from chunks, in memory or in a file, equal the rows of the whole chunks."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec.shard import ChunkCodec
from support.shards import encode_chunk, with_crc

pytestmark = pytest.mark.usefixtures("compiled")

CODECS = st.builds(
    ChunkCodec,
    st.sampled_from(["<f2", "<f4", "<f8"]).map(np.dtype),
    st.integers(1, 60) | st.integers(2_000, 50_000),  # of one block and of several
    st.sampled_from([1, 3, 5]),
    st.booleans(),
    level=st.integers(0, 9),
)


def rows_of(codec: ChunkCodec, seed: int) -> NDArray[Any]:
    steps = np.arange(codec.rows * codec.width).reshape(codec.rows, codec.width)
    return (np.sin(steps / 99) * (1 + seed)).astype(codec.dtype)


def encode(codec: ChunkCodec, rows: NDArray[Any], *, small_blocks: bool) -> bytes:
    if not small_blocks:
        return encode_chunk(codec, rows)
    frame = bytes(blosc.compress(rows, b"zstd", 1, blosc.SHUFFLE, 1024, rows.itemsize))
    return with_crc(frame) if codec.checksum else frame


@st.composite
def ranges_of(draw: st.DrawFn, n_rows: int) -> tuple[tuple[int, int], ...]:
    """Half-open, ascending ranges, which can be adjacent; or no range."""
    bounds = sorted(draw(st.lists(st.integers(0, n_rows), max_size=6)))
    return tuple((first, stop) for first, stop in pairwise(bounds) if first < stop)


@given(CODECS, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_taken_rows_match_the_whole_chunks(
    codec: ChunkCodec, n_chunks: int, small_blocks: bool, widens: bool, from_file: bool, data: st.DataObject
) -> None:
    """The other rows of the output stay. The chunks are at any offset in the file."""
    values = [rows_of(codec, i) for i in range(n_chunks)]
    chunks = [encode(codec, rows, small_blocks=small_blocks) for rows in values]
    bounds = np.cumsum([0, *map(len, chunks)]).tolist()
    taken = [data.draw(ranges_of(codec.rows)) for _ in chunks]
    dtype = np.dtype("<f4") if widens and codec.dtype == np.float16 else codec.dtype
    parts = [rows[first:stop] for rows, ranges in zip(values, taken, strict=True) for first, stop in ranges]
    expected = np.concatenate([np.full((2, codec.width), 7), *parts, np.full((1, codec.width), 7)]).astype(dtype)
    out = np.full_like(expected, 7)
    if from_file:
        start = data.draw(st.integers(0, 5000))
        with tempfile.TemporaryFile() as file:
            file.write(b"\0" * start + b"".join(chunks))
            file.flush()
            done = codec.read_run(file.fileno(), start, bounds, out, rows=taken, first_row=2)
    else:
        done = codec.decode_run(b"".join(chunks), bounds, out, rows=taken, first_row=2)
    assert done == n_chunks
    assert out.tobytes() == expected.tobytes()


@given(st.integers(0, 3), st.integers(0, 2**32), st.data())
def test_a_run_in_a_file_ends_before_a_chunk_whose_checksum_does_not_match(
    damaged: int, seed: int, data: st.DataObject
) -> None:
    """The damage can be in rows that are not taken."""
    codec = ChunkCodec(np.dtype("<f4"), 500, 3)
    values = [rows_of(codec, i) for i in range(4)]
    encoded = [bytearray(encode_chunk(codec, rows)) for rows in values]
    at = data.draw(st.integers(0, len(encoded[damaged]) - 1))
    encoded[damaged][at] ^= 1 << seed % 8
    bounds = np.cumsum([0, *map(len, encoded)]).tolist()
    out = np.full((40, 3), 7, "<f4")
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(encoded))
        file.flush()
        assert codec.read_run(file.fileno(), 0, bounds, out, rows=[((5, 15),)] * 4) == damaged
    expected = np.concatenate([rows[5:15] for rows in values[:damaged]] or [out[:0]])
    np.testing.assert_array_equal(out[: 10 * damaged], expected)
