"""Chunks decode to the same values as a run and alone; a run stops at the first damaged chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.codec.shard import MAX_RUN_CHUNKS, ChunkCodec
from support.reading import write_runs
from support.shards import encode_chunk

CODECS = st.builds(
    ChunkCodec,
    st.sampled_from(["<f2", "<f4", "<f8"]).map(np.dtype),
    st.integers(1, 60) | st.integers(2_000, 9_000),
    st.sampled_from([1, 3, 5]),
    st.booleans(),
    level=st.integers(0, 9),
)
KINDS = st.sampled_from(["any bits", "smooth", "constant"])


pytestmark = pytest.mark.usefixtures("compiled")


def rows_of(codec: ChunkCodec, kind: str, seed: int) -> NDArray[Any]:
    rng, shape = np.random.default_rng(seed), (codec.rows, codec.width)
    if kind == "any bits":  # blosc stores what it makes no smaller
        return np.frombuffer(rng.bytes(codec.n_bytes), codec.dtype).reshape(shape)
    steps = np.zeros(shape) if kind == "constant" else np.arange(codec.rows * codec.width).reshape(shape)
    return (np.sin(steps / 99) * rng.normal()).astype(codec.dtype)


def run_of(codec: ChunkCodec, kinds: list[str], seed: int) -> tuple[NDArray[Any], bytes, list[int]]:
    rows = [rows_of(codec, kind, seed + i) for i, kind in enumerate(kinds)]
    chunks = [encode_chunk(codec, chunk) for chunk in rows]
    return np.concatenate(rows), b"".join(chunks), np.cumsum([0, *map(len, chunks)]).tolist()


@given(CODECS, st.lists(KINDS, min_size=1, max_size=5), st.integers(0, 2**32), st.booleans())
def test_encoded_run_decodes_to_the_same_bits(codec: ChunkCodec, kinds: list[str], seed: int, verify: bool) -> None:
    rows, data, bounds = run_of(codec, kinds, seed)
    out = np.empty_like(rows)
    assert codec.decode_run(data, bounds, out, verify=verify) == len(kinds)
    assert out.tobytes() == rows.tobytes()


@given(CODECS.filter(lambda codec: codec.checksum), st.integers(0, 3), st.integers(0, 2**32), st.data())
def test_a_run_ends_before_a_chunk_whose_checksum_does_not_match(
    codec: ChunkCodec, damaged: int, seed: int, data: st.DataObject
) -> None:
    rows, encoded, bounds = run_of(codec, ["smooth"] * 4, seed)
    broken = bytearray(encoded)
    broken[data.draw(st.integers(bounds[damaged], bounds[damaged + 1] - 1))] ^= 1 << data.draw(st.integers(0, 7))
    out = np.empty_like(rows)
    assert codec.decode_run(bytes(broken), bounds, out) == damaged
    assert out[: damaged * codec.rows].tobytes() == rows[: damaged * codec.rows].tobytes()


@pytest.mark.parametrize("repeats", [1, 8], ids=["as blosc stores them", "compressed and shuffled"])
@pytest.mark.parametrize("rows", [1 << 16, (1 << 16) - 3], ids=["whole vectors", "with a tail"])
def test_every_float16_becomes_the_float32_of_its_value(repeats: int, rows: int) -> None:
    every = np.tile(np.arange(rows, dtype=np.uint16).view(np.float16), repeats)[:, None]
    shuffled = np.random.default_rng(0).permutation(every) if repeats == 1 else every
    codec = ChunkCodec(np.dtype("<f2"), len(every), 1)
    data = encode_chunk(codec, shuffled)
    assert (len(data) > codec.n_bytes) == (repeats == 1)
    out = np.empty(every.shape, np.float32)
    assert codec.decode_run(data, [0, len(data)], out) == 1
    with np.errstate(invalid="ignore"):
        expected = shuffled.astype(np.float32)
    np.testing.assert_array_equal(out, expected)
    assert np.array_equal(np.signbit(out), np.signbit(expected))


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param([0, 10**9], id="an end beyond the data"),
        pytest.param([5, 0], id="an end before its start"),
        pytest.param([0], id="no chunk"),
        pytest.param([0, 1, 2, 3], id="room for no whole number of chunks"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(bounds: list[int]) -> None:
    codec = ChunkCodec(np.dtype("<f4"), 4, 1)
    with pytest.raises(ValueError, match=r"^(bounds|out): expected "):
        codec.decode_run(encode_chunk(codec, np.zeros((4, 1), "<f4")), bounds, np.empty((4, 1), "<f4"))


def test_run_has_at_most_max_run_chunks() -> None:
    codec = ChunkCodec(np.dtype("<f4"), 1, 1)
    chunk = encode_chunk(codec, np.ones((1, 1), "<f4"))
    bounds = np.arange(MAX_RUN_CHUNKS + 2) * len(chunk)
    data, out = chunk * (MAX_RUN_CHUNKS + 1), np.zeros((MAX_RUN_CHUNKS + 1, 1), "<f4")
    assert codec.decode_run(data, bounds[:-1].tolist(), out[:-1]) == MAX_RUN_CHUNKS
    assert (out[:-1] == 1).all()
    with pytest.raises(ValueError, match=r"^bounds: expected 2 to 4097 offsets, got 4098$"):
        codec.decode_run(data, bounds.tolist(), out)


@pytest.mark.parametrize("n_points", [None, 700, 1_024], ids=["whole", "with a part of a chunk", "whole chunks"])
def test_sample_reads_the_same_without_the_compiled_decoder(
    n_points: int | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256, shard_points=1_024)
    counts = {"surface": n_points, "volume": n_points}
    compiled = ZarrChunkReader(root).read_arrays("run_1", counts, 3)
    request.getfixturevalue("python_only")
    plain = ZarrChunkReader(root).read_arrays("run_1", counts, 3)
    assert {field: rows.tobytes() for field, rows in compiled.items()} == {
        field: rows.tobytes() for field, rows in plain.items()
    }
