"""The manifest of a store: its model and file format, its checks, the listing of groups, and the splits."""

from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.added_fields import (
    PendingFields,
    added_fields,
    domains_of_sample,
    known_layouts,
    later_fields,
    new_fields,
    without_fields,
)
from noether.data.zarr_store.manifest.description import Description
from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from noether.data.zarr_store.manifest.field_attributes import (
    FieldAttributes,
    check_field_attributes,
    field_label,
    known_attributes,
    stored_field_attributes,
)
from noether.data.zarr_store.manifest.field_merging import entry_of_group, knowing_groups, known_domains, settled
from noether.data.zarr_store.manifest.field_removals import (
    begin_field_removal,
    end_field_removal,
    entry_without,
    removable_fields,
)
from noether.data.zarr_store.manifest.group_roots import damaged_root, own_manifest_of, sound_own_manifest
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
from noether.data.zarr_store.manifest.pending import (
    PendingField,
    declared,
    pending_of,
    require_addable,
    require_joined,
    require_staying,
)
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
    "Description",
    "DomainLayout",
    "DomainSample",
    "FieldAttributes",
    "FieldFidelity",
    "IfMissing",
    "Listing",
    "Metadata",
    "Origin",
    "OwnManifest",
    "PendingField",
    "PendingFields",
    "RecordedSamples",
    "SampleEntry",
    "SeenManifest",
    "StoreManifest",
    "added_fields",
    "begin_field_removal",
    "begin_removal",
    "check_field_attributes",
    "checksum_state_of_root",
    "choose_samples",
    "damaged_root",
    "declared",
    "directories_of",
    "domains_of_sample",
    "end_field_removal",
    "end_removal",
    "entry_of_group",
    "entry_without",
    "field_label",
    "format_version_for",
    "groups_of",
    "is_own_key",
    "knowing_groups",
    "known_attributes",
    "known_domains",
    "known_layouts",
    "later_fields",
    "list_store",
    "new_fields",
    "own_manifest_of",
    "parse_array",
    "parse_group",
    "parse_json",
    "pending_of",
    "read_own_manifests",
    "read_split_files",
    "removable_fields",
    "require_addable",
    "require_apart",
    "require_array",
    "require_joined",
    "require_staying",
    "save_splits",
    "select_samples",
    "settled",
    "shards_by_array",
    "sound_own_manifest",
    "split_store",
    "stored_field_attributes",
    "unfinished_removals",
    "united",
    "without_fields",
]
