"""Sources of samples: one protocol for files of many formats."""

from noether.data.zarr_store.sources.base import (
    AnnotatedSource,
    DescribedSource,
    FieldDescription,
    FingerprintedSource,
    SampleSource,
    SelectiveSource,
    SourceSample,
    field_attributes_of,
)
from noether.data.zarr_store.sources.cells import Cells, Polyhedra
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.mapped import MappedSource
from noether.data.zarr_store.sources.mapping import SourceMapping
from noether.data.zarr_store.sources.mapping_files import find_mapping, load_mapping, shipped_mappings
from noether.data.zarr_store.sources.meshes import MeshFile
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.tree import TreeSource

__all__ = [
    "AnnotatedSource",
    "Cells",
    "DescribedSource",
    "FieldDescription",
    "FingerprintedSource",
    "MappedSource",
    "MeshFile",
    "Polyhedra",
    "SampleSource",
    "SelectiveSource",
    "SourceMapping",
    "SourceSample",
    "TreeSource",
    "cell_centers",
    "field_attributes_of",
    "find_mapping",
    "load_mapping",
    "shipped_mappings",
    "suffix_of",
]
