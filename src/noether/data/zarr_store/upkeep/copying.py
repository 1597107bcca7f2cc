"""Copies of stores, or of a fraction of their points: chunks are copied without decompression.

Points are shuffled. So the first chunks of a domain hold a uniform random subset of its points, and make a valid store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

from noether.data.zarr_store.codec import ContentChecksum
from noether.data.zarr_store.core import CHECKSUM_KEY, ROOT_KEY, Grid, positive_int
from noether.data.zarr_store.errors import ArgumentError, ManifestError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout, require_fields
from noether.data.zarr_store.manifest import CopyOrigin, DomainSample, SampleEntry, StoreManifest, select_samples
from noether.data.zarr_store.reading import OpenSample, ShardAccess, write_chunk_index
from noether.data.zarr_store.stores import Storage, normalize_root, open_storage
from noether.data.zarr_store.writing import GroupArray, group_objects

__all__ = ["CopyReport", "copy_store", "leading_grid"]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The result of a copy.

    Attributes
    ----------
    copied, skipped : int
        Number of samples that were copied, and of samples that the destination had before.
    n_bytes : int
        Bytes of the shards that were written.
    """

    copied: int
    skipped: int
    n_bytes: int


def copy_store(
    store_root: str,
    destination: str,
    *,
    fraction: float = 1.0,
    split: str | None = None,
    sample_ids: Iterable[str] | None = None,
    fields: Iterable[str] | None = None,
    workers: int = 8,
    storage_options: Mapping[str, Any] | None = None,
    destination_options: Mapping[str, Any] | None = None,
    on_sample: Callable[[str, int | None], None] | None = None,
) -> CopyReport:
    """Copy a store, or some of its samples, fields and points, to another path or URL.

    Samples that the destination has already are skipped, so that the same call resumes an interrupted copy.

    Parameters
    ----------
    store_root, destination : str
        Paths or URLs of the store and of its copy.
    fraction : float
        Fraction of the points of each domain, above 0 and at most 1. The first chunks are copied; their number is
        rounded up.
    split, sample_ids : str, iterable of str, optional
        The samples to copy: those of a split, or these ids; all by default. Splits keep the samples that are copied.
    fields : iterable of str, optional
        Canonical names of the fields to copy; the positions of their domains are copied, too.
    workers : int
        Number of threads, each of which copies one sample at a time.
    storage_options, destination_options : mapping, optional
        Options of the file systems of the store and of its copy; see `stores.open_storage`.
    on_sample : callable of (str, int or None), optional
        Callback for each finished sample, called from any thread with the sample id, and with the bytes of its shards,
        or None if the destination had the sample before.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the store has arrays whose chunks cannot be copied without decompression.
    UnknownNameError
        The store has no such split, sample or field.
    ManifestConflictError
        The destination contains a store with other settings.
    CorruptDataError
        A chunk does not match its checksum. Samples that were copied before stay in the destination.
    StorageError
        A store cannot be reached.
    """
    root, target = normalize_root(store_root), normalize_root(destination)
    if root == target:
        raise ArgumentError(f"destination: got the path of the store itself, {destination!r}; use another path")
    manifest = StoreManifest.load(root, storage_options=storage_options)
    chosen = select_samples(manifest, split, sample_ids)
    share = _checked_fraction(fraction)
    settings = _settings_of_copy(manifest, root, share, fields, chosen)
    there = StoreManifest.load_if_there(target, storage_options=destination_options)
    if there is not None:
        there.require_same_settings(settings, target)
    copier = _Copier(
        manifest, settings, share, open_storage(root, storage_options), open_storage(target, destination_options)
    )

    def copy_one(sample_id: str) -> tuple[str, SampleEntry, int | None]:
        entry, size = copier.copy(sample_id)
        if on_sample is not None:
            on_sample(sample_id, size)
        return sample_id, entry, size

    made = settings.model_copy(update={"samples": {}})
    n_bytes: list[int | None] = []
    try:
        with ThreadPoolExecutor(positive_int(workers, "workers"), thread_name_prefix="noether-copy") as pool:
            for sample_id, entry, size in pool.map(copy_one, chosen):
                made.samples[sample_id] = entry
                n_bytes.append(size)
    finally:
        if made.samples:
            made.save(target, storage_options=destination_options)
    write_chunk_index(target, storage_options=destination_options)
    copied = [size for size in n_bytes if size is not None]
    return CopyReport(len(copied), len(n_bytes) - len(copied), sum(copied))


def leading_grid(grid: Grid, fraction: Fraction) -> Grid:
    """Return the grid of the first chunks of a domain; `fraction` times the number of chunks is rounded up."""
    n_chunks = ceil(grid.n_chunks * fraction)
    if n_chunks == grid.n_chunks:
        return grid
    n_points = n_chunks * grid.chunk_points
    return Grid(n_points, grid.chunk_points, min(grid.shard_points, n_points))


class _Copier:
    """Copies samples one at a time; safe to use from many threads."""

    def __init__(
        self,
        manifest: StoreManifest,
        settings: StoreManifest,
        fraction: Fraction,
        source: Storage,
        target: Storage,
    ) -> None:
        self._manifest = manifest
        self._settings = settings
        self._fraction = fraction
        self._source = source
        self._target = target

    def copy(self, sample_id: str) -> tuple[SampleEntry, int | None]:
        """Copy a sample; return its entry, and the bytes of its shards, or None if the target had the sample before."""
        entry = self._entry_of_copy(sample_id)
        key = f"{entry.relpath}/{ROOT_KEY}"
        present = self._target.read_if_there(key)
        copied = None if present is None else self._copied_before(sample_id, entry, present)
        if copied is not None:
            return copied, None
        sizes: list[int] = []
        relpath, missing_is_error = self._manifest.sample(sample_id).relpath, self._manifest.promises_all_chunks
        sample = OpenSample(ShardAccess(self._source), sample_id, relpath, missing_is_error)
        domains = (
            (domain, self._arrays(sample, domain, entry.domains[domain].grid, sizes)) for domain in entry.domains
        )

        def attributes_for(content: dict[str, str]) -> dict[str, Any]:
            nonlocal entry
            entry = replace(entry, content_crc32c=content)
            return self._settings.as_group_attributes(sample_id, entry)

        self._target.write_group(entry.relpath, group_objects(domains, attributes_for))
        return entry, sum(sizes)

    def _copied_before(self, sample_id: str, entry: SampleEntry, document: bytes) -> SampleEntry | None:
        """Return the entry of a group, from its root, if the group is a copy of the sample; return None otherwise.

        The content checksums of a fraction of a sample are unknown before its chunks are copied.
        """
        try:
            content = StoreManifest.of_group(document, sample_id).sample(sample_id).content_crc32c
        except (ManifestError, UnknownNameError):
            return None
        if entry.content_crc32c and content and content != entry.content_crc32c:
            return None
        copied = replace(entry, content_crc32c=content)
        attributes = self._settings.as_group_attributes(sample_id, copied)
        return copied if _attributes_of(document) == json.loads(json.dumps(attributes)) else None

    def _entry_of_copy(self, sample_id: str) -> SampleEntry:
        entry = self._manifest.sample(sample_id)
        domains = {
            domain: DomainSample.of(leading_grid(found.grid, self._fraction))
            for domain, found in entry.domains.items()
            if domain in self._settings.domains
        }
        fields = {field for domain in domains for field in self._settings.domains[domain].arrays}
        # The cast losses, the content checksums and the fingerprint belong to all points of the sample.
        whole = self._fraction == 1
        fidelity = {field: lost for field, lost in entry.fidelity.items() if whole and field in fields}
        content = {field: digits for field, digits in entry.content_crc32c.items() if whole and field in fields}
        return replace(
            entry,
            domains=domains,
            fidelity=fidelity,
            fingerprint=entry.fingerprint if whole else None,
            lengths_crc32c=None,
            content_crc32c=content,
            # The copy has all fields from the beginning.
            added_fields=(),
        )

    def _arrays(self, sample: OpenSample, domain: str, grid: Grid, sizes: list[int]) -> Iterator[GroupArray]:
        whole = self._manifest.sample(sample.sample_id).domains[domain].grid
        for layout in self._settings.domains[domain].arrays.values():
            where = f"sample {sample.sample_id!r}, field {layout.field}"
            path, shape = layout.array_name, (whole.n_points, layout.dim)
            array = sample.sharded_array(path, shape, whole.chunk_points, where)
            if array is None or array.chunks_per_shard * whole.chunk_points != whole.shard_points:
                raise ArgumentError(
                    f"{where}: the codecs or shards of the array cannot be copied without decompression; read the "
                    "sample with ZarrChunkReader, and write it with ZarrStoreWriter"
                )
            checksum = ContentChecksum(follows_chunks=array.codec.checksum)
            shards = (_counted(parts, sizes) for parts in array.leading_shards(grid, checksum))
            document = _metadata_of_copy(sample.metadata(path, where), grid, layout)
            yield GroupArray(layout.field, path, document, shards, checksum)


def _settings_of_copy(
    manifest: StoreManifest, root: str, fraction: Fraction, fields: Iterable[str] | None, sample_ids: list[str]
) -> StoreManifest:
    """Return the manifest of the copy, without its samples."""
    chosen = set(sample_ids)
    kept = {name: [sample_id for sample_id in ids if sample_id in chosen] for name, ids in manifest.splits.items()}
    update: dict[str, Any] = {
        "samples": {},
        "splits": {name: ids for name, ids in kept.items() if ids},
        "chunk_index": None,
        "pending_fields": {},
        "removing_fields": {},
        "domains": _domains_of_copy(manifest, fields),
    }
    if fraction < 1:
        update["copied_from"] = CopyOrigin(store_root=root, fraction=float(fraction))
        # The algorithm gives the order of all points of the original. For fewer points, it gives another order.
        if manifest.promises_all_chunks:
            update["shuffle_algorithm"] = f"{manifest.shuffle_algorithm}-leading"
    return manifest.model_copy(update=update)


def _domains_of_copy(manifest: StoreManifest, fields: Iterable[str] | None) -> dict[str, DomainLayout]:
    if fields is None:
        return manifest.domains
    asked = require_fields(fields, manifest.domains)
    domains = {}
    for domain, layout in manifest.domains.items():
        arrays = {field: array for field, array in layout.arrays.items() if field in asked or field == layout.position}
        if asked & layout.arrays.keys():
            domains[domain] = DomainLayout(layout.position, arrays)
    if not domains:
        raise ArgumentError("fields: expected at least one field, got none; name fields, or leave fields out for all")
    return domains


def _checked_fraction(fraction: object) -> Fraction:
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ArgumentError(
            f"fraction: expected a number above 0 and at most 1, got {fraction!r}; use 0.1 for a tenth of the points"
        )
    # The decimal text counts: 0.1 of ten chunks is one chunk, although the float is a little more than a tenth.
    return Fraction(str(fraction))


def _metadata_of_copy(metadata: Mapping[str, Any], grid: Grid, layout: ArrayLayout) -> bytes:
    chunk_grid = {"name": "regular", "configuration": {"chunk_shape": [grid.shard_points, layout.dim]}}
    return json.dumps({**metadata, "shape": [grid.n_points, layout.dim], "chunk_grid": chunk_grid}, indent=2).encode()


def _attributes_of(document: bytes) -> Any:
    try:
        attributes = json.loads(document)["attributes"]
        return {key: attributes[key] for key in attributes if key != CHECKSUM_KEY}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _counted(parts: Iterable[bytes], sizes: list[int]) -> Iterator[bytes]:
    for part in parts:
        sizes.append(len(part))
        yield part
