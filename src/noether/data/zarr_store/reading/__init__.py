"""The implementation of `ZarrChunkReader`: it turns planned rows into byte ranges, and bytes into arrays."""

from noether.data.zarr_store.reading.batch_layout import Allocate, place_side_by_side
from noether.data.zarr_store.reading.chunk_index import ChunkIndex, has_whole_index, load_words
from noether.data.zarr_store.reading.fetch import Fetcher, flat_if_scalar
from noether.data.zarr_store.reading.field_joining import change_fields, join_fields, record_added_fields
from noether.data.zarr_store.reading.index_making import drop_chunk_index, write_chunk_index
from noether.data.zarr_store.reading.index_naming import update_with_index
from noether.data.zarr_store.reading.index_subset import write_index_without
from noether.data.zarr_store.reading.io_meter import IO_NUMBERS, IoRow, IoStatistics
from noether.data.zarr_store.reading.iteration import SampleBatch, iter_batches, plan_batches
from noether.data.zarr_store.reading.open_sample import OpenSample
from noether.data.zarr_store.reading.original_order import require_original_order, require_whole_domains, shuffle_of
from noether.data.zarr_store.reading.read_cost import ReadCost
from noether.data.zarr_store.reading.read_plans import fields_by_domain, plan_reads
from noether.data.zarr_store.reading.readable import ReadableArray
from noether.data.zarr_store.reading.result_dtypes import ResultDtype, ResultDtypes
from noether.data.zarr_store.reading.sharded_array import ShardAccess, ShardedArray
from noether.data.zarr_store.reading.stored_rows import iter_stored_rows
from noether.data.zarr_store.reading.tensors import RandomSource, draw_entropy, global_generator, to_tensors

__all__ = [
    "IO_NUMBERS",
    "Allocate",
    "ChunkIndex",
    "Fetcher",
    "IoRow",
    "IoStatistics",
    "OpenSample",
    "RandomSource",
    "ReadCost",
    "ReadableArray",
    "ResultDtype",
    "ResultDtypes",
    "SampleBatch",
    "ShardAccess",
    "ShardedArray",
    "change_fields",
    "draw_entropy",
    "drop_chunk_index",
    "fields_by_domain",
    "flat_if_scalar",
    "global_generator",
    "has_whole_index",
    "iter_batches",
    "iter_stored_rows",
    "join_fields",
    "load_words",
    "place_side_by_side",
    "plan_batches",
    "plan_reads",
    "record_added_fields",
    "require_original_order",
    "require_whole_domains",
    "shuffle_of",
    "to_tensors",
    "update_with_index",
    "write_chunk_index",
    "write_index_without",
]
