"""Where samples come from: files of many formats, one protocol."""

from noether.data.zarr_store.sources.base import SampleSource, SourceSample
from noether.data.zarr_store.sources.tree import TreeSource

__all__ = ["SampleSource", "SourceSample", "TreeSource"]
