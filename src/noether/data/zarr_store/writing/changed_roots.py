"""The root ``zarr.json`` of a group that gets or loses fields; all else that it says stays."""

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
    """Return the root of a group with the metadata of new arrays, and what the sample is with them.

    Parameters
    ----------
    document : bytes
        The root at this moment.
    own : OwnManifest
        What it says.
    entry, domains : SampleEntry, mapping of str to DomainLayout
        What it is to say of the sample, and of the fields of all domains.
    nodes : mapping of str to bytes
        By path, the ``zarr.json`` of each new array.
    """
    order = [field for layout in domains.values() for field in layout.arrays]
    entry = replace(entry, fidelity={field: entry.fidelity[field] for field in order if field in entry.fidelity})
    known = (parse_group(document, own.sample_id) or {}) | {path: json.loads(one) for path, one in nodes.items()}
    return _root(document, own, entry, domains, _in_order(known, domains, entry))


def root_without(document: bytes, own: OwnManifest | None, fields: Mapping[str, ArrayLayout]) -> bytes:
    """Return the root of a group that names some fields no more; the same bytes where it names none.

    Parameters
    ----------
    document : bytes
        The root at this moment.
    own : OwnManifest or None
        What it says; None where another program wrote it, so that it says nothing of the sample.
    fields : mapping of str to ArrayLayout
        The fields, by canonical name.
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
    """Return the metadata of nodes in the order in which a conversion writes them."""
    paths = [
        path
        for domain, layout in domains.items()
        if domain in entry.domains
        for path in (domain, *(array.array_name for array in layout.arrays.values()))
    ]
    others = (path for path in nodes if path not in paths)
    return {path: nodes[path] for path in (*paths, *others) if path in nodes}
