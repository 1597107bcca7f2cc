"""zarr-python reads arrays with other codecs, with the same results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.codec.shard import ChunkCodec
from support.ahmed import Arrays

CHUNK_POINTS, SHARD_POINTS, N_POINTS = 300, 900, 2041
LITTLE, BIG, CRC = BytesCodec(endian="little"), BytesCodec(endian="big"), Crc32cCodec()
BLOSC = BloscCodec(cname="zstd", shuffle="shuffle", typesize=4)
INNER = ShardingCodec(chunk_shape=(100, 3), codecs=[LITTLE, BLOSC, CRC])


def sharded(*codecs: Any, chunk: tuple[int, int] = (CHUNK_POINTS, 3), **settings: Any) -> dict[str, Any]:
    return {"serializer": ShardingCodec(chunk_shape=chunk, codecs=codecs, **settings)}


OURS: dict[str, dict[str, Any]] = {
    "as we write it": sharded(LITTLE, BLOSC, CRC),
    "no checksum": sharded(LITTLE, BLOSC),
    "another compressor of blosc": sharded(LITTLE, BloscCodec(cname="lz4", shuffle="bitshuffle", typesize=4)),
}
OTHERS: dict[str, dict[str, Any]] = {
    "gzip": sharded(LITTLE, GzipCodec()),
    "zstd": sharded(LITTLE, ZstdCodec(), CRC),
    "not compressed": sharded(LITTLE),
    "not compressed, checksum": sharded(LITTLE, CRC),
    "checksum before blosc": sharded(LITTLE, CRC, BLOSC),
    "two checksums": sharded(LITTLE, BLOSC, CRC, CRC),
    "two compressors": sharded(LITTLE, BLOSC, GzipCodec()),
    "transposed": sharded(TransposeCodec(order=(1, 0)), LITTLE, BLOSC),
    "big endian": sharded(BIG, BLOSC),
    "big endian index": sharded(LITTLE, BLOSC, index_codecs=[BIG, CRC]),
    "index without checksum": sharded(LITTLE, BLOSC, index_codecs=[LITTLE]),
    "index at the start": sharded(LITTLE, BLOSC, index_location="start"),
    "shards in shards": sharded(INNER),
    "a chunk for each component": sharded(LITTLE, BLOSC, chunk=(CHUNK_POINTS, 1)),
    "a shard for each component": sharded(LITTLE, BLOSC, chunk=(CHUNK_POINTS, 1)) | {"chunks": (SHARD_POINTS, 1)},
    "compressed shards": sharded(LITTLE, BLOSC) | {"compressors": GzipCodec()},
    "keys with dots": sharded(LITTLE, BLOSC) | {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "keys of Zarr 2": sharded(LITTLE, BLOSC) | {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "no shards": {"serializer": LITTLE, "compressors": [BLOSC, CRC], "chunks": (CHUNK_POINTS, 3)},
    "whole numbers": sharded(LITTLE, BLOSC) | {"dtype": "int32"},
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the manifest of a store with one field, for a sample that the caller writes later."""
    field = {"array_name": "position", "field": "surface_position", "dtype": "float32", "dim": 3}
    grid = {"n_points": N_POINTS, "chunk_points": CHUNK_POINTS, "shard_points": SHARD_POINTS, "n_chunks": 7}
    manifest = {
        "dataset_name": "elsewhere",
        "format_version": 1,
        "shuffle_seed": 0,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "compressor": "none",
        "domains": {"surface": {"position": "surface_position", "arrays": {"surface_position": field}}},
        "samples": {"run_1": {"relpath": "run_1.zarr", "domains": {"surface": grid}}},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*disables partial reads:UserWarning")
@pytest.mark.parametrize(
    ("settings", "is_ours"),
    [
        *(pytest.param(settings, True, id=name) for name, settings in OURS.items()),
        *(pytest.param(settings, False, id=name) for name, settings in OTHERS.items()),
    ],
)
def test_an_array_is_read_by_us_or_by_zarr_python_with_the_same_result(
    store: Path, run_1: Arrays, settings: dict[str, Any], is_ours: bool
) -> None:
    values = run_1["surface_position"] * 100
    group = zarr.create_group(store / "run_1.zarr")
    defaults = {"chunks": (SHARD_POINTS, 3), "dtype": "float32", "compressors": None}
    array = group.create_array("surface/position", shape=values.shape, **(defaults | settings))
    array[:] = values
    metadata = json.loads((store / "run_1.zarr/surface/position/zarr.json").read_bytes())
    assert (ChunkCodec.of_metadata(metadata) is not None) == is_ours
    reader = ZarrChunkReader(store)
    whole = reader.read_arrays("run_1")["surface_position"]
    np.testing.assert_array_equal(whole, values.astype(array.dtype).astype("f4"), strict=True)
    drawn = reader.read_arrays("run_1", {"surface": 700}, 3)["surface_position"]
    assert len(drawn) == 700
    assert {row.tobytes() for row in drawn} <= {row.tobytes() for row in whole}
