"""Added fields: the fields that samples got after their conversion, and their order in a store. Pure.

The entry of a sample lists the fields that were added to it. An added field moves to the store's `domains` once every
sample with its domain has it. Until then it stands in `pending_fields`, which readers ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from noether.data.zarr_store.layout import FIELD_SPECS, ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.lines import SampleEntry, added_by_sample

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = [
    "PendingFields",
    "Placed",
    "added_fields",
    "all_added",
    "domains_of_sample",
    "field_order",
    "known_layouts",
    "later_fields",
    "new_fields",
    "placed",
    "placed_pending",
    "sorted_pending",
    "with_fields",
    "without_fields",
]

PendingFields = dict[str, dict[str, ArrayLayout]]
"""Layouts of the fields that some samples lack, by domain and canonical name."""

_RANKS = {spec.field: rank for rank, spec in enumerate(FIELD_SPECS)}


class Placed(NamedTuple):
    """A field with its domain."""

    domain: str
    layout: ArrayLayout


def placed(domains: Mapping[str, DomainLayout]) -> dict[str, Placed]:
    """Return the fields of domains by canonical name."""
    return {
        field: Placed(domain, array) for domain, layout in domains.items() for field, array in layout.arrays.items()
    }


def placed_pending(pending: PendingFields) -> dict[str, Placed]:
    """Return pending fields, or fields that are being removed, by canonical name."""
    return {field: Placed(domain, array) for domain, arrays in pending.items() for field, array in arrays.items()}


def added_fields(manifest: StoreManifest) -> frozenset[str]:
    """Return the fields of `domains` that were added after the conversion.

    All samples have the fields of `domains`, so the function reads one sample of each domain.
    """
    unseen, found = set(manifest.domains), set[str]()
    for _, domains, added in added_by_sample(manifest.samples):
        fields = {field for domain in unseen & domains for field in manifest.domains[domain].arrays}
        found |= fields & added
        unseen -= domains
        if not unseen:
            break
    return frozenset(found)


def later_fields(manifest: StoreManifest) -> frozenset[str]:
    """Return the fields that were added after the conversion: fields that all samples have, and pending fields."""
    return added_fields(manifest) | placed_pending(manifest.pending_fields).keys()


def with_fields(layout: DomainLayout, added: Mapping[str, ArrayLayout]) -> DomainLayout:
    """Return a domain with more fields. The order of the fields does not depend on the order of their additions.

    Fields of `FileMap` keep the order of `FileMap`, which is also the order of a conversion. Fields of other names come
    last, sorted by name.
    """
    names = [field for field in layout.arrays if field not in added]
    for field in sorted(added, key=lambda field: (_RANKS.get(field, len(_RANKS)), field)):
        before = [at for at, name in enumerate(names) if _RANKS.get(name, len(_RANKS)) < _RANKS.get(field, -1)]
        names.insert(before[-1] + 1 if before else 1 if field in _RANKS else len(names), field)
    arrays = {**layout.arrays, **added}
    return replace(layout, arrays={field: arrays[field] for field in names})


def without_fields(domains: Mapping[str, DomainLayout], fields: AbstractSet[str]) -> dict[str, DomainLayout]:
    """Return domains without some of their fields."""
    return {
        domain: replace(layout, arrays={field: array for field, array in layout.arrays.items() if field not in fields})
        for domain, layout in domains.items()
    }


def new_fields(manifest: StoreManifest, domains: Mapping[str, DomainLayout]) -> PendingFields:
    """Return the fields that a manifest lacks, in the domains that it has."""
    known = placed(manifest.domains).keys() | placed_pending(manifest.pending_fields).keys()
    found = {
        domain: {field: array for field, array in layout.arrays.items() if field not in known}
        for domain, layout in domains.items()
        if domain in manifest.domains
    }
    return {domain: arrays for domain, arrays in found.items() if arrays}


def known_layouts(manifest: StoreManifest) -> dict[str, DomainLayout]:
    """Return the domains of a store, with its pending fields and with the fields that are being removed.

    A group can hold objects of all these fields.
    """
    return {
        domain: replace(
            layout,
            arrays={
                **manifest.removing_fields.get(domain, {}),
                **manifest.pending_fields.get(domain, {}),
                **layout.arrays,
            },
        )
        for domain, layout in manifest.domains.items()
    }


def all_added(manifest: StoreManifest) -> set[str]:
    """Return the fields that were added to any sample of a manifest."""
    return {field for _, _, added in added_by_sample(manifest.samples) for field in added}


def domains_of_sample(manifest: StoreManifest, entry: SampleEntry, later: AbstractSet[str]) -> dict[str, DomainLayout]:
    """Return all domains of a store, without the added fields in `later` that the sample lacks."""
    found = placed(manifest.domains) | placed_pending(manifest.pending_fields)
    has = {field: found[field] for field in entry.added_fields if field in found}
    if not later and not has:
        return manifest.domains
    base = without_fields(manifest.domains, later | has.keys())
    return {
        domain: with_fields(layout, {field: array for field, (place, array) in has.items() if place == domain})
        for domain, layout in base.items()
    }


def sorted_pending(pending: PendingFields) -> PendingFields:
    """Return pending fields sorted by domain and name, which is their order in the manifest."""
    return {domain: dict(sorted(pending[domain].items())) for domain in sorted(pending) if pending[domain]}


def field_order(domains: Mapping[str, DomainLayout]) -> list[tuple[str, list[str]]]:
    """Return the names of fields in the order of a chunk index."""
    return [(domain, list(layout.arrays)) for domain, layout in domains.items()]
