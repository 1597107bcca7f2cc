"""PyTorch datasets: random draws of the points of a store's samples, for `torch.utils.data.DataLoader`."""

from noether.data.zarr_store.errors import MissingDependencyError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("torch", "a PyTorch dataset", "torch") from error

from noether.data.zarr_store.datasets.collation import collate_samples
from noether.data.zarr_store.datasets.dataset import ZarrStoreDataset
from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.datasets.epoch_sampler import EpochSampler
from noether.data.zarr_store.datasets.item_generator import item_generator
from noether.data.zarr_store.datasets.items import Item
from noether.data.zarr_store.datasets.loader import StoreLoader
from noether.data.zarr_store.datasets.ragged_batch import RaggedBatch
from noether.data.zarr_store.datasets.throughput import Throughput, measure_throughput
from noether.data.zarr_store.sampling import Draw, Falloff, Weight

__all__ = [
    "Draw",
    "DrawIndex",
    "EpochSampler",
    "Falloff",
    "Item",
    "RaggedBatch",
    "StoreLoader",
    "Throughput",
    "Weight",
    "ZarrStoreDataset",
    "collate_samples",
    "item_generator",
    "measure_throughput",
]
