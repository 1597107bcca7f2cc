"""Sharded, pre-shuffled Zarr v3 stores for CFD point data.

`ZarrStoreWriter` writes samples; `ZarrChunkReader` reads them back, whole or as random draws that cost only a few
neighbouring chunks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noether.data.zarr_store._version import __version__

if TYPE_CHECKING:
    from noether.data.schemas import FileMap
    from noether.data.zarr_store.errors import StoreError
    from noether.data.zarr_store.manifest import StoreManifest
    from noether.data.zarr_store.reader import ZarrChunkReader
    from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["FileMap", "StoreError", "StoreManifest", "ZarrChunkReader", "ZarrStoreWriter", "__version__"]

# Imported on use (PEP 562): zarr alone takes half a second.
_MODULES = {
    "FileMap": "noether.data.schemas",
    "StoreError": "noether.data.zarr_store.errors",
    "StoreManifest": "noether.data.zarr_store.manifest",
    "ZarrChunkReader": "noether.data.zarr_store.reader",
    "ZarrStoreWriter": "noether.data.zarr_store.writer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
