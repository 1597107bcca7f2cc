"""How `ZarrChunkReader` reads: planned rows to byte ranges, and those to arrays."""

from noether.data.zarr_store.reading.batch_layout import Allocate, place_side_by_side
from noether.data.zarr_store.reading.chunk_index import (
    ChunkIndex,
    drop_chunk_index,
    has_chunk_index,
    load_words,
    write_chunk_index,
)
from noether.data.zarr_store.reading.fetch import Fetcher
from noether.data.zarr_store.reading.open_sample import OpenSample
from noether.data.zarr_store.reading.ranges import chunk_runs, plan_ranges
from noether.data.zarr_store.reading.read_cost import ReadCost
from noether.data.zarr_store.reading.read_plans import plan_domains, wanted_fields
from noether.data.zarr_store.reading.sharded_array import IndexCache, ShardedArray
from noether.data.zarr_store.reading.tensors import RandomSource, draw_entropy, to_tensors
from noether.data.zarr_store.reading.zarr_array import read_rows_of_plan

__all__ = [
    "Allocate",
    "ChunkIndex",
    "Fetcher",
    "IndexCache",
    "OpenSample",
    "RandomSource",
    "ReadCost",
    "ShardedArray",
    "chunk_runs",
    "draw_entropy",
    "drop_chunk_index",
    "has_chunk_index",
    "load_words",
    "place_side_by_side",
    "plan_domains",
    "plan_ranges",
    "read_rows_of_plan",
    "to_tensors",
    "wanted_fields",
    "write_chunk_index",
]
