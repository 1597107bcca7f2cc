"""PyTorch datasets: random draws of the points of a store's samples, for `torch.utils.data.DataLoader`."""

from noether.data.zarr_store.errors import MissingDependencyError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("torch", "a PyTorch dataset", "torch") from error

from noether.data.zarr_store.datasets.collation import collate_samples
from noether.data.zarr_store.datasets.dataset import Item, ZarrStoreDataset
from noether.data.zarr_store.sampling import Draw

__all__ = ["Draw", "Item", "ZarrStoreDataset", "collate_samples"]
