"""Fields that samples get after they were converted: which samples have them, and when a store does. Pure.

The entry of a sample tells the fields that were added to it. Such a field is one of the store's `domains` once every
sample that has its domain has it. Until then it stands in `pending_fields`, where readers do not look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from noether.data.zarr_store.errors import ManifestConflictError, OriginalOrderError, UnknownNameError
from noether.data.zarr_store.layout import FIELD_SPECS, ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.lines import SampleEntry, SampleLines, added_by_sample

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.listing import OwnManifest
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = [
    "PendingField",
    "PendingFields",
    "added_fields",
    "declared",
    "domains_of_sample",
    "entry_of_group",
    "fields_agree",
    "knowing_groups",
    "known_domains",
    "known_layouts",
    "later_fields",
    "merged_fields",
    "new_fields",
    "pending_of",
    "require_addable",
    "require_joined",
    "require_staying",
    "settled",
    "united_fields",
    "without_fields",
]

PendingFields = dict[str, dict[str, ArrayLayout]]
"""By domain and canonical name, the layouts of fields that not all samples have."""

_RANKS = {spec.field: rank for rank, spec in enumerate(FIELD_SPECS)}
_SHOWN = 3


class _Placed(NamedTuple):
    domain: str
    layout: ArrayLayout


@dataclass(frozen=True, slots=True)
class PendingField:
    """A field that some samples lack.

    Attributes
    ----------
    field, domain : str
        Canonical name and domain.
    n_samples : int
        Samples that have the domain.
    lacking : tuple of str
        Those of them that lack the field.
    """

    field: str
    domain: str
    n_samples: int
    lacking: tuple[str, ...]


def _placed(domains: Mapping[str, DomainLayout]) -> dict[str, _Placed]:
    return {
        field: _Placed(domain, array) for domain, layout in domains.items() for field, array in layout.arrays.items()
    }


def _placed_pending(pending: PendingFields) -> dict[str, _Placed]:
    return {field: _Placed(domain, array) for domain, arrays in pending.items() for field, array in arrays.items()}


def added_fields(manifest: StoreManifest) -> frozenset[str]:
    """Return the fields of all samples, those of `domains`, that came later.

    One sample of each domain tells: all of them have these fields.
    """
    unseen, found = set(manifest.domains), set[str]()
    for _, domains, added in added_by_sample(manifest.samples):
        fields = {field for domain in unseen & domains for field in manifest.domains[domain].arrays}
        found |= fields & added
        unseen -= domains
        if not unseen:
            break
    return frozenset(found)


def with_fields(layout: DomainLayout, added: Mapping[str, ArrayLayout]) -> DomainLayout:
    """Return a domain with fields more, in an order that does not depend on the order in which they came.

    A field of `FileMap` comes after those before it there, so that it lies where a conversion puts it. Fields of other
    names come last.
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
    """Return the fields that a store does not know, though it has their domain."""
    known = _placed(manifest.domains).keys() | _placed_pending(manifest.pending_fields).keys()
    found = {
        domain: {field: array for field, array in layout.arrays.items() if field not in known}
        for domain, layout in domains.items()
        if domain in manifest.domains
    }
    return {domain: arrays for domain, arrays in found.items() if arrays}


def later_fields(manifest: StoreManifest) -> frozenset[str]:
    """Return the fields that came after others: those of all samples, and those that are pending."""
    return added_fields(manifest) | _placed_pending(manifest.pending_fields).keys()


def known_domains(
    manifest: StoreManifest, domains: Mapping[str, DomainLayout], *, all_fields: bool
) -> dict[str, DomainLayout]:
    """Return the domains of a writer as far as the store knows their fields.

    Without `all_fields`, what the writer lacks is taken from the store.
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


def require_addable(manifest: StoreManifest, where: str) -> None:
    """Raise `OriginalOrderError` where no field can be added to a store, since the order of its points is unknown."""
    if manifest.copied_from is not None:
        origin = manifest.copied_from
        raise OriginalOrderError(
            f"{where}: no field can be added: the store has {origin.fraction:g} of the points of {origin.store_root}. "
            "Add the field to that store, and copy it again"
        )
    if manifest.shuffle_algorithm is None:
        raise OriginalOrderError(
            f"{where}: no field can be added: the store names no shuffle algorithm, so the order of its points is "
            "unknown. Convert the source into another store with all fields"
        )


def fields_agree(store: StoreManifest, other: StoreManifest, *, of_group: bool = False) -> bool:
    """Say whether two manifests have the same fields but for those that came later.

    A writer that does not know such fields writes samples without them, and a sample may have them before the store
    does. With `of_group`, `other` is what a group says, and may have fields that are being removed.
    """
    if store.domains == other.domains:
        return True
    if store.domains.keys() != other.domains.keys():
        return False
    if any(layout.position != other.domains[domain].position for domain, layout in store.domains.items()):
        return False
    of_store, of_other = _placed(store.domains), _placed(other.domains)
    known = of_store | _placed_pending(store.pending_fields)
    if of_group:
        known |= _placed_pending(store.removing_fields)
    if any(known[field] != placed for field, placed in of_other.items() if field in known):
        return False
    lacking, more = of_store.keys() - of_other.keys(), of_other.keys() - known.keys()
    return (not lacking or lacking <= added_fields(store)) and (not more or more <= _all_added(other))


def _all_added(manifest: StoreManifest) -> set[str]:
    return {field for _, _, added in added_by_sample(manifest.samples) for field in added}


def known_layouts(manifest: StoreManifest) -> dict[str, DomainLayout]:
    """Return the domains of a store with all fields that a group may have objects of, also pending and removed ones."""
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


def entry_of_group(manifest: StoreManifest, domains: Mapping[str, DomainLayout], entry: SampleEntry) -> SampleEntry:
    """Return what a manifest is to say of a sample whose group has these domains and says `entry`.

    It says nothing of fields that are being removed.
    """
    removing = _placed_pending(manifest.removing_fields)
    entry = with_marks(manifest, domains, entry)
    if not removing.keys() & entry.fidelity.keys():
        return entry
    return replace(entry, fidelity={field: one for field, one in entry.fidelity.items() if field not in removing})


def with_marks(manifest: StoreManifest, domains: Mapping[str, DomainLayout], entry: SampleEntry) -> SampleEntry:
    """Return the entry of a sample that was written with `domains`, with the fields that the store calls added ones.

    Parameters
    ----------
    manifest : StoreManifest
        Of the store.
    domains : mapping of str to DomainLayout
        The fields that whoever wrote the sample knew.
    entry : SampleEntry
        What the sample said.
    """
    known = _placed_pending(manifest.pending_fields)
    joined = added_fields(manifest)
    known |= {field: placed for field, placed in _placed(manifest.domains).items() if field in joined}
    written = {field for domain in entry.domains if domain in domains for field in domains[domain].arrays}
    has = {field for field in written.union(entry.added_fields) if field in known}
    marks = tuple(sorted(field for field in has if known[field].domain in entry.domains))
    return entry if marks == entry.added_fields else replace(entry, added_fields=marks)


def domains_of_sample(manifest: StoreManifest, entry: SampleEntry, later: AbstractSet[str]) -> dict[str, DomainLayout]:
    """Return all domains of a store, with those fields of `later`, which came after others, that a sample has."""
    found = _placed(manifest.domains) | _placed_pending(manifest.pending_fields)
    has = {field: found[field] for field in entry.added_fields if field in found}
    if not later and not has:
        return manifest.domains
    base = without_fields(manifest.domains, later | has.keys())
    return {
        domain: with_fields(layout, {field: array for field, (place, array) in has.items() if place == domain})
        for domain, layout in base.items()
    }


def require_staying(manifest: StoreManifest, fields: Iterable[str], origin: str) -> None:
    """Raise `ManifestConflictError` where a field that is to be added is being removed."""
    removing = _placed_pending(manifest.removing_fields)
    for field in fields:
        if field in removing:
            raise ManifestConflictError(
                f"{origin}: field {field!r} is being removed; finish that first: noether-zarr remove STORE "
                f"--field {field}"
            )


def declared(manifest: StoreManifest, fields: PendingFields, origin: str) -> StoreManifest:
    """Return a manifest that knows fields, as pending ones unless it knows them already.

    Raises
    ------
    ManifestConflictError
        It knows one of them with another layout, or is removing it.
    """
    known = _placed(manifest.domains) | _placed_pending(manifest.pending_fields)
    require_staying(manifest, (field for arrays in fields.values() for field in arrays), origin)
    pending = {domain: dict(arrays) for domain, arrays in manifest.pending_fields.items()}
    for domain, arrays in fields.items():
        for field, array in arrays.items():
            if field not in known:
                pending.setdefault(domain, {})[field] = array
            elif known[field] != (domain, array):
                there = known[field].layout
                raise ManifestConflictError(
                    f"{origin}: field {field!r}: the store has {there.dtype} x {there.dim}, this writer "
                    f"{array.dtype} x {array.dim}; use the store's, or another name"
                )
    if pending == manifest.pending_fields:
        return manifest
    return manifest.model_copy(update={"pending_fields": _sorted(pending)})


def settled(manifest: StoreManifest, later: AbstractSet[str] | None = None, *, joins: bool = True) -> StoreManifest:
    """Return a manifest in which each field that came later stands where its samples say: in `domains`, or pending.

    A field of `domains` that a sample lacks is pending again. A manifest with other `domains` names no chunk index:
    that has the lengths of other fields.

    Parameters
    ----------
    manifest : StoreManifest
        The manifest, with all its samples.
    later : set of str, optional
        The fields of `domains` that came later; without it, those that `added_fields` finds.
    joins : bool
        Whether a pending field that no sample lacks any more becomes one of `domains`.
    """
    pending = _placed_pending(manifest.pending_fields)
    later = added_fields(manifest) if later is None else later
    if not pending and not later:
        return manifest
    places = _placed(manifest.domains)
    candidates = pending | {field: placed for field, placed in places.items() if field in later}
    joined: dict[str, dict[str, ArrayLayout]] = {}
    waiting: PendingFields = {}
    for field, (n_samples, n_having) in _counts(manifest, candidates).items():
        is_whole = 0 < n_samples == n_having and (joins or field in places)
        domain, array = candidates[field]
        (joined if is_whole else waiting).setdefault(domain, {})[field] = array
    base = without_fields(manifest.domains, candidates.keys())
    domains = {domain: with_fields(layout, joined.get(domain, {})) for domain, layout in base.items()}
    update: dict[str, object] = {"pending_fields": _sorted(waiting)}
    if _names(domains) != _names(manifest.domains):
        update |= {"domains": domains, "chunk_index": None, "sample_index": None}
    return manifest.model_copy(update=update)


def _counts(manifest: StoreManifest, fields: Mapping[str, _Placed]) -> dict[str, tuple[int, int]]:
    """Return the number of samples with the domain of each field, and of those that have the field."""
    n_samples, n_having = dict.fromkeys(manifest.domains, 0), dict.fromkeys(fields, 0)
    for _, domains, added in added_by_sample(manifest.samples):
        for domain in domains & n_samples.keys():
            n_samples[domain] += 1
        for field in added & fields.keys():
            n_having[field] += fields[field].domain in domains
    return {field: (n_samples[fields[field].domain], n) for field, n in n_having.items()}


def merged_fields(there: StoreManifest, other: StoreManifest, merged: StoreManifest) -> StoreManifest:
    """Return `merged`, which has the samples of two manifests, with the fields that came later settled.

    Parameters
    ----------
    there : StoreManifest
        The manifest that the samples of `other` are added to.
    other : StoreManifest
        The manifest of a writer, or of groups.
    merged : StoreManifest
        `there` with the samples of `other`.
    """
    given = {sample_id: added for sample_id, _, added in added_by_sample(other.samples)}
    later = added_fields(there)
    if not later and not there.pending_fields and not any(given.values()):
        return merged
    there = there.model_copy(update={"pending_fields": _pending_with(there, other, _all_added(other))})
    marked = {sample_id: with_marks(there, other.domains, other.samples[sample_id]) for sample_id in given}
    samples = merged.samples | marked if isinstance(merged.samples, SampleLines) else {**merged.samples, **marked}
    update = {"samples": samples, "pending_fields": there.pending_fields}
    return settled(merged.model_copy(update=update), later, joins=False)


def _pending_with(there: StoreManifest, other: StoreManifest, fields: AbstractSet[str]) -> PendingFields:
    """Return the pending fields of a manifest, and those of another one that it lacks, as far as samples have them."""
    pending = {domain: dict(arrays) for domain, arrays in there.pending_fields.items()}
    known = _placed(there.domains).keys()
    for field, (domain, array) in (_placed(other.domains) | _placed_pending(other.pending_fields)).items():
        if field in fields and field not in known:
            pending.setdefault(domain, {}).setdefault(field, array)
    return _sorted(pending)


def knowing_groups(settings: StoreManifest, groups: Iterable[OwnManifest], *, all_pending: bool) -> StoreManifest:
    """Return settings that know the fields that groups got later, as pending ones where they did not know them.

    Parameters
    ----------
    settings : StoreManifest
        The manifest of a store, or of one group.
    groups : iterable of OwnManifest
        What the groups say.
    all_pending : bool
        Whether all fields that came later are pending ones, also those that `settings` has among its domains.
    """
    known, later = settings, set(added_fields(settings)) if all_pending else set[str]()
    for one in groups:
        added = frozenset(one.entry.added_fields)
        later |= added if all_pending else frozenset()
        known = known.model_copy(update={"pending_fields": _pending_with(known, one.alone, added)})
    joined = {field: placed for field, placed in _placed(known.domains).items() if field in later}
    if not joined:
        return known
    pending = {domain: dict(arrays) for domain, arrays in known.pending_fields.items()}
    for field, (domain, array) in joined.items():
        pending.setdefault(domain, {})[field] = array
    domains = without_fields(known.domains, joined.keys())
    return known.model_copy(update={"domains": domains, "pending_fields": _sorted(pending)})


def united_fields(settings: StoreManifest, groups: Iterable[OwnManifest], united: StoreManifest) -> StoreManifest:
    """Return `united`, which has the samples of groups, with the fields that came later settled.

    Parameters
    ----------
    settings : StoreManifest
        Has the settings; of a store, or of one group.
    groups : iterable of OwnManifest
        What the groups say.
    united : StoreManifest
        A manifest with all samples.
    """
    found = list(groups)
    known = knowing_groups(settings, found, all_pending=True)
    if not known.pending_fields:
        return united
    known = united.model_copy(update={"domains": known.domains, "pending_fields": known.pending_fields})
    entries = {one.sample_id: entry_of_group(known, one.alone.domains, one.entry) for one in found}
    return settled(known.model_copy(update={"samples": {**united.samples, **entries}}), frozenset())


def pending_of(manifest: StoreManifest) -> list[PendingField]:
    """Return the pending fields of a store with the samples that lack them, by name."""
    pending = _placed_pending(manifest.pending_fields)
    samples = list(added_by_sample(manifest.samples)) if pending else []
    found = []
    for field, (domain, _) in sorted(pending.items()):
        having = [(sample_id, field in added) for sample_id, domains, added in samples if domain in domains]
        lacking = tuple(sample_id for sample_id, has in having if not has)
        found.append(PendingField(field, domain, len(having), lacking))
    return found


def require_joined(manifest: StoreManifest, fields: Iterable[str]) -> Collection[str]:
    """Return some fields; `UnknownNameError` where one of them is pending, with the samples that lack it."""
    fields = fields if isinstance(fields, str) else list(fields)
    asked = _placed_pending(manifest.pending_fields).keys() & set(fields)
    for one in pending_of(manifest) if asked else ():
        if one.field in asked:
            raise UnknownNameError(_why_pending(one))
    return fields


def _why_pending(one: PendingField) -> str:
    """Return what to say to somebody who asks for a pending field."""
    if not one.lacking:
        return (
            f"field {one.field!r} is pending: its samples have it, and the manifest does not say so yet; run "
            "noether-zarr repair STORE"
        )
    shown = ", ".join(map(repr, one.lacking[:_SHOWN])) + (", …" if len(one.lacking) > _SHOWN else "")
    return (
        f"field {one.field!r} is pending: {len(one.lacking):,} of {one.n_samples:,} samples lack it ({shown}); add it "
        f"to them with noether-zarr add-fields STORE SOURCE, or take it out with noether-zarr remove STORE --field "
        f"{one.field}"
    )


def _sorted(pending: PendingFields) -> PendingFields:
    return {domain: dict(sorted(pending[domain].items())) for domain in sorted(pending) if pending[domain]}


def _names(domains: Mapping[str, DomainLayout]) -> list[tuple[str, list[str]]]:
    return [(domain, list(layout.arrays)) for domain, layout in domains.items()]
