"""Bytes of chunks and shards, encoded and decoded; the compiled module does it faster where it was built."""

from noether.data.zarr_store.codec.casting import cast_into, gather
from noether.data.zarr_store.codec.native import implementation
from noether.data.zarr_store.codec.row_order import hash_order
from noether.data.zarr_store.codec.shard import (
    MAX_RUN_CHUNKS,
    MIN_STORED_BYTES,
    MISSING,
    ChunkCodec,
    ShardIndex,
    index_size,
)

__all__ = [
    "MAX_RUN_CHUNKS",
    "MIN_STORED_BYTES",
    "MISSING",
    "ChunkCodec",
    "ShardIndex",
    "cast_into",
    "gather",
    "hash_order",
    "implementation",
    "index_size",
]
