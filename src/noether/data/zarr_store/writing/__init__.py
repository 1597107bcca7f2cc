"""The work of `ZarrStoreWriter`: check samples, shuffle their rows, and encode them."""

from noether.data.zarr_store.writing.bucket_order import RANK_BYTES
from noether.data.zarr_store.writing.cast_loss import NonFinite
from noether.data.zarr_store.writing.changed_roots import root_without
from noether.data.zarr_store.writing.field_adder import FieldAdder, RowOrder, prepared_sample, read_own_manifest
from noether.data.zarr_store.writing.field_addition import SOME_POINTS, Comparison
from noether.data.zarr_store.writing.group_encoding import (
    Encoding,
    GroupArray,
    array_document,
    counted,
    encoded,
    group_metadata,
    group_objects,
    node_document,
    root_document,
)
from noether.data.zarr_store.writing.position_loss import PositionLoss
from noether.data.zarr_store.writing.position_warning import position_warning
from noether.data.zarr_store.writing.prepare import PreparedSample, memory_of_blocks
from noether.data.zarr_store.writing.settings import WriterSettings
from noether.data.zarr_store.writing.source_rows import SourceRows
from noether.data.zarr_store.writing.store_settings import StoreSettings, compression_level_of
from noether.data.zarr_store.writing.stored_rows import StoredRows
from noether.data.zarr_store.writing.validation import (
    PERMUTATION_BYTES,
    FieldValues,
    check_attributes,
    check_fields,
    fits_in_memory,
)

__all__ = [
    "PERMUTATION_BYTES",
    "RANK_BYTES",
    "SOME_POINTS",
    "Comparison",
    "Encoding",
    "FieldAdder",
    "FieldValues",
    "GroupArray",
    "NonFinite",
    "PositionLoss",
    "PreparedSample",
    "RowOrder",
    "SourceRows",
    "StoreSettings",
    "StoredRows",
    "WriterSettings",
    "array_document",
    "check_attributes",
    "check_fields",
    "compression_level_of",
    "counted",
    "encoded",
    "fits_in_memory",
    "group_metadata",
    "group_objects",
    "memory_of_blocks",
    "node_document",
    "position_warning",
    "prepared_sample",
    "read_own_manifest",
    "root_document",
    "root_without",
]
