"""Sharded, pre-shuffled Zarr v3 stores for CFD point data.

`ZarrStoreWriter` writes samples. `ZarrChunkReader` reads whole samples, or random draws that take only a few
neighbouring chunks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noether.data.zarr_store._version import __version__

if TYPE_CHECKING:
    from noether.data.schemas import FileMap
    from noether.data.zarr_store.codec import implementation
    from noether.data.zarr_store.datasets import Draw, ZarrStoreDataset, collate_samples
    from noether.data.zarr_store.errors import StoreError
    from noether.data.zarr_store.layout import (
        CANONICAL_TO_SPEC,
        FIELD_SPECS,
        FieldSpec,
        build_domain_layouts,
        filename_to_canonical,
        present_specs,
    )
    from noether.data.zarr_store.manifest import (
        MANIFEST_NAME,
        ArrayLayout,
        DomainLayout,
        DomainSample,
        SampleEntry,
        StoreManifest,
    )
    from noether.data.zarr_store.reader import ZarrChunkReader
    from noether.data.zarr_store.statistics import calculate_store_statistics
    from noether.data.zarr_store.stores import is_remote, make_store
    from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = [
    "CANONICAL_TO_SPEC",
    "FIELD_SPECS",
    "MANIFEST_NAME",
    "ArrayLayout",
    "DomainLayout",
    "DomainSample",
    "Draw",
    "FieldSpec",
    "FileMap",
    "SampleEntry",
    "StoreError",
    "StoreManifest",
    "ZarrChunkReader",
    "ZarrStoreDataset",
    "ZarrStoreWriter",
    "__version__",
    "build_domain_layouts",
    "calculate_store_statistics",
    "collate_samples",
    "filename_to_canonical",
    "implementation",
    "is_remote",
    "make_store",
    "present_specs",
]

# Imported lazily (PEP 562): importing zarr takes half a second, and the datasets need PyTorch.
_EXPORTS = {
    "noether.data.schemas": ("FileMap",),
    "noether.data.zarr_store.codec": ("implementation",),
    "noether.data.zarr_store.datasets": ("Draw", "ZarrStoreDataset", "collate_samples"),
    "noether.data.zarr_store.errors": ("StoreError",),
    "noether.data.zarr_store.layout": (
        "CANONICAL_TO_SPEC",
        "FIELD_SPECS",
        "FieldSpec",
        "build_domain_layouts",
        "filename_to_canonical",
        "present_specs",
    ),
    "noether.data.zarr_store.manifest": (
        "ArrayLayout",
        "DomainLayout",
        "DomainSample",
        "MANIFEST_NAME",
        "SampleEntry",
        "StoreManifest",
    ),
    "noether.data.zarr_store.reader": ("ZarrChunkReader",),
    "noether.data.zarr_store.statistics": ("calculate_store_statistics",),
    "noether.data.zarr_store.stores": ("is_remote", "make_store"),
    "noether.data.zarr_store.writer": ("ZarrStoreWriter",),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
