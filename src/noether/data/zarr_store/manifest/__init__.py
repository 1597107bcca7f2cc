"""`manifest.json`: what a store holds."""

from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.lines import DomainSample, SampleEntry
from noether.data.zarr_store.manifest.store_manifest import FORMAT_VERSION, MANIFEST_NAME, CopyOrigin, StoreManifest

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "ArrayLayout",
    "CopyOrigin",
    "DomainLayout",
    "DomainSample",
    "SampleEntry",
    "StoreManifest",
]
