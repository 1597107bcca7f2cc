"""Summary of a store in numbers: points, chunks, bytes, and cast losses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest, pending_of, stored_field_attributes
from noether.data.zarr_store.stores import StoredObject, normalize_root, open_storage

__all__ = ["DomainSummary", "FieldSummary", "PendingSummary", "SplitSummary", "StoreSummary", "summarize"]

# Possible dtypes of source arrays; the manifest of another program may contain anything.
_SOURCE_DTYPES = {np.dtype(code).name: np.dtype(code) for code in np.typecodes["AllInteger"] + np.typecodes["Float"]}


@dataclass(slots=True)
class FieldSummary:
    """One field over the samples that have it.

    Attributes
    ----------
    field, dtype : str
        Canonical name and stored dtype.
    units, long_name : str or None
        Unit and description, from the first sample that has the domain; None if its array has none.
    stored_bytes : int
        Bytes of the objects of the field.
    source_bytes : int or None
        Bytes of the source arrays; None if the store does not record them.
    max_abs_error, max_rel_error : float or None
        Largest cast errors; None if the store does not record them. See `manifest.FieldFidelity`.
    flushed_to_zero : int or None
        Number of nonzero values that are stored as zero; None if the store does not record it.
    n_needing_float64 : int
        Number of samples whose positions need more digits than float32, or a narrower stored dtype, can hold.
    """

    field: str
    dtype: str
    units: str | None = None
    long_name: str | None = None
    stored_bytes: int = 0
    source_bytes: int | None = 0
    max_abs_error: float | None = 0.0
    max_rel_error: float | None = 0.0
    flushed_to_zero: int | None = 0
    n_needing_float64: int = 0


@dataclass(slots=True)
class DomainSummary:
    """One domain over the samples that have it.

    Attributes
    ----------
    domain : str
        Name of the domain.
    n_samples : int
        Number of samples that have the domain.
    points_min, points_max : int
        Smallest and largest number of points of a sample.
    points, chunks, shards : int
        Total number of points, and of the chunks and shards of one field, over all samples.
    chunk_points : list of int
        Sizes of the chunks, without duplicates, in points.
    stored_bytes : int
        Bytes of all objects of the domain's fields.
    source_bytes : int or None
        Bytes of the source arrays; None if the store does not record them.
    fields : list of FieldSummary
        Fields of the domain.
    """

    domain: str
    n_samples: int = 0
    points_min: int = 0
    points_max: int = 0
    points: int = 0
    chunks: int = 0
    shards: int = 0
    chunk_points: list[int] = field(default_factory=list)
    stored_bytes: int = 0
    source_bytes: int | None = 0
    fields: list[FieldSummary] = field(default_factory=list)


@dataclass(slots=True)
class SplitSummary:
    """One split.

    Attributes
    ----------
    split : str
        Name of the split.
    n_samples, n_missing : int
        Number of samples in the split, and number of them that the store lacks.
    """

    split: str
    n_samples: int
    n_missing: int


@dataclass(slots=True)
class PendingSummary:
    """A pending field: an added field that some samples still lack.

    Attributes
    ----------
    field, domain : str
        Canonical name and domain.
    n_samples, n_lacking : int
        Number of samples that have the domain, and number of them that lack the field.
    """

    field: str
    domain: str
    n_samples: int
    n_lacking: int


@dataclass(slots=True)
class StoreSummary:
    """Summary of a store, or of one of its samples.

    Attributes
    ----------
    store_root, dataset_name : str
        Path or URL of the store, and name of the dataset.
    sample_id : str or None
        Id of the sample; None for a store.
    n_samples : int
        Number of samples in the summary.
    shuffle_seed : int
        Seed of the shuffle.
    shuffle_algorithm : str or None
        Algorithm of the shuffle; None if it is unknown.
    compressor : str
        Codec and level.
    checksum : bool
        Whether each chunk carries a crc32c.
    origin : tuple of three floats, or None
        Origin that was subtracted from all positions.
    n_objects, total_bytes : int
        Number and bytes of the objects of the store or the sample, including metadata.
    attributes : dict
        Attributes of the sample; empty for a store.
    splits : list of SplitSummary
        All splits of the store, or the splits that contain the sample.
    domains : list of DomainSummary
        Domains of the store or the sample.
    pending : list of PendingSummary
        Pending fields of the store; empty for a sample.
    """

    store_root: str
    dataset_name: str
    sample_id: str | None
    n_samples: int
    shuffle_seed: int
    shuffle_algorithm: str | None
    compressor: str
    checksum: bool
    origin: tuple[float, float, float] | None
    n_objects: int
    total_bytes: int
    attributes: dict[str, Any]
    splits: list[SplitSummary]
    domains: list[DomainSummary]
    pending: list[PendingSummary]


def summarize(
    store_root: str | os.PathLike[str],
    sample_id: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> StoreSummary:
    """Return the summary of a store, or of one of its samples.

    The function reads the manifest and the root of the first sample of each domain, and lists the objects once.

    Raises
    ------
    ManifestError
        There is no store.
    UnknownNameError
        The store has no such sample.
    """
    root = normalize_root(store_root)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    # An entry is parsed at each access, and is used several times here.
    entries = dict(manifest.samples) if sample_id is None else {sample_id: manifest.sample(sample_id)}
    prefix = "" if sample_id is None else entries[sample_id].relpath
    storage = open_storage(root, storage_options)
    objects = list(storage.objects(prefix))
    sizes = _bytes_by_array(objects)
    meanings = stored_field_attributes(storage, manifest.domains, entries.values())
    return StoreSummary(
        store_root=root,
        dataset_name=manifest.dataset_name,
        sample_id=sample_id,
        n_samples=len(entries),
        shuffle_seed=manifest.shuffle_seed,
        shuffle_algorithm=manifest.shuffle_algorithm,
        compressor=manifest.compressor,
        checksum=manifest.checksum,
        origin=manifest.origin,
        n_objects=len(objects),
        total_bytes=sum(item.size for item in objects),
        attributes={} if sample_id is None else dict(entries[sample_id].attributes),
        splits=[
            SplitSummary(name, len(ids), sum(listed not in manifest.samples for listed in ids))
            for name, ids in manifest.splits.items()
            if sample_id is None or sample_id in ids
        ],
        domains=[
            _sum_up_domain(
                manifest, domain, [entry for entry in entries.values() if domain in entry.domains], sizes, meanings
            )
            for domain in manifest.domains
            if any(domain in entry.domains for entry in entries.values())
        ],
        pending=[
            PendingSummary(one.field, one.domain, one.n_samples, len(one.lacking))
            for one in pending_of(manifest)
            if sample_id is None
        ],
    )


def _bytes_by_array(objects: Iterable[StoredObject]) -> dict[str, int]:
    """Return the bytes of each array: the sizes of ``<array>/zarr.json`` and of all ``<array>/c/<i>/0``."""
    sizes: dict[str, int] = {}
    for item in objects:
        parts = item.key.split("/")
        path = "/".join(parts[:-1] if parts[-1] == ROOT_KEY else parts[:-3])
        sizes[path] = sizes.get(path, 0) + item.size
    return sizes


def _sum_up_domain(
    manifest: StoreManifest,
    domain: str,
    entries: list[SampleEntry],
    sizes: Mapping[str, int],
    meanings: Mapping[str, Mapping[str, str]],
) -> DomainSummary:
    grids = [entry.domains[domain].grid for entry in entries]
    summary = DomainSummary(
        domain,
        n_samples=len(entries),
        points_min=min(grid.n_points for grid in grids),
        points_max=max(grid.n_points for grid in grids),
        points=sum(grid.n_points for grid in grids),
        chunks=sum(grid.n_chunks for grid in grids),
        shards=sum(grid.n_shards for grid in grids),
        chunk_points=sorted({grid.chunk_points for grid in grids}),
    )
    for layout in manifest.domains[domain].arrays.values():
        meaning = meanings.get(layout.field, {})
        one = FieldSummary(layout.field, layout.dtype, meaning.get("units"), meaning.get("long_name"))
        for entry in entries:
            one.stored_bytes += sizes.get(f"{entry.relpath}/{layout.array_name}", 0)
            _add_fidelity(one, entry, entry.domains[domain].n_points * layout.dim)
        summary.fields.append(one)
        summary.stored_bytes += one.stored_bytes
        summary.source_bytes = (
            None
            if summary.source_bytes is None or one.source_bytes is None
            else summary.source_bytes + one.source_bytes
        )
    return summary


def _add_fidelity(summary: FieldSummary, entry: SampleEntry, n_values: int) -> None:
    """Add one sample to a summary; a value that one sample lacks becomes None in the summary."""
    fidelity = entry.fidelity.get(summary.field)
    summary.n_needing_float64 += fidelity is not None and fidelity.needs_float64
    if fidelity is None or fidelity.source_dtype not in _SOURCE_DTYPES:
        summary.source_bytes = summary.max_abs_error = summary.max_rel_error = summary.flushed_to_zero = None
    if fidelity is None or summary.source_bytes is None:
        return
    summary.source_bytes += n_values * _SOURCE_DTYPES[fidelity.source_dtype].itemsize
    summary.max_abs_error = max(summary.max_abs_error or 0.0, fidelity.max_abs_error)
    summary.max_rel_error = max(summary.max_rel_error or 0.0, fidelity.max_rel_error)
    summary.flushed_to_zero = (summary.flushed_to_zero or 0) + fidelity.flushed_to_zero
