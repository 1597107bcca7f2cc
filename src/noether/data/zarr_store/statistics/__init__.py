"""Statistics of the fields of a store: mergeable moments, from all points, or from a random part of them."""

from noether.data.zarr_store.statistics.calculate import calculate_store_statistics
from noether.data.zarr_store.statistics.documents import (
    FLAT_BOUNDS,
    flat_names,
    load_statistics,
    output_path,
    save_statistics,
    statistics_from_dict,
    statistics_to_dict,
)
from noether.data.zarr_store.statistics.estimates import CONFIDENCE
from noether.data.zarr_store.statistics.moments import RunningStats, is_position, position_bounds
from noether.data.zarr_store.statistics.plots import picture_path, plot_histograms
from noether.data.zarr_store.statistics.progress import Progress
from noether.data.zarr_store.statistics.store_statistics import StoreStatistics, merge_statistics

__all__ = [
    "CONFIDENCE",
    "FLAT_BOUNDS",
    "Progress",
    "RunningStats",
    "StoreStatistics",
    "calculate_store_statistics",
    "flat_names",
    "is_position",
    "load_statistics",
    "merge_statistics",
    "output_path",
    "picture_path",
    "plot_histograms",
    "position_bounds",
    "save_statistics",
    "statistics_from_dict",
    "statistics_to_dict",
]
