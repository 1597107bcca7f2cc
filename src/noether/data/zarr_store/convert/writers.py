"""Writers for new and existing stores: settings that the caller leaves out are taken from the store."""

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

# Each sample has its own sizes of chunks and shards; all samples share the other settings.
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
    """Parameters of `ZarrStoreWriter` that a store records; a missing key means the store's setting."""

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
    """Open a writer that adds samples or fields to a store, with the settings of the store.

    A setting that is left out is taken from the store; in a new store, it has the default of `ZarrStoreWriter`. The
    store's setting for chunks and shards is the size that most samples were written with.

    Parameters
    ----------
    store_root, filemap, adds_fields, non_finite, storage_options, threads, field_attributes
        See `ZarrStoreWriter`.
    default_name : str
        Name of the dataset in a new store, unless `dataset_name` is specified.
    overwrite : bool
        Whether chunks, shards and units may differ from those of the stored samples, because these samples are
        converted again.
    **named
        Settings to specify; see `ZarrStoreWriter`. A domain or field that is missing in a mapping keeps the store's
        setting.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or a specified setting differs from the store's.
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
    """Raise `ArgumentError` if a field has another unit in the first sample of its domain than in the writer."""
    if not any("units" in attributes for attributes in wanted.field_attributes.values()):
        return
    storage = open_storage(wanted.store_root, wanted.storage_options)
    stored = stored_field_attributes(storage, there.domains, there.samples.values())
    for field, attributes in wanted.field_attributes.items():
        unit, former = attributes.get("units"), stored.get(field, {}).get("units")
        if unit is not None and former is not None and unit != former:
            raise ArgumentError(
                f"{join(wanted.store_root, MANIFEST_NAME)}: units of {field}: expected {former!r} as in the store, got "
                f"{unit!r} from the source; write to another store or, if the stored unit is wrong, convert all "
                "samples again with --overwrite"
            )


def _merged(of_store: Mapping[str, Any], named: NamedSettings) -> dict[str, Any]:
    """Return the settings of a store, replaced by the specified settings; mappings are merged key by key."""
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
    differences = "; ".join(f"{key}: the store has {stored}, got {asked}" for key, stored, asked in [*shared, *own])
    remedies: list[str] = []
    if shared:
        options = _listed(_SHARED[key] for key, *_ in shared)
        remedies.append(f"leave out {options}, which all samples of a store share, or write to another store")
        if not there.samples:
            remedies[-1] += ", or delete the manifest of this store, which has no samples"
    if own:
        options = _listed(_OWN_TO_A_SAMPLE[key] for key, *_ in own)
        remedies.append(f"leave out {options}, or convert the samples again with --overwrite")
    remedy = ", and ".join(remedies)
    raise ArgumentError(f"{join(wanted.store_root, MANIFEST_NAME)}: {differences}; {remedy}")


def _shared_conflicts(
    of_store: Mapping[str, Any], wanted: WriterSettings, named: NamedSettings
) -> list[tuple[str, object, object]]:
    """Return the shared settings that differ from the store's: name, value in the store, and specified value."""
    pairs = [(key, of_store[key], getattr(wanted, key)) for key in _SHARED if key in named and key != "field_dtypes"]
    found = [(key, stored, asked) for key, stored, asked in pairs if stored != asked]
    for field in named.get("field_dtypes", ()):
        stored, asked = of_store["field_dtypes"].get(field), (wanted.field_dtypes or {})[field]
        if stored not in (None, asked):  # the writer rejects a field that the store lacks
            found.append(("field_dtypes", f"{field}={stored}", f"{field}={asked}"))
    return found


def _grid_conflicts(
    there: StoreManifest, wanted: WriterSettings, named: NamedSettings
) -> list[tuple[str, object, object]]:
    """Return the specified sizes of chunks and shards that differ from a sample's, with the first such domain."""
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
