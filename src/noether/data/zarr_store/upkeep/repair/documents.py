"""Restoring the metadata of a group from their intact copies and the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from noether.data.zarr_store.core import ROOT_KEY, parse_document
from noether.data.zarr_store.manifest import (
    SampleEntry,
    StoreManifest,
    checksum_state_of_root,
    domains_of_sample,
    known_attributes,
    later_fields,
    parse_group,
)
from noether.data.zarr_store.stores import Storage
from noether.data.zarr_store.writing import Encoding, array_document, group_metadata, node_document, root_document

__all__ = ["restored_documents"]


def restored_documents(
    storage: Storage, manifest: StoreManifest, encoding: Encoding, sample_id: str, entry: SampleEntry
) -> dict[str, bytes]:
    """Return the correct content of each damaged or missing ``zarr.json`` of a group.

    An intact root has copies of all other documents. Without an intact root, all documents are rebuilt from the
    manifest. The manifest lacks the units and long names of arrays; these are taken from the arrays' own documents.

    Parameters
    ----------
    storage : Storage
        Storage of the store.
    manifest : StoreManifest
        Intact manifest of the store.
    encoding : Encoding
        Encoding of the chunks.
    sample_id : str
        Id of the sample.
    entry : SampleEntry
        Entry of the sample in the manifest.

    Returns
    -------
    dict of str to bytes
        Documents by key, relative to the root of the store; the root of the group comes last.
    """
    root_key = f"{entry.relpath}/{ROOT_KEY}"
    root = storage.read_if_there(root_key) or b""
    is_intact = checksum_state_of_root(root) == "intact"
    copies = (parse_group(root, sample_id) or {}) if is_intact else {}
    restored, metadata = {}, {}
    for path, made in _nodes(manifest, encoding, entry):
        key = f"{entry.relpath}/{path}/{ROOT_KEY}"
        current = storage.read_if_there(key)
        metadata[path] = copies.get(path) or made | {"attributes": _own_attributes(current)}
        document = node_document(metadata[path])
        if current != document:
            restored[key] = document
    if not is_intact:
        alone = manifest.settings_alone().model_copy(update={"pending_fields": manifest.pending_fields})
        attributes = alone.as_group_attributes(sample_id, entry, later_fields(manifest))
        restored[root_key] = root_document(attributes, metadata)
    return restored


def _own_attributes(document: bytes | None) -> dict[str, str]:
    try:
        return known_attributes(parse_document(document or b""))
    except ValueError:
        return {}


def _nodes(manifest: StoreManifest, encoding: Encoding, entry: SampleEntry) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path of each node below the root, and the metadata that the writer writes for it."""
    for domain, layout in domains_of_sample(manifest, entry, frozenset()).items():
        if domain in entry.domains:
            yield domain, group_metadata({})
            for array in layout.arrays.values():
                yield array.array_name, json.loads(array_document(array, entry.domains[domain].grid, encoding))
