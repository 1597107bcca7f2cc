"""Pending fields: fields that the manifest lists before their first object is written. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noether.data.zarr_store.errors import ManifestConflictError, OriginalOrderError, UnknownNameError
from noether.data.zarr_store.manifest.added_fields import PendingFields, placed, placed_pending, sorted_pending
from noether.data.zarr_store.manifest.lines import added_by_sample

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = ["PendingField", "declared", "pending_of", "require_addable", "require_joined", "require_staying"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PendingField:
    """A field that some samples lack.

    Attributes
    ----------
    field, domain : str
        Canonical name and domain.
    n_samples : int
        Number of samples that have the domain.
    lacking : tuple of str
        Ids of the samples that have the domain and lack the field.
    """

    field: str
    domain: str
    n_samples: int
    lacking: tuple[str, ...]


def pending_of(manifest: StoreManifest) -> list[PendingField]:
    """Return the pending fields of a store with the samples that lack them, by name."""
    pending = placed_pending(manifest.pending_fields)
    samples = list(added_by_sample(manifest.samples)) if pending else []
    found = []
    for field, (domain, _) in sorted(pending.items()):
        having = [(sample_id, field in added) for sample_id, domains, added in samples if domain in domains]
        lacking = tuple(sample_id for sample_id, has in having if not has)
        found.append(PendingField(field, domain, len(having), lacking))
    return found


def require_joined(manifest: StoreManifest, fields: Iterable[str]) -> Collection[str]:
    """Return `fields`; raise `UnknownNameError` with the ids of samples that lack the field if a field is pending."""
    fields = fields if isinstance(fields, str) else list(fields)
    asked = placed_pending(manifest.pending_fields).keys() & set(fields)
    for one in pending_of(manifest) if asked else ():
        if one.field in asked:
            raise UnknownNameError(_why_pending(one))
    return fields


def _why_pending(one: PendingField) -> str:
    """Return the message of the error for a pending field."""
    if not one.lacking:
        return (
            f"field {one.field!r} is pending: all samples with its domain have it, but the manifest does not "
            "list it yet; run noether-zarr repair STORE"
        )
    shown = ", ".join(map(repr, one.lacking[:_SHOWN])) + (", …" if len(one.lacking) > _SHOWN else "")
    return (
        f"field {one.field!r} is pending: {len(one.lacking):,} of {one.n_samples:,} samples lack it ({shown}); add it "
        f"to them with noether-zarr add-fields STORE SOURCE, or remove it with noether-zarr remove STORE --field "
        f"{one.field}"
    )


def require_staying(manifest: StoreManifest, fields: Iterable[str], origin: str) -> None:
    """Raise `ManifestConflictError` if one of the fields to add is being removed."""
    removing = placed_pending(manifest.removing_fields)
    for field in fields:
        if field in removing:
            raise ManifestConflictError(
                f"{origin}: field {field!r} is being removed; finish its removal first: noether-zarr remove STORE "
                f"--field {field}"
            )


def declared(manifest: StoreManifest, fields: PendingFields, origin: str) -> StoreManifest:
    """Return the manifest with these fields; fields that are new to it become pending.

    Raises
    ------
    ManifestConflictError
        The manifest has one of the fields with another layout, or is removing it.
    """
    known = placed(manifest.domains) | placed_pending(manifest.pending_fields)
    require_staying(manifest, (field for arrays in fields.values() for field in arrays), origin)
    pending = {domain: dict(arrays) for domain, arrays in manifest.pending_fields.items()}
    for domain, arrays in fields.items():
        for field, array in arrays.items():
            if field not in known:
                pending.setdefault(domain, {})[field] = array
            elif known[field] != (domain, array):
                there = known[field].layout
                raise ManifestConflictError(
                    f"{origin}: field {field!r}: expected {there.dtype} x {there.dim}, as in the store, got "
                    f"{array.dtype} x {array.dim}; use the dtype and width of the store, or another name"
                )
    if pending == manifest.pending_fields:
        return manifest
    return manifest.model_copy(update={"pending_fields": sorted_pending(pending)})


def require_addable(manifest: StoreManifest, where: str) -> None:
    """Raise `OriginalOrderError` if no field can be added to a store, because the order of its points is unknown."""
    if manifest.copied_from is not None:
        origin = manifest.copied_from
        raise OriginalOrderError(
            f"{where}: no field can be added: the store has {origin.fraction:g} of the points of {origin.store_root}; "
            "add the field to that store, and copy it again"
        )
    if manifest.shuffle_algorithm is None:
        raise OriginalOrderError(
            f"{where}: no field can be added: the store names no shuffle algorithm, so the order of its points is "
            "unknown; convert the source into another store with all fields"
        )
