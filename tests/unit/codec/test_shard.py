"""Damaged and forged shards are refused, and unsupported codecs are left to zarr-python."""

from __future__ import annotations

import copy
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import ShardingCodec
from zarr.core.metadata.v3 import ArrayV3Metadata

from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.codec.shard_index import MISSING, ShardIndex, index_size
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import CorruptDataError
from support.effort import in_full_mode
from support.guarded import run_fuzzer
from support.shards import Metadata, Settings, encode_chunk, forge_header, forge_index, with_crc

N_BYTES = 1000  # of the chunks, before the index
TOP = 1 << 64
SOUND = [(0, 400), (400, 600)]
ROWS = np.arange(300, dtype="<f4").reshape(100, 3)
CODEC = ChunkCodec(ROWS.dtype, 100, 3, checksum=False)
CHUNK = encode_chunk(CODEC, ROWS)
CHECKED = ChunkCodec(ROWS.dtype, 100, 3, checksum=True)
PAST_END = r"^its index points past the end of its chunks at byte 1,000$"
# Number of chunks that are damaged at random.
N_DAMAGED = 12_000 if in_full_mode() else 3_000


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([(0, 400), (1001, 5)], PAST_END, id="offset past the end"),
        pytest.param([(0, 400), (TOP - 2, 1)], PAST_END, id="offset near the largest number"),
        pytest.param([(0, 400), (400, 601)], PAST_END, id="length past the end, into the index"),
        pytest.param([(0, 400), (400, 1 << 40)], PAST_END, id="length of a terabyte"),
        pytest.param([(0, 400), (500, TOP - 100)], PAST_END, id="end that overflows to 400"),
        pytest.param([(1 << 63, 1 << 63), (0, 400)], PAST_END, id="end that overflows to 0"),
        pytest.param([(0, 400), (399, 10)], "overlap", id="overlap by one byte"),
        pytest.param([(400, 600), (0, 401)], "overlap", id="overlap in reverse order"),
        pytest.param([(0, 400), (0, 400)], "overlap", id="one range for two chunks"),
        pytest.param([(0, 1000), (400, 10)], "overlap", id="chunk inside another"),
        pytest.param(
            [(0, 400), (400, MISSING)], "with only an offset, or with only a length", id="offset without length"
        ),
        pytest.param(
            [(0, 400), (MISSING, 600)], "with only an offset, or with only a length", id="length without offset"
        ),
        pytest.param([(0, 400), (400, 0)], "with only an offset, or with only a length", id="no bytes"),
    ],
)
def test_forged_index_is_refused(entries: list[tuple[int, int]], expected: str) -> None:
    data = forge_index(entries)
    with pytest.raises(CorruptDataError, match=expected):
        ShardIndex.decode(data, 2, N_BYTES + len(data))


@pytest.mark.parametrize(
    ("data", "shard_size", "expected"),
    [
        pytest.param(forge_index(SOUND)[1:], 1036, "expected an index of 36 bytes, got 35", id="first byte lost"),
        pytest.param(forge_index([*SOUND, SOUND[0]]), 1052, "of 36 bytes, got 52", id="chunk more"),
        pytest.param(b"", 0, "of 36 bytes, got 0", id="empty"),
        pytest.param(forge_index(SOUND), 35, "ends early", id="shard smaller than its index"),
        pytest.param(forge_index(SOUND)[:-4] + b"\0\0\0\0", 1036, "checksum of its index does not", id="checksum"),
    ],
)
def test_damaged_index_is_refused(data: bytes, shard_size: int, expected: str) -> None:
    with pytest.raises(CorruptDataError, match=expected):
        ShardIndex.decode(data, 2, shard_size)


def test_index_has_offsets_lengths_and_crc32c() -> None:
    data = ShardIndex.of_lengths([7, 0, 5], capacity=4).encode()
    expected = struct.pack("<8Q", 0, 7, MISSING, MISSING, 7, 5, MISSING, MISSING)
    assert data == with_crc(expected)
    assert len(data) == index_size(4)


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        pytest.param(b"", "expected at least 16 bytes for its header, got 0", id="no bytes"),
        pytest.param(CHUNK[:15], "expected at least 16 bytes for its header, got 15", id="less than a header"),
        pytest.param(CHUNK[:16], "compressed bytes, got 16", id="header alone"),
        pytest.param(CHUNK[:-1], "compressed bytes, got", id="last byte lost"),
        pytest.param(CHUNK + b"\0", "compressed bytes, got", id="byte more"),
        pytest.param(
            forge_header(CHUNK, nbytes=0), "claims 0 bytes, expected 1,200 from the grid", id="claims no bytes"
        ),
        pytest.param(
            forge_header(CHUNK, nbytes=1199), "claims 1,199 bytes, expected 1,200 from the grid", id="claims less"
        ),
        pytest.param(
            forge_header(CHUNK, nbytes=2400), "claims 2,400 bytes, expected 1,200 from the grid", id="claims more"
        ),
        pytest.param(forge_header(CHUNK, nbytes=2**32 - 1), "claims 4,294,967,295 bytes", id="claims 4 GiB"),
        pytest.param(forge_header(CHUNK, cbytes=0), "claims 0 compressed bytes", id="claims nothing compressed"),
        pytest.param(forge_header(CHUNK, cbytes=2**32 - 1), "claims 4,294,967,295 compressed", id="compressed 4 GiB"),
        pytest.param(forge_header(CHUNK, version=3), "cannot be decompressed", id="unknown version"),
        pytest.param(forge_header(CHUNK, flags=0x61), "cannot be decompressed", id="another compressor"),
        pytest.param(forge_header(CHUNK, blocksize=0), "cannot be decompressed", id="blocks of no bytes"),
        pytest.param(forge_header(CHUNK, blocksize=2**31), "cannot be decompressed", id="blocks of 2 GiB"),
        pytest.param(CHUNK[:16] + b"\xff" * (len(CHUNK) - 16), "cannot be decompressed", id="junk after the header"),
    ],
)
@pytest.mark.parametrize("checksum", [False, True], ids=["no checksum", "right checksum"])
def test_forged_chunk_is_refused(chunk: bytes, expected: str, checksum: bool) -> None:
    codec, data = (CHECKED, with_crc(chunk)) if checksum else (CODEC, chunk)
    with pytest.raises(CorruptDataError, match=expected):
        codec.decode_into(data, np.empty_like(ROWS))


@pytest.mark.parametrize("n_bytes", range(5))
def test_a_chunk_with_less_than_a_checksum_is_refused(n_bytes: int) -> None:
    with pytest.raises(CorruptDataError, match=r"its checksum does not match|16 bytes for its header, got 0"):
        CHECKED.decode_into(b"\1" * n_bytes, np.empty_like(ROWS))


def test_wrong_checksum_is_ignored_without_verify() -> None:
    """A chunk with a wrong checksum decodes with ``verify=False``."""
    data, out = CHUNK + b"\0\0\0\0", np.empty_like(ROWS)
    with pytest.raises(CorruptDataError, match="checksum"):
        CHECKED.decode_into(data, out)
    CHECKED.decode_into(data, out, verify=False)
    np.testing.assert_array_equal(out, ROWS)


def test_a_short_chunk_is_padded_with_the_fill_value() -> None:
    codec = ChunkCodec(ROWS.dtype, 100, 3, fill_value=-2.5)
    out = np.empty_like(ROWS)
    codec.decode_into(encode_chunk(codec, ROWS[:4]), out)
    np.testing.assert_array_equal(out, np.concatenate([ROWS[:4], np.full((96, 3), -2.5)]))


@pytest.mark.parametrize("seed", [1, 2] if in_full_mode() else [1])
def test_damaged_chunks_stay_within_their_buffers(seed: int) -> None:
    """Decoding them does not crash, and takes no more memory than decoding intact chunks."""
    decoded, refused = run_fuzzer("support.fuzz_chunks", seed, N_DAMAGED)
    assert min(decoded, refused) > N_DAMAGED // 12
    assert decoded + refused == N_DAMAGED


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Metadata:
    path = tmp_path_factory.mktemp("array")
    Settings(Grid(50, 8, 16)).create(path)
    document: Metadata = json.loads((path / "zarr.json").read_bytes())
    return document


def nodes_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a JSON document, except of the document itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *nodes_of(item, (*path, key))]]


def replaced(document: Metadata, path: tuple[Any, ...], value: Any) -> Metadata:
    changed = copy.deepcopy(document)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, 1, 3, 8, 16, -8, 8.0, 2**62, 10**400, float("nan"), -0.5),
        *("", "8", "NaN", "0x7fc0", "float16", "float64", "int32", "big", "start", "end", ".", "/", "v2"),
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "configuration"]), inner),
)


@given(st.data())
def test_fuzzed_metadata_is_never_read_as_another_array(metadata: Metadata, data: st.DataObject) -> None:
    """If this library accepts the metadata, zarr-python refuses them or reads the same array."""
    document = replaced(metadata, data.draw(st.sampled_from(nodes_of(metadata))), data.draw(JSON))
    codec = ChunkCodec.of_metadata(document)
    if codec is None:
        return
    assert type(codec.rows) is type(codec.width) is int
    assert min(codec.rows, codec.width) > 0
    try:
        judged = ArrayV3Metadata.from_dict(document)
    except (ValueError, TypeError, KeyError):
        return
    (sharding,) = judged.codecs
    assert isinstance(sharding, ShardingCodec)
    assert sharding.chunk_shape == (codec.rows, codec.width)
    assert judged.dtype.to_native_dtype() == codec.dtype
    np.testing.assert_equal(float(np.asarray(judged.fill_value)), np.float32(codec.fill_value))


@pytest.mark.parametrize("kept", ["codecs", "shape", "data_type", "fill_value", "chunk_grid", "chunk_key_encoding"])
def test_metadata_without_a_key_has_no_codec(metadata: Metadata, kept: str) -> None:
    """zarr-python then reads the array."""
    assert ChunkCodec.of_metadata(metadata) == ChunkCodec(np.dtype("<f4"), 8, 3)
    assert ChunkCodec.of_metadata({key: value for key, value in metadata.items() if key != kept}) is None


GRID, INNER = ("chunk_grid", "configuration", "chunk_shape"), ("codecs", 0, "configuration")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("chunk_grid", "name"), "rectangular", id="another grid"),
        pytest.param((*GRID, 0), 20, id="shards of a part of a chunk"),
        pytest.param((*GRID, 0), 1 << 62, id="shards larger than any array"),
        *(pytest.param((*GRID, 0), value, id=f"shards of {value!r}") for value in (0, -16, 16.0, "16", None)),
        *(pytest.param((*INNER, "chunk_shape", 0), value, id=f"chunks of {value!r}") for value in (0, -8, 8.0, True)),
        pytest.param((*INNER, "codecs", 0, "configuration"), None, id="no configuration"),
        pytest.param(("chunk_key_encoding", "configuration"), None, id="no separator"),
        pytest.param(("storage_transformers",), [{"name": "encrypted"}], id="a storage transformer"),
        pytest.param(("fill_value",), 10**400, id="a fill value beyond all floats"),
        pytest.param(("fill_value",), "0x7fc00001", id="a fill value given by its bits"),
    ],
)
def test_unsupported_metadata_has_no_codec(metadata: Metadata, path: tuple[Any, ...], value: Any) -> None:
    """zarr-python then reads the array."""
    assert ChunkCodec.of_metadata(replaced(metadata, path, value)) is None
