"""Upkeep of stores: verify, repair, merge, remove, set attributes, copy, cache and summarize."""

from noether.data.zarr_store.upkeep.attribute_table import read_attribute_table
from noether.data.zarr_store.upkeep.attributes import set_attributes
from noether.data.zarr_store.upkeep.copying import copy_store
from noether.data.zarr_store.upkeep.merge import merge_groups
from noether.data.zarr_store.upkeep.near_cache import CachedStore, FilledCache, clear_cache, fill_cache, show_cache
from noether.data.zarr_store.upkeep.remove import RemovedGroup, remove_samples
from noether.data.zarr_store.upkeep.remove_fields import RemovedField, remove_fields
from noether.data.zarr_store.upkeep.summary import (
    DomainSummary,
    FieldSummary,
    PendingSummary,
    SplitSummary,
    StoreSummary,
    summarize,
)

__all__ = [
    "CachedStore",
    "DomainSummary",
    "FieldSummary",
    "FilledCache",
    "PendingSummary",
    "RemovedField",
    "RemovedGroup",
    "SplitSummary",
    "StoreSummary",
    "clear_cache",
    "copy_store",
    "fill_cache",
    "merge_groups",
    "read_attribute_table",
    "remove_fields",
    "remove_samples",
    "set_attributes",
    "show_cache",
    "summarize",
]
