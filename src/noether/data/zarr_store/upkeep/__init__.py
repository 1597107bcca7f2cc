"""What keeps a store healthy: verify, repair, merge, copies, a summary."""

from noether.data.zarr_store.upkeep.copying import copy_store
from noether.data.zarr_store.upkeep.merge import merge_groups
from noether.data.zarr_store.upkeep.summary import DomainSummary, SplitSummary, StoreSummary, summarize

__all__ = ["DomainSummary", "SplitSummary", "StoreSummary", "copy_store", "merge_groups", "summarize"]
