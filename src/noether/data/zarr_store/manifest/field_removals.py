"""The manifest's record of fields that are being removed. Pure.

A removal of a field has three steps, as a removal of samples has. First, the manifest moves the field to
`removing_fields`. Then the field is removed from the roots of the groups, and its objects are deleted. Finally, the
manifest drops the field from `removing_fields`.
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
    """Return the layouts of fields that the store has, or is already removing, by domain.

    Raises
    ------
    UnknownNameError
        The store has no such field.
    ArgumentError
        A field is the position of its domain, or the store would keep only positions.
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
                f"field {field!r}: it is the position of its domain, and a domain without it has no points; nothing "
                "was changed; name other fields"
            )
    there = {field for layout in manifest.domains.values() for field in layout.arrays}
    if there & set(fields) and there <= positions.union(fields):
        raise ArgumentError(
            f"fields: expected at least one field to remain beside the positions, got all of them: "
            f"{', '.join(fields)}; nothing was changed; to remove samples, use noether-zarr remove STORE --sample"
        )
    found = {
        domain: {name: one for name, one in arrays.items() if name in fields} for domain, arrays in layouts.items()
    }
    return {domain: arrays for domain, arrays in found.items() if arrays}


def begin_field_removal(manifest: StoreManifest, fields: PendingFields) -> StoreManifest:
    """Return a manifest that has moved fields to `removing_fields`."""
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
    """Return a manifest that has dropped fields from `removing_fields`, after their objects were deleted."""
    names = {field for arrays in fields.values() for field in arrays}
    return manifest.model_copy(update={"removing_fields": _without(manifest.removing_fields, names)})


def entry_without(entry: SampleEntry, fields: AbstractSet[str]) -> SampleEntry | None:
    """Return the entry of a sample without some fields; None if the entry does not mention them."""
    marks = tuple(field for field in entry.added_fields if field not in fields)
    left = replace(entry.without_values_of(fields), added_fields=marks)
    return None if left == entry else left


def _without(pending: PendingFields, fields: AbstractSet[str]) -> PendingFields:
    left = {
        domain: {name: one for name, one in arrays.items() if name not in fields} for domain, arrays in pending.items()
    }
    return {domain: arrays for domain, arrays in left.items() if arrays}
