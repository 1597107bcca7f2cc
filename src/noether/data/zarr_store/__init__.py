"""Sharded, pre-shuffled Zarr v3 stores for CFD point data.

`ZarrStoreWriter` writes samples; `ZarrChunkReader` reads them back, whole or as random draws that cost only a few
neighbouring chunks.
"""

from noether.data.schemas import FileMap
from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["FileMap", "StoreError", "StoreManifest", "ZarrChunkReader", "ZarrStoreWriter", "__version__"]
