"""Writers that add fields to the samples of a store, with the store's settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from numpy.typing import DTypeLike

from noether.data.schemas import FileMap
from noether.data.zarr_store.convert.writers import NamedSettings, open_writer
from noether.data.zarr_store.errors import ArgumentError, nearest_names
from noether.data.zarr_store.layout import POSITION, FieldSpec, present_specs
from noether.data.zarr_store.manifest import (
    MANIFEST_NAME,
    PendingFields,
    StoreManifest,
    declared,
    later_fields,
    require_addable,
)
from noether.data.zarr_store.stores import join, normalize_root
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import NonFinite

__all__ = ["fields_of_writer", "open_field_writer"]


def open_field_writer(
    store_root: str | os.PathLike[str],
    filemap: FileMap,
    *,
    fields: Iterable[str] | None = None,
    field_dtypes: Mapping[str, DTypeLike] | None = None,
    non_finite: NonFinite = "raise",
    storage_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    field_attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> ZarrStoreWriter:
    """Open a writer for `add_fields`, which adds fields to the samples of a store.

    Parameters
    ----------
    store_root, non_finite, storage_options, threads, field_attributes
        See `ZarrStoreWriter`.
    filemap : FileMap
        The fields of the source.
    fields : iterable of str, optional
        Canonical names of the fields to add. The default is all fields of `filemap` that the samples of the store were
        not converted with.
    field_dtypes : mapping of str to dtype-like, optional
        Stored dtypes by canonical field name. The default is the store's dtype for values.

    Returns
    -------
    ZarrStoreWriter
        A writer whose file map has the fields, and the positions of their domains.

    Raises
    ------
    ArgumentError
        There is no field to add, the source lacks a field, the store lacks the domain of a field, a field is a
        position, or the samples were converted with a field.
    ManifestError
        There is no store.
    ManifestConflictError
        The store knows a field with another dtype or width, or a removal of the field has not ended.
    OriginalOrderError
        The store holds a subset of the points, or was shuffled by another program.
    """
    root = normalize_root(store_root)
    there, where = StoreManifest.load(root, storage_options=storage_options), join(root, MANIFEST_NAME)
    require_addable(there, where)
    chosen = _chosen_specs(there, filemap, fields, where)
    names = {spec.field for spec in chosen}
    named: NamedSettings = {} if field_dtypes is None else {"field_dtypes": field_dtypes}
    writer = open_writer(
        root,
        _narrowed(filemap, chosen),
        there.dataset_name,
        adds_fields=True,
        non_finite=non_finite,
        storage_options=storage_options,
        threads=threads,
        field_attributes={field: one for field, one in (field_attributes or {}).items() if field in names},
        **named,
    )
    declared(writer.manifest, _layouts_of(names, writer), where)
    return writer


def _layouts_of(fields: Collection[str], writer: ZarrStoreWriter) -> PendingFields:
    return {
        domain: {field: array for field, array in layout.arrays.items() if field in fields}
        for domain, layout in writer.layouts.items()
    }


def fields_of_writer(writer: ZarrStoreWriter) -> dict[str, str]:
    """Return the domains of the fields that a writer adds, by canonical name."""
    specs = present_specs(writer.filemap)
    converted = _converted_fields(writer.manifest)
    return {spec.field: spec.domain for spec in specs if spec.name != POSITION and spec.field not in converted}


def _chosen_specs(there: StoreManifest, filemap: FileMap, named: Iterable[str] | None, where: str) -> list[FieldSpec]:
    specs = {spec.field: spec for spec in present_specs(filemap)}
    converted = _converted_fields(there)
    if named is None:
        chosen = [
            spec
            for field, spec in specs.items()
            if spec.name != POSITION and field not in converted and spec.domain in there.domains
        ]
        if not chosen:
            raise ArgumentError(
                f"{where}: no field to add: the samples were converted with all fields that the source has for the "
                f"domains of the store ({', '.join(sorted(converted))}); use a source that has other fields"
            )
        return chosen
    return [_checked_spec(field, specs, converted, there.domains, where) for field in dict.fromkeys(named)]


def _checked_spec(
    field: str, specs: Mapping[str, FieldSpec], converted: Collection[str], domains: Collection[str], where: str
) -> FieldSpec:
    spec = specs.get(field)
    if spec is None:
        raise ArgumentError(f"field {field!r} is not in the source; {nearest_names(field, specs)}")
    if spec.domain not in domains:
        raise ArgumentError(
            f"{where}: field {field!r}: expected a field of {', '.join(domains)}, got a field of {spec.domain!r}, a "
            "domain that the store lacks; convert the source into another store"
        )
    if spec.name == POSITION:
        raise ArgumentError(f"field {field!r} is a position, which every domain has already; name another field")
    if field in converted:
        raise ArgumentError(
            f"{where}: field {field!r}: expected a field that the samples lack, but they were converted with it; to "
            f"replace it, remove it first with noether-zarr remove STORE --field {field}"
        )
    return spec


def _converted_fields(manifest: StoreManifest) -> set[str]:
    """Return the fields that the samples of a store were converted with."""
    all_fields = {field for layout in manifest.domains.values() for field in layout.arrays}
    return all_fields - later_fields(manifest)


def _narrowed(filemap: FileMap, chosen: Iterable[FieldSpec]) -> FileMap:
    """Return a file map that has only the specified fields and the positions of their domains."""
    specs = list(chosen)
    domains = {spec.domain for spec in specs}
    kept = {spec.attribute for spec in specs}
    kept |= {spec.attribute for spec in present_specs(filemap) if spec.name == POSITION and spec.domain in domains}
    return filemap.model_copy(update=dict.fromkeys(type(filemap).model_fields.keys() - kept))
