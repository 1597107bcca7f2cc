"""Fields on their way out of a store: the manifest's record of them. Pure.

As a removal of samples, that of a field has three steps. The manifest moves the field to `removing_fields`; the roots
of groups name it no more, and its objects go; the manifest forgets it.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest.added_fields import PendingFields, without_fields
from noether.data.zarr_store.manifest.lines import SampleEntry, SampleLines

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = ["begin_field_removal", "end_field_removal", "entry_without", "removable_fields"]


def removable_fields(manifest: StoreManifest, fields: Collection[str]) -> PendingFields:
    """Return the layouts of fields that a store has, or is removing already, by domain.

    Raises
    ------
    UnknownNameError
        The store has no such field.
    ArgumentError
        A field is the position of its domain, or the store would have no other fields than positions.
    """
    layouts = {domain: dict(layout.arrays) for domain, layout in manifest.domains.items()}
    for later in (manifest.pending_fields, manifest.removing_fields):
        for domain, arrays in later.items():
            layouts[domain] |= arrays
    known = {field for arrays in layouts.values() for field in arrays}
    for field in fields:
        if field not in known:
            raise UnknownNameError(
                f"field {field!r} is not in the store; nothing was changed; {nearest_names(field, known)}"
            )
    positions = {layout.position for layout in manifest.domains.values()}
    for field in fields:
        if field in positions:
            raise ArgumentError(
                f"field {field!r}: expected a field that is no position, since a domain has no points without it; "
                "nothing was changed"
            )
    there = {field for layout in manifest.domains.values() for field in layout.arrays}
    if there & set(fields) and there <= positions.union(fields):
        raise ArgumentError(
            f"fields: expected at least one field to stay beside positions, got all of them: {', '.join(fields)}; "
            "nothing was changed. To remove the samples, use noether-zarr remove STORE --sample"
        )
    found = {
        domain: {name: one for name, one in arrays.items() if name in fields} for domain, arrays in layouts.items()
    }
    return {domain: arrays for domain, arrays in found.items() if arrays}


def begin_field_removal(manifest: StoreManifest, fields: PendingFields) -> StoreManifest:
    """Return a manifest without fields, which says that they are being removed."""
    names = {field for arrays in fields.values() for field in arrays}
    removing = {domain: dict(arrays) for domain, arrays in manifest.removing_fields.items()}
    for domain, arrays in fields.items():
        removing.setdefault(domain, {}).update(arrays)
    samples = SampleLines.of(manifest.samples, manifest.domains, "manifest.json")
    changed = {sample_id: entry_without(samples[sample_id], names) for sample_id in samples}
    return manifest.model_copy(
        update={
            "domains": without_fields(manifest.domains, names),
            "samples": samples | {one: entry for one, entry in changed.items() if entry is not None},
            "pending_fields": _without(manifest.pending_fields, names),
            "removing_fields": {domain: dict(sorted(removing[domain].items())) for domain in sorted(removing)},
        }
    )


def end_field_removal(manifest: StoreManifest, fields: PendingFields) -> StoreManifest:
    """Return a manifest that forgets fields whose objects are gone."""
    names = {field for arrays in fields.values() for field in arrays}
    return manifest.model_copy(update={"removing_fields": _without(manifest.removing_fields, names)})


def entry_without(entry: SampleEntry, fields: AbstractSet[str]) -> SampleEntry | None:
    """Return the entry of a sample without what it says of fields; None where it says nothing of them."""
    if not fields & entry.fidelity.keys() and not fields & set(entry.added_fields):
        return None
    return replace(
        entry,
        fidelity={field: lost for field, lost in entry.fidelity.items() if field not in fields},
        added_fields=tuple(field for field in entry.added_fields if field not in fields),
    )


def _without(pending: PendingFields, fields: AbstractSet[str]) -> PendingFields:
    left = {
        domain: {name: one for name, one in arrays.items() if name not in fields} for domain, arrays in pending.items()
    }
    return {domain: arrays for domain, arrays in left.items() if arrays}
