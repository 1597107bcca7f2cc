"""Other libraries decode our shards bit for bit, and we decode theirs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.codec.shard_index import MISSING, ShardIndex, index_size
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import CorruptDataError
from support.shards import (
    Settings,
    encode_chunk,
    encode_shards,
    forge_index,
    shards_of,
    with_crc,
    with_ours,
    with_tensorstore,
    with_zarr_python,
    with_zarrs,
    write_with_ours,
    write_with_tensorstore,
    write_with_zarr_python,
    write_with_zarrs,
)

DTYPES = ("float16", "float32", "float64")
# Mostly arrays of several chunks and shards with short last ones; some have chunks that blosc splits into blocks.
SMALL = st.builds(Grid.fit, st.integers(1, 120), st.integers(1, 50), st.none() | st.integers(1, 90))
GRIDS = SMALL | st.builds(Grid.fit, st.integers(1, 20_000), st.integers(2_000, 9_000), st.none() | st.just(9_000))
SETTINGS = {
    "grid": GRIDS,
    "width": st.sampled_from([1, 3, 6]),
    "dtype": st.sampled_from(DTYPES),
    "checksum": st.booleans(),
    "level": st.integers(0, 9),
}
OURS = st.builds(Settings, **SETTINGS)
FOREIGN = st.builds(
    Settings,
    **SETTINGS,
    cname=st.sampled_from(["zstd", "lz4", "lz4hc", "zlib", "blosclz"]),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
    fill_value=st.sampled_from([0.0, 1.5, -0.0, np.nan, -np.inf]),
)
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 6e-8, 1.0])
Reader = Callable[[Path], NDArray[Any]]


def values_of(settings: Settings, kind: str, seed: int) -> NDArray[Any]:
    rng, shape = np.random.default_rng(seed), (settings.grid.n_points, settings.width)
    if kind == "any bits":
        n_bytes = settings.grid.n_points * settings.width * np.dtype(settings.dtype).itemsize
        return np.frombuffer(rng.bytes(n_bytes), settings.dtype).reshape(shape)
    if kind == "smooth":
        return np.sin(np.arange(shape[0] * shape[1]) / 9).reshape(shape).astype(settings.dtype)
    values = rng.choice(SPECIAL, shape) if kind == "special" else np.full(shape, rng.choice(SPECIAL))
    # Chunks of only the fill value, which other writers leave out.
    cuts = rng.integers(shape[0] + 1, size=2)
    values[cuts.min() : cuts.max()] = settings.fill_value
    return values.astype(settings.dtype)


KINDS = st.sampled_from(["any bits", "smooth", "special", "constant"])
SEEDS = st.integers(0, 2**32)


def assert_same_bits(given_values: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (given_values.dtype, given_values.shape) == (expected.dtype, expected.shape)
    assert given_values.tobytes() == expected.tobytes()


@given(OURS, KINDS, SEEDS)
def test_uncompressed_shards_match_zarr_python_byte_for_byte(settings: Settings, kind: str, seed: int) -> None:
    settings = replace(settings, level=0)
    values = values_of(settings, kind, seed)
    with TemporaryDirectory() as directory:
        path = Path(directory)
        write_with_zarr_python(path, values, settings, empty_chunks=True)
        expected = shards_of(path)
    assert {f"c/{i}/0": data for i, data in enumerate(encode_shards(values, settings))} == expected


@pytest.mark.parametrize("read", [with_zarr_python, with_tensorstore, with_zarrs, with_ours])
@given(OURS, KINDS, SEEDS)
def test_zarr_python_decodes_our_shards(read: Reader, settings: Settings, kind: str, seed: int) -> None:
    values = values_of(settings, kind, seed)
    with TemporaryDirectory() as directory:
        write_with_ours(Path(directory), values, settings)
        assert_same_bits(read(Path(directory)), values)


@pytest.mark.parametrize("write", [write_with_zarr_python, write_with_tensorstore, write_with_zarrs])
@given(FOREIGN, KINDS, SEEDS, st.booleans())
def test_we_decode_shards_of_zarr_python(
    write: Callable[..., None], settings: Settings, kind: str, seed: int, empty_chunks: bool
) -> None:
    values = values_of(settings, kind, seed)
    with TemporaryDirectory() as directory:
        write(Path(directory), values, settings, empty_chunks=empty_chunks)
        assert_same_bits(with_ours(Path(directory)), with_zarr_python(Path(directory)))


@given(OURS, KINDS, SEEDS)
def test_no_chunk_exceeds_max_stored_bytes(settings: Settings, kind: str, seed: int) -> None:
    values = values_of(settings, kind, seed)[: settings.grid.chunk_points]
    assert len(encode_chunk(settings.codec, values)) <= settings.codec.max_stored_bytes


def is_sound(entries: list[tuple[int, int]], n_bytes: int) -> bool:
    """Return whether an index is valid by its definition, computed with integers that cannot overflow."""
    if any((offset == MISSING) != (length == MISSING) for offset, length in entries):
        return False
    stored = sorted(entry for entry in entries if entry != (MISSING, MISSING))
    ends = [offset + length for offset, length in stored]
    return (
        all(length > 0 for _, length in stored)
        and all(end <= n_bytes for end in ends)
        and all(following >= end for (following, _), end in zip(stored[1:], ends, strict=False))
    )


NEAR = [st.integers(max(0, at - 3), min(MISSING, at + 3)) for at in (0, 100, 2**32, 2**63, MISSING)]
ENTRIES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 40)) | st.tuples(st.one_of(NEAR), st.one_of(NEAR)),
    min_size=1,
    max_size=5,
)


@given(ENTRIES, st.integers(90, 110))
def test_only_a_sound_index_is_read(entries: list[tuple[int, int]], n_bytes: int) -> None:
    data = forge_index(entries)
    if is_sound(entries, n_bytes):
        index = ShardIndex.decode(data, len(entries), n_bytes + len(data))
        expected = [(0, 0) if length == MISSING else (offset, length) for offset, length in entries]
        assert index.ranges_of(0, len(entries)) == expected
        assert index.encode() == data
    else:
        with pytest.raises(CorruptDataError):
            ShardIndex.decode(data, len(entries), n_bytes + len(data))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=9), st.integers(0, 12))
def test_index_of_lengths_has_no_gaps(lengths: list[int], capacity: int) -> None:
    data = ShardIndex.of_lengths(lengths, capacity).encode()
    n_chunks = max(capacity, len(lengths))
    assert len(data) == index_size(n_chunks)
    index = ShardIndex.decode(data, n_chunks, sum(lengths) + len(data))
    position = 0
    for chunk, length in enumerate(lengths):
        assert index.ranges_of(chunk) == [(position, length) if length else (0, 0)]
        position += length
    assert set(index.ranges_of(len(lengths), n_chunks - len(lengths))) <= {(0, 0)}


@given(st.data())
def test_any_flipped_bit_of_a_chunk_is_found(data: st.DataObject) -> None:
    settings = data.draw(st.builds(Settings, **SETTINGS | {"checksum": st.just(True)}))
    codec = settings.codec
    chunk = bytearray(encode_chunk(codec, values_of(settings, "smooth", 0)[: codec.rows]))
    at = data.draw(st.integers(0, len(chunk) - 1))
    chunk[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptDataError, match="its checksum does not match its bytes"):
        codec.decode_into(bytes(chunk), np.empty((codec.rows, codec.width), codec.dtype))


@pytest.mark.parametrize("cname", ["zstd", "lz4", "zlib", "blosclz"])
@given(st.data(), st.booleans(), st.binary(min_size=1, max_size=12))
def test_overwritten_chunk_stays_within_its_buffer(
    cname: str, data: st.DataObject, checksum: bool, junk: bytes
) -> None:
    """The chunk is decoded or refused, and nothing else is written to."""
    codec = ChunkCodec(np.dtype("<f4"), 700, 3, checksum)
    rows = np.sin(np.arange(2100, dtype="f4")).reshape(700, 3)
    chunk = bytearray(blosc.compress(rows, cname.encode(), 5, blosc.SHUFFLE, 0, 4))
    at = data.draw(st.integers(0, 40) | st.integers(0, len(chunk) - 1))
    chunk[at : at + len(junk)] = junk
    around = np.full((702, 3), 7, "<f4")
    with suppress(CorruptDataError):
        codec.decode_into(with_crc(bytes(chunk)) if checksum else bytes(chunk), around[1:-1])
    assert (around[[0, -1]] == 7).all()
