"""Writers for stores that may be there already: settings that nobody names are those of the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from numpy.typing import ArrayLike, DTypeLike

from noether.data.schemas import FileMap
from noether.data.zarr_store.core import Grid, chunk_points_by_domain
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.manifest import MANIFEST_NAME, StoreManifest, stored_field_attributes
from noether.data.zarr_store.stores import join, normalize_root, open_storage
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import NonFinite, StoreSettings, WriterSettings

__all__ = ["NamedSettings", "open_writer"]

# Chunks and shards are each sample's own; all samples share the other settings.
_OWN_TO_A_SAMPLE = {"chunk_points": "--chunk-points", "shard_points": "--shard-points"}
_SHARED = {
    "dataset_name": "--name",
    "shuffle_seed": "--seed",
    "coords_dtype": "--coords-dtype",
    "values_dtype": "--values-dtype",
    "field_dtypes": "--field-dtype",
    "compression_level": "--compression-level",
    "checksum": "--checksum",
    "origin": "--origin",
}


class NamedSettings(TypedDict, total=False):
    """Parameters of `ZarrStoreWriter` that a store remembers; one that is missing is not named."""

    dataset_name: str
    shuffle_seed: int
    chunk_points: int | Mapping[str, int]
    shard_points: int
    coords_dtype: DTypeLike
    values_dtype: DTypeLike
    field_dtypes: Mapping[str, DTypeLike]
    compression_level: int
    checksum: bool
    origin: ArrayLike


def open_writer(
    store_root: str | os.PathLike[str],
    filemap: FileMap,
    default_name: str,
    *,
    overwrite: bool = False,
    adds_fields: bool = False,
    non_finite: NonFinite = "raise",
    storage_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    field_attributes: Mapping[str, Mapping[str, str]] | None = None,
    **named: Unpack[NamedSettings],
) -> ZarrStoreWriter:
    """Open a writer that adds to a store with the settings of the store.

    A setting that is not named is that of the store; in a new store, it has the default of `ZarrStoreWriter`. Of
    chunks and shards, the store's setting is the one that most samples were written with.

    Parameters
    ----------
    store_root, filemap, adds_fields, non_finite, storage_options, threads, field_attributes
        See `ZarrStoreWriter`.
    default_name : str
        The name of the dataset in a new store, unless `dataset_name` is named.
    overwrite : bool
        Allow other chunks and shards than those of the samples that are there: they are to be converted anew.
    **named
        The settings that are named; see `ZarrStoreWriter`. A domain or field that a mapping lacks is not named.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the store has another setting than is named.
    ManifestConflictError
        The store has other fields, or this release cannot add to it.
    """
    root = normalize_root(store_root)
    rest: dict[str, Any] = {
        "non_finite": non_finite,
        "storage_options": storage_options,
        "threads": threads,
        "field_attributes": field_attributes,
        "adds_fields": adds_fields,
    }
    there = StoreManifest.load_if_there(root, storage_options=storage_options)
    if there is None:
        of_new: dict[str, Any] = {"dataset_name": default_name, **named}
        return ZarrStoreWriter(root, filemap, **of_new, **rest)
    of_store = StoreSettings.of(there, join(root, MANIFEST_NAME)).to_init_kwargs(filemap)
    merged = _merged(of_store, named)
    wanted = WriterSettings.checked(store_root=root, filemap=filemap, **merged, **rest)
    _require_no_conflict(there, of_store, wanted, named, overwrite=overwrite)
    if not overwrite:
        _require_same_units(there, wanted)
    writer = ZarrStoreWriter(root, filemap, **merged, **rest)
    if not adds_fields:
        writer.require_no_new_fields()
    return writer


def _require_same_units(there: StoreManifest, wanted: WriterSettings) -> None:
    """Check that the samples of a store, as far as the first one tells, have the units that a writer would give."""
    if not any("units" in attributes for attributes in wanted.field_attributes.values()):
        return
    storage = open_storage(wanted.store_root, wanted.storage_options)
    stored = stored_field_attributes(storage, there.domains, there.samples.values())
    for field, attributes in wanted.field_attributes.items():
        unit, former = attributes.get("units"), stored.get(field, {}).get("units")
        if unit is not None and former is not None and unit != former:
            raise ArgumentError(
                f"{join(wanted.store_root, MANIFEST_NAME)}: units of {field}: the store has {former!r}, the source "
                f"{unit!r}. Write to another store; if the unit was wrong, convert all samples anew with --overwrite."
            )


def _merged(of_store: Mapping[str, Any], named: NamedSettings) -> dict[str, Any]:
    """Return the settings of a store with those that are named in their place, by domain or field where they are."""
    merged = {**of_store, **named}
    for key in ("chunk_points", "field_dtypes"):
        if isinstance(merged[key], Mapping):
            merged[key] = {**of_store[key], **merged[key]}
    return merged


def _require_no_conflict(
    there: StoreManifest, of_store: Mapping[str, Any], wanted: WriterSettings, named: NamedSettings, *, overwrite: bool
) -> None:
    shared = _shared_conflicts(of_store, wanted, named)
    own = {} if overwrite else _grid_conflicts(there, wanted, named)
    if not shared and not own:
        return
    differences = [f"{key}: the store has {stored}, {asked} is asked for" for key, stored, asked in [*shared, *own]]
    text = [f"{join(wanted.store_root, MANIFEST_NAME)}: {'; '.join(differences)}."]
    if shared:
        text.append(
            f"All samples of a store share {_listed(key for key, *_ in shared)}: leave "
            f"{_listed(_SHARED[key] for key, *_ in shared)} out, or write to another store."
        )
        if not there.samples:
            text.append("The store has no samples: its manifest may be deleted.")
    if own:
        options = _listed(_OWN_TO_A_SAMPLE[key] for key, *_ in own)
        text.append(f"Leave {options} out, or convert the samples anew with --overwrite.")
    raise ArgumentError(" ".join(text))


def _shared_conflicts(
    of_store: Mapping[str, Any], wanted: WriterSettings, named: NamedSettings
) -> list[tuple[str, object, object]]:
    """List the settings of all samples that are named otherwise: name, the store's, and the one that is named."""
    pairs = [(key, of_store[key], getattr(wanted, key)) for key in _SHARED if key in named and key != "field_dtypes"]
    found = [(key, stored, asked) for key, stored, asked in pairs if stored != asked]
    for field in named.get("field_dtypes", ()):
        stored, asked = of_store["field_dtypes"].get(field), (wanted.field_dtypes or {})[field]
        if stored not in (None, asked):  # the writer refuses a field that the store lacks
            found.append(("field_dtypes", f"{field}={stored}", f"{field}={asked}"))
    return found


def _grid_conflicts(
    there: StoreManifest, wanted: WriterSettings, named: NamedSettings
) -> list[tuple[str, object, object]]:
    """List the settings of chunks and shards that some sample was not written with, with the first such domain."""
    chunk_points = chunk_points_by_domain(wanted.chunk_points, wanted.layouts)
    named_chunks = named.get("chunk_points", {})
    by_chunk = chunk_points.keys() & (named_chunks if isinstance(named_chunks, Mapping) else chunk_points)
    found: dict[str, tuple[object, object]] = {}
    for sample_id, entry in there.samples.items() if by_chunk or "shard_points" in named else ():
        for domain, grid in ((domain, sample.grid) for domain, sample in entry.domains.items()):
            where = f"({domain} of {sample_id!r})"
            if domain in by_chunk and min(chunk_points[domain], grid.n_points) != grid.chunk_points:
                found.setdefault("chunk_points", (f"{grid.chunk_points} {where}", chunk_points[domain]))
            if "shard_points" in named and Grid.fit(grid.n_points, grid.chunk_points, wanted.shard_points) != grid:
                found.setdefault("shard_points", (f"{grid.shard_points} {where}", wanted.shard_points))
    return [(key, stored, asked) for key, (stored, asked) in found.items()]


def _listed(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(names))
