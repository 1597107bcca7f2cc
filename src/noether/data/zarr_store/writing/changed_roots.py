"""Changes of the root ``zarr.json`` of a group when fields are added or removed; its other content is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from noether.data.zarr_store.core import CHECKSUM_KEY
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest import OwnManifest, SampleEntry, entry_without, parse_group, without_fields
from noether.data.zarr_store.writing.group_encoding import node_document, root_document

__all__ = ["root_with", "root_without"]


def root_with(
    document: bytes,
    own: OwnManifest,
    entry: SampleEntry,
    domains: Mapping[str, DomainLayout],
    nodes: Mapping[str, bytes],
) -> bytes:
    """Return the root of a group after new arrays were added.

    Parameters
    ----------
    document : bytes
        The current root.
    own : OwnManifest
        The parsed content of `document`.
    entry : SampleEntry
        The entry of the sample with the new fields.
    domains : mapping of str to DomainLayout
        The layouts of all domains with the new fields.
    nodes : mapping of str to bytes
        The ``zarr.json`` of each new array, by path.
    """
    order = [field for layout in domains.values() for field in layout.arrays]
    entry = replace(
        entry,
        fidelity={field: entry.fidelity[field] for field in order if field in entry.fidelity},
        content_crc32c={field: entry.content_crc32c[field] for field in order if field in entry.content_crc32c},
    )
    known = (parse_group(document, own.sample_id) or {}) | {path: json.loads(one) for path, one in nodes.items()}
    return _root(document, own, entry, domains, _in_order(known, domains, entry))


def root_without(document: bytes, own: OwnManifest | None, fields: Mapping[str, ArrayLayout]) -> bytes:
    """Return the root of a group after fields were removed; the same bytes if the root names none of these fields.

    Parameters
    ----------
    document : bytes
        The current root.
    own : OwnManifest or None
        The parsed content of `document`; None if another program wrote the root, and it has no manifest.
    fields : mapping of str to ArrayLayout
        The removed fields, by canonical name.
    """
    paths = {array.array_name for array in fields.values()}
    known = parse_group(document, "")
    left = {path: node for path, node in (known or {}).items() if path not in paths}
    if own is None:
        if known is None or left.keys() == known.keys():
            return document
        root = json.loads(document)
        root["consolidated_metadata"]["metadata"] = left
        return node_document(root)
    domains = without_fields(own.alone.domains, fields.keys())
    entry = entry_without(own.entry, fields.keys())
    if entry is None and domains == own.alone.domains and left == known:
        return document
    return _root(document, own, entry or own.entry, domains, left)


def _root(
    document: bytes,
    own: OwnManifest,
    entry: SampleEntry,
    domains: Mapping[str, DomainLayout],
    nodes: Mapping[str, Any],
) -> bytes:
    alone = own.alone.model_copy(update={"domains": dict(domains)})
    attributes = json.loads(document)["attributes"]
    others = {key: value for key, value in attributes.items() if key not in (CHECKSUM_KEY, "attributes", "manifest")}
    none: AbstractSet[str] = frozenset()
    return root_document(others | alone.as_group_attributes(own.sample_id, entry, none), nodes)


def _in_order(nodes: Mapping[str, Any], domains: Mapping[str, DomainLayout], entry: SampleEntry) -> dict[str, Any]:
    """Return the metadata of nodes in the order in which a writer writes them."""
    paths = [
        path
        for domain, layout in domains.items()
        if domain in entry.domains
        for path in (domain, *(array.array_name for array in layout.arrays.values()))
    ]
    others = (path for path in nodes if path not in paths)
    return {path: nodes[path] for path in (*paths, *others) if path in nodes}
