"""Comparing and merging manifests whose samples have different added fields. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING

from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.added_fields import (
    PendingFields,
    Placed,
    added_fields,
    all_added,
    field_order,
    new_fields,
    placed,
    placed_pending,
    sorted_pending,
    with_fields,
    without_fields,
)
from noether.data.zarr_store.manifest.lines import SampleEntry, SampleLines, added_by_sample

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.listing import OwnManifest
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = [
    "entry_of_group",
    "fields_agree",
    "knowing_groups",
    "known_domains",
    "merged_fields",
    "settled",
    "united_fields",
]


def fields_agree(store: StoreManifest, other: StoreManifest, *, of_group: bool = False) -> bool:
    """Return whether two manifests have the same fields, apart from added fields.

    A writer that does not know the added fields writes samples without them. A sample can have an added field before
    the store has it. With `of_group`, `other` is a group's own manifest, which can have fields that are being
    removed.
    """
    if store.domains == other.domains:
        return True
    if store.domains.keys() != other.domains.keys():
        return False
    if any(layout.position != other.domains[domain].position for domain, layout in store.domains.items()):
        return False
    of_store, of_other = placed(store.domains), placed(other.domains)
    known = of_store | placed_pending(store.pending_fields)
    if of_group:
        known |= placed_pending(store.removing_fields)
    if any(known[field] != placed for field, placed in of_other.items() if field in known):
        return False
    lacking, more = of_store.keys() - of_other.keys(), of_other.keys() - known.keys()
    return (not lacking or lacking <= added_fields(store)) and (not more or more <= all_added(other))


def known_domains(
    manifest: StoreManifest, domains: Mapping[str, DomainLayout], *, all_fields: bool
) -> dict[str, DomainLayout]:
    """Return the domains of a writer, without the fields that the store lacks.

    Without `all_fields`, the fields and domains that the writer lacks are taken from the store.
    """
    new = {field for arrays in new_fields(manifest, domains).values() for field in arrays}
    known = without_fields(domains, new)
    if all_fields:
        return known
    united = {
        domain: replace(known.get(domain, layout), arrays={**layout.arrays, **known.get(domain, layout).arrays})
        for domain, layout in manifest.domains.items()
    }
    return {**known, **united}


def with_marks(manifest: StoreManifest, domains: Mapping[str, DomainLayout], entry: SampleEntry) -> SampleEntry:
    """Return the entry of a sample, with `added_fields` set to its fields that are added fields of the store.

    Parameters
    ----------
    manifest : StoreManifest
        Manifest of the store.
    domains : mapping of str to DomainLayout
        Domains and fields that the writer of the sample knew.
    entry : SampleEntry
        Entry of the sample, as its writer made it.
    """
    known = placed_pending(manifest.pending_fields)
    joined = added_fields(manifest)
    known |= {field: placed for field, placed in placed(manifest.domains).items() if field in joined}
    written = {field for domain in entry.domains if domain in domains for field in domains[domain].arrays}
    has = {field for field in written.union(entry.added_fields) if field in known}
    marks = tuple(sorted(field for field in has if known[field].domain in entry.domains))
    return entry if marks == entry.added_fields else replace(entry, added_fields=marks)


def entry_of_group(manifest: StoreManifest, domains: Mapping[str, DomainLayout], entry: SampleEntry) -> SampleEntry:
    """Return the manifest's entry of a sample, from the domains and the entry in the root of its group.

    The result has no losses and no checksums of fields that are being removed.
    """
    removing = placed_pending(manifest.removing_fields)
    entry = with_marks(manifest, domains, entry)
    return entry.without_values_of(removing.keys())


def settled(manifest: StoreManifest, later: AbstractSet[str] | None = None, *, joins: bool = True) -> StoreManifest:
    """Return a manifest with each added field in its place: in `domains` if all samples have it, else pending.

    A field of `domains` that a sample lacks becomes pending again. If `domains` changes, the result names no chunk
    index, since the old index has the lengths of other fields.

    Parameters
    ----------
    manifest : StoreManifest
        The manifest, with all its samples.
    later : set of str, optional
        The added fields of `domains`; by default the result of `added_fields`.
    joins : bool
        Whether a pending field that all samples have moves to `domains`.
    """
    pending = placed_pending(manifest.pending_fields)
    later = added_fields(manifest) if later is None else later
    if not pending and not later:
        return manifest
    places = placed(manifest.domains)
    candidates = pending | {field: placed for field, placed in places.items() if field in later}
    joined: dict[str, dict[str, ArrayLayout]] = {}
    waiting: PendingFields = {}
    for field, (n_samples, n_having) in _counts(manifest, candidates).items():
        is_whole = 0 < n_samples == n_having and (joins or field in places)
        domain, array = candidates[field]
        (joined if is_whole else waiting).setdefault(domain, {})[field] = array
    base = without_fields(manifest.domains, candidates.keys())
    domains = {domain: with_fields(layout, joined.get(domain, {})) for domain, layout in base.items()}
    update: dict[str, object] = {"pending_fields": sorted_pending(waiting)}
    if field_order(domains) != field_order(manifest.domains):
        update |= {"domains": domains, "chunk_index": None, "sample_index": None}
    return manifest.model_copy(update=update)


def _counts(manifest: StoreManifest, fields: Mapping[str, Placed]) -> dict[str, tuple[int, int]]:
    """Return two counts for each field: the samples that have its domain, and the samples that have the field."""
    n_samples, n_having = dict.fromkeys(manifest.domains, 0), dict.fromkeys(fields, 0)
    for _, domains, added in added_by_sample(manifest.samples):
        for domain in domains & n_samples.keys():
            n_samples[domain] += 1
        for field in added & fields.keys():
            n_having[field] += fields[field].domain in domains
    return {field: (n_samples[fields[field].domain], n) for field, n in n_having.items()}


def merged_fields(there: StoreManifest, other: StoreManifest, merged: StoreManifest) -> StoreManifest:
    """Return `merged`, which has the samples of two manifests, with its added fields in their places; see `settled`.

    Parameters
    ----------
    there : StoreManifest
        Manifest that gets the samples of `other`.
    other : StoreManifest
        Manifest of a writer, or of groups.
    merged : StoreManifest
        `there` with the samples of `other`.
    """
    given = {sample_id: added for sample_id, _, added in added_by_sample(other.samples)}
    later = added_fields(there)
    if not later and not there.pending_fields and not any(given.values()):
        return merged
    there = there.model_copy(update={"pending_fields": _pending_with(there, other, all_added(other))})
    marked = {sample_id: with_marks(there, other.domains, other.samples[sample_id]) for sample_id in given}
    samples = merged.samples | marked if isinstance(merged.samples, SampleLines) else {**merged.samples, **marked}
    update = {"samples": samples, "pending_fields": there.pending_fields}
    return settled(merged.model_copy(update=update), later, joins=False)


def _pending_with(there: StoreManifest, other: StoreManifest, fields: AbstractSet[str]) -> PendingFields:
    """Return the pending fields of `there`, and the fields of `other` that it lacks and that are in `fields`."""
    pending = {domain: dict(arrays) for domain, arrays in there.pending_fields.items()}
    known = placed(there.domains).keys()
    for field, (domain, array) in (placed(other.domains) | placed_pending(other.pending_fields)).items():
        if field in fields and field not in known:
            pending.setdefault(domain, {}).setdefault(field, array)
    return sorted_pending(pending)


def knowing_groups(settings: StoreManifest, groups: Iterable[OwnManifest], *, all_pending: bool) -> StoreManifest:
    """Return settings that include the added fields of groups; fields that are new to the settings become pending.

    Parameters
    ----------
    settings : StoreManifest
        Manifest of a store, or of one group.
    groups : iterable of OwnManifest
        Own manifests of the groups.
    all_pending : bool
        Whether all added fields become pending, also the added fields in the domains of `settings`.
    """
    known, later = settings, set(added_fields(settings)) if all_pending else set[str]()
    for one in groups:
        added = frozenset(one.entry.added_fields)
        later |= added if all_pending else frozenset()
        known = known.model_copy(update={"pending_fields": _pending_with(known, one.alone, added)})
    joined = {field: placed for field, placed in placed(known.domains).items() if field in later}
    if not joined:
        return known
    pending = {domain: dict(arrays) for domain, arrays in known.pending_fields.items()}
    for field, (domain, array) in joined.items():
        pending.setdefault(domain, {})[field] = array
    domains = without_fields(known.domains, joined.keys())
    return known.model_copy(update={"domains": domains, "pending_fields": sorted_pending(pending)})


def united_fields(settings: StoreManifest, groups: Iterable[OwnManifest], united: StoreManifest) -> StoreManifest:
    """Return `united`, which has the samples of groups, with its added fields in their places; see `settled`.

    Parameters
    ----------
    settings : StoreManifest
        Manifest with the settings, of a store or of one group.
    groups : iterable of OwnManifest
        Own manifests of the groups.
    united : StoreManifest
        Manifest with all samples.
    """
    found = list(groups)
    known = knowing_groups(settings, found, all_pending=True)
    if not known.pending_fields:
        return united
    known = united.model_copy(update={"domains": known.domains, "pending_fields": known.pending_fields})
    entries = {one.sample_id: entry_of_group(known, one.alone.domains, one.entry) for one in found}
    return settled(known.model_copy(update={"samples": {**united.samples, **entries}}), frozenset())
