"""Every blosc reads our frames, and they are smaller than its own if the low bytes are noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from noether.data.zarr_store.codec.blosc_encoding import FRAME_HEADER, encode_frame
from support.ahmed import load_run

DTYPES = st.sampled_from(["<f2", "<f4", "<f8"])
# Sizes near the minimum number of values of a block with several streams, and near whole blocks.
ROWS = st.integers(1, 400) | st.integers(40_000, 140_000)


def values_of(dtype: str, rows: int, kind: str, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return np.frombuffer(rng.bytes(rows * np.dtype(dtype).itemsize), dtype)
    return np.zeros(rows, dtype) if kind == "constant" else rng.normal(size=rows).astype(dtype)


@given(DTYPES, ROWS, st.sampled_from(["noise", "constant", "normal"]), st.integers(0, 9), st.integers(0, 2**32))
def test_blosc_decodes_our_frames_to_the_same_bits(dtype: str, rows: int, kind: str, level: int, seed: int) -> None:
    values = values_of(dtype, rows, kind, seed)
    frame = encode_frame(values, level)
    assert blosc.decompress(frame) == values.tobytes()
    assert len(frame) <= values.nbytes + FRAME_HEADER.size


@pytest.mark.parametrize("rows", [1, 2, 64, 127, 128, 129])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_small_blocks_are_decoded(dtype: str, rows: int) -> None:
    values = np.full(rows, 1.1, dtype)
    assert blosc.decompress(encode_frame(values, 1)) == values.tobytes()


def test_stream_of_unchanged_length_is_decoded() -> None:
    """zstd can compress a stream to its own length, and a reader knows only by the length if it is compressed."""
    n_equal = 0
    for n_values in range(300, 900, 50):
        noise = np.random.default_rng(n_values).integers(0, 256, n_values, np.uint8)
        for n_zeros in range(60):
            noise[:n_zeros] = 0
            n_equal += len(zstd.compress(noise, 1)) == n_values
            values = np.stack([noise, np.zeros_like(noise)], axis=1).view("<f2")
            assert blosc.decompress(encode_frame(values, 1)) == values.tobytes()
    assert n_equal > 0


@pytest.mark.parametrize("level", [1, 5])
@pytest.mark.parametrize(("field", "dtype"), [("volume_position", "<f4"), ("volume_velocity", "<f2")])
def test_simulation_points_are_smaller_than_with_blosc(field: str, dtype: str, level: int) -> None:
    rows = np.random.default_rng(0).permutation(load_run("run_1")[field])[:4096].astype(dtype)
    by_blosc = blosc.compress(rows, b"zstd", level, blosc.SHUFFLE, 0, rows.itemsize)
    assert len(encode_frame(rows, level)) < 0.97 * len(by_blosc)
