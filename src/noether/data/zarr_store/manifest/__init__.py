"""`manifest.json`: the model of a store, its lines and checks, the listing of groups, splits."""

from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from noether.data.zarr_store.manifest.field_attributes import (
    FieldAttributes,
    check_field_attributes,
    known_attributes,
    stored_field_attributes,
)
from noether.data.zarr_store.manifest.lines import DomainSample, SampleEntry, parse_json
from noether.data.zarr_store.manifest.listing import (
    Listing,
    OwnManifest,
    checksum_state_of_root,
    directories_of,
    is_own_key,
    list_store,
    read_own_manifests,
    shards_by_array,
    united,
)
from noether.data.zarr_store.manifest.node_metadata import Metadata, parse_array, parse_group, require_array
from noether.data.zarr_store.manifest.recorded_samples import RecordedSamples
from noether.data.zarr_store.manifest.removals import (
    SeenManifest,
    begin_removal,
    end_removal,
    groups_of,
    require_apart,
    unfinished_removals,
)
from noether.data.zarr_store.manifest.sample_selection import IfMissing, choose_samples, select_samples
from noether.data.zarr_store.manifest.splits import read_split_files, save_splits, split_store
from noether.data.zarr_store.manifest.store_manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    NEWEST_FORMAT_VERSION,
    CopyOrigin,
    Origin,
    StoreManifest,
    format_version_for,
)

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "NEWEST_FORMAT_VERSION",
    "ArrayLayout",
    "CopyOrigin",
    "DomainLayout",
    "DomainSample",
    "FieldAttributes",
    "FieldFidelity",
    "IfMissing",
    "Listing",
    "Metadata",
    "Origin",
    "OwnManifest",
    "RecordedSamples",
    "SampleEntry",
    "SeenManifest",
    "StoreManifest",
    "begin_removal",
    "check_field_attributes",
    "checksum_state_of_root",
    "choose_samples",
    "directories_of",
    "end_removal",
    "format_version_for",
    "groups_of",
    "is_own_key",
    "known_attributes",
    "list_store",
    "parse_array",
    "parse_group",
    "parse_json",
    "read_own_manifests",
    "read_split_files",
    "require_apart",
    "require_array",
    "save_splits",
    "select_samples",
    "shards_by_array",
    "split_store",
    "stored_field_attributes",
    "unfinished_removals",
    "united",
]
