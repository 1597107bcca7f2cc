"""Encoding and decoding of chunks and shards; the optional compiled module makes it faster."""

from noether.data.zarr_store.codec.casting import cast_into, gather, measure_loss
from noether.data.zarr_store.codec.content_checksum import ContentChecksum
from noether.data.zarr_store.codec.native import implementation
from noether.data.zarr_store.codec.row_order import HashKey, hash_buckets, hash_order, hash_order_of
from noether.data.zarr_store.codec.scattering import MAX_BUCKETS, scatter
from noether.data.zarr_store.codec.shard import MAX_RUN_CHUNKS, MIN_STORED_BYTES, ChunkCodec
from noether.data.zarr_store.codec.shard_index import MISSING, ShardIndex, index_size
from noether.data.zarr_store.codec.tally import Tally, new_tally

__all__ = [
    "MAX_BUCKETS",
    "MAX_RUN_CHUNKS",
    "MIN_STORED_BYTES",
    "MISSING",
    "ChunkCodec",
    "ContentChecksum",
    "HashKey",
    "ShardIndex",
    "Tally",
    "cast_into",
    "gather",
    "hash_buckets",
    "hash_order",
    "hash_order_of",
    "implementation",
    "index_size",
    "measure_loss",
    "new_tally",
    "scatter",
]
