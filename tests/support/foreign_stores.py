"""Stores of another program: a manifest with only the required keys, and groups by zarr-python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec

from support.manifests import minimal

__all__ = ["CODECS", "write_foreign"]

LITTLE, CRC = BytesCodec(endian="little"), Crc32cCodec()
BLOSC = BloscCodec(cname="zstd", shuffle="shuffle", typesize=4)
CODECS: dict[str, dict[str, Any]] = {
    "as we write it": {"serializer": ShardingCodec(chunk_shape=(512, 3), codecs=[LITTLE, BLOSC, CRC])},
    "no checksums": {"serializer": ShardingCodec(chunk_shape=(512, 3), codecs=[LITTLE, BLOSC])},
    "other codecs": {
        "serializer": ShardingCodec(chunk_shape=(512, 3), codecs=[TransposeCodec(order=(1, 0)), LITTLE, GzipCodec()])
    },
    "no shards": {"serializer": LITTLE, "compressors": [BLOSC, CRC], "chunks": (512, 3)},
}


def write_foreign(root: Path, codecs: dict[str, Any], *, consolidated: bool = False, holes: bool = False) -> Path:
    """Write a store whose manifest has only the required keys, and whose group comes from zarr-python."""
    rng = np.random.default_rng(0)
    root.mkdir()
    (root / "manifest.json").write_text(json.dumps(minimal()))
    group = zarr.create_group(root / "run_1.zarr")
    for name, width, dtype in (("position", 3, "f4"), ("pressure", 1, "f2")):
        serializer: dict[str, Any] = dict(codecs)
        if width == 1 and isinstance(codecs["serializer"], ShardingCodec):
            inner = codecs["serializer"].codecs
            serializer["serializer"] = ShardingCodec(chunk_shape=(512, 1), codecs=inner)
        if width == 1 and "chunks" in codecs:
            serializer["chunks"] = (512, 1)
        defaults = {"chunks": (1024, width), "dtype": dtype, "compressors": None}
        array = group.create_array(f"surface/{name}", shape=(2041, width), **(defaults | serializer))
        array[: 1024 if holes else 2041] = rng.random((1024 if holes else 2041, width))
    if consolidated:
        zarr.consolidate_metadata(root / "run_1.zarr")
    return root
