"""How `ZarrStoreWriter` writes: samples checked, put in stored order, encoded."""

from noether.data.zarr_store.writing.cast_loss import NonFinite
from noether.data.zarr_store.writing.group_encoding import (
    Encoding,
    GroupArray,
    array_document,
    counted,
    default_threads,
    encoded,
    group_metadata,
    group_objects,
    node_document,
    root_document,
)
from noether.data.zarr_store.writing.prepare import IntakeSettings, SampleIntake
from noether.data.zarr_store.writing.reorder import SourceRows, StoredRows
from noether.data.zarr_store.writing.validation import FieldValues, check_attributes, check_fields

__all__ = [
    "Encoding",
    "FieldValues",
    "GroupArray",
    "IntakeSettings",
    "NonFinite",
    "SampleIntake",
    "SourceRows",
    "StoredRows",
    "array_document",
    "check_attributes",
    "check_fields",
    "counted",
    "default_threads",
    "encoded",
    "group_metadata",
    "group_objects",
    "node_document",
    "root_document",
]
