"""Units and long names of fields. Arrays carry them as attributes, as in xarray and the CF conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from noether.data.zarr_store.core import ROOT_KEY, is_plain, printable
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, nearest_names
from noether.data.zarr_store.layout import DomainLayout
from noether.data.zarr_store.manifest.lines import SampleEntry
from noether.data.zarr_store.manifest.node_metadata import parse_group
from noether.data.zarr_store.stores import Storage

__all__ = ["FieldAttributes", "check_field_attributes", "field_label", "known_attributes", "stored_field_attributes"]

FieldAttributes = dict[str, dict[str, str]]
"""The known ``units`` and ``long_name`` of each field, by canonical name."""

_NAMES = ("units", "long_name")


def check_field_attributes(
    field_attributes: Mapping[str, Mapping[str, Any]], domains: Mapping[str, DomainLayout]
) -> FieldAttributes:
    """Return the attributes of fields as plain dicts, without the fields that have none.

    Raises
    ------
    ArgumentError
        A field is not in these domains, an attribute is neither ``units`` nor ``long_name``, or its value is not
        printable text.
    """
    fields = [field for layout in domains.values() for field in layout.arrays]
    for field, attributes in field_attributes.items():
        if field not in fields:
            raise ArgumentError(f"field_attributes: unknown field {field!r}; {nearest_names(field, fields)}")
        for name, value in attributes.items():
            where = f"field_attributes: {field}"
            if name not in _NAMES:
                raise ArgumentError(f"{where}: expected {' or '.join(map(repr, _NAMES))}, got {name!r}; leave it out")
            if not isinstance(value, str) or not value or not is_plain(value):
                raise ArgumentError(
                    f"{where}: {name}: expected printable text, got {value!r}; use a str without control characters"
                )
    checked = {field: {name: str(value) for name, value in one.items()} for field, one in field_attributes.items()}
    return {field: attributes for field, attributes in checked.items() if attributes}


def field_label(field: str, attributes: Mapping[str, str], component: str = "") -> str:
    """Return the label of a field for the axis of a plot: long name or canonical name, component, and units.

    Fields without a dimension, whose unit is 1, are called dimensionless. Characters that are invisible are escaped.
    """
    units = attributes.get("units")
    shown = "" if units is None else " (dimensionless)" if units == "1" else f" ({units})"
    return printable(attributes.get("long_name", field) + (f", {component}" if component else "") + shown)


def known_attributes(metadata: Any) -> dict[str, str]:
    """Return the units and the long name of an array from its untrusted metadata."""
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    if not isinstance(attributes, dict):
        return {}
    return {name: attributes[name] for name in _NAMES if isinstance(attributes.get(name), str)}


def stored_field_attributes(
    storage: Storage, domains: Mapping[str, DomainLayout], entries: Iterable[SampleEntry]
) -> FieldAttributes:
    """Return the attributes of a store's fields. The attributes of a domain come from the first sample with it.

    A group that is missing or damaged has no attributes.
    """
    found: FieldAttributes = {}
    wanted = set(domains)
    for entry in entries:
        if not wanted:
            break
        there = wanted & entry.domains.keys()
        nodes = _nodes(storage, entry) if there else {}
        for layout in (domains[domain] for domain in domains if domain in there):
            said = {field: known_attributes(nodes.get(array.array_name)) for field, array in layout.arrays.items()}
            found |= {field: attributes for field, attributes in said.items() if attributes}
        wanted -= there
    return found


def _nodes(storage: Storage, entry: SampleEntry) -> Mapping[str, Any]:
    document = storage.read_if_there(f"{entry.relpath}/{ROOT_KEY}")
    try:
        return parse_group(document or b"", entry.relpath) or {}
    except CorruptDataError:
        return {}
