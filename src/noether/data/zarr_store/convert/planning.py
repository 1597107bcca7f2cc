"""What a conversion would do: samples, points, objects, bytes and memory, from the heads of files."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from noether.data.zarr_store.convert.executors.processes import ProcessExecutor
from noether.data.zarr_store.convert.task import fingerprint_of_sample, is_current
from noether.data.zarr_store.core import Grid, available_memory_bytes, memory_bytes, peak_memory_bytes
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.sources import DescribedSource, FieldDescription, SampleSource
from noether.data.zarr_store.stores import is_remote
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["ConversionPlan", "DomainPlan", "plan_conversion"]

# Of very many samples, so many tell enough of the rest.
_MAX_DESCRIBED = 200

_MAX_SHARD_BYTES = 10**9
_MAX_ENTRIES_OF_DIRECTORY = 10_000
# Of a shard that is to be smaller.
_ADVISED_SHARD_BYTES = 256 << 20

# A draw begins at any chunk of a domain: with so many, two draws of a sample seldom are the same. It reads up to a
# chunk more than is asked for, so chunks are not to be large; but each takes time and has a place in the index.
_ADVISED_CHUNKS = 2048
_LEAST_CHUNK_POINTS, _MOST_CHUNK_POINTS = 1024, 16384

# Beside the sample and a permutation: chunks on their way through the threads, and what is being sent.
_BUFFER_BYTES = 16 << 20
# Of a field that is not read into memory: two buckets at a time.
_BUCKET_BYTES = 2 * (32 << 20)


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """What becomes of a domain, in the samples that were described.

    Attributes
    ----------
    domain : str
        Its name.
    n_samples, n_fields : int
        Samples that have it, and its fields.
    points_min, points_max : int
        Fewest and most points of a sample.
    chunk_points : int
        Points of a chunk, as asked for.
    advised_chunk_points : int
        Points of a chunk that suit its largest sample.
    n_shards : int
        Most shards of a field.
    shard_bytes : int
        Bytes of the largest shard, before compression.
    """

    domain: str
    n_samples: int
    n_fields: int
    points_min: int
    points_max: int
    chunk_points: int
    advised_chunk_points: int
    n_shards: int
    shard_bytes: int


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """What a conversion would do.

    Attributes
    ----------
    n_samples, n_complete : int
        Samples to look at, and those of them that the manifest has as they are.
    n_described : int
        Samples whose sizes were looked at; those of the others are taken to be alike.
    failures : dict of str to str
        By sample id, why one could not be described.
    domains : list of DomainPlan
        The domains.
    source_bytes, stored_bytes : int
        Bytes of the arrays of all samples that are to be converted, in the source and in the store, there before
        compression.
    n_objects : int
        Objects of these.
    memory_bytes : int
        Memory that a worker takes for the largest sample.
    warnings : list of str
        What should be looked at first.
    """

    n_samples: int
    n_complete: int
    n_described: int
    failures: dict[str, str]
    domains: list[DomainPlan]
    source_bytes: int
    stored_bytes: int
    n_objects: int
    memory_bytes: int
    warnings: list[str] = field(default_factory=list)


def plan_conversion(
    source: SampleSource,
    writer: ZarrStoreWriter,
    sample_ids: Sequence[str],
    *,
    workers: int = 1,
    keep_grids: bool = False,
) -> ConversionPlan:
    """Plan what `convert` would do, from the heads of files; a source that cannot tell sizes has one sample loaded.

    It takes a worker process, which shows what memory one needs.

    Parameters
    ----------
    source : SampleSource
        Where the samples would come from.
    writer : ZarrStoreWriter
        Where they would go.
    sample_ids : sequence of str
        Samples to look at; see `select_samples`.
    workers : int
        Processes that would work at the same time on this machine.
    keep_grids : bool
        See `convert`.

    Raises
    ------
    WorkerError
        The process died.
    """
    open_ids = [sample_id for sample_id in sample_ids if not _is_complete(source, writer, sample_id, keep_grids)]
    with ProcessExecutor(1) as executor:
        seen = executor.submit(_look, source, open_ids).result()
    sizes = [_SampleSize.of(writer, fields) for fields in seen.described]
    share = len(open_ids) / max(1, len(sizes))
    plan = ConversionPlan(
        n_samples=len(sample_ids),
        n_complete=len(sample_ids) - len(open_ids),
        n_described=len(sizes),
        failures=seen.failures,
        domains=[
            _plan_domain(writer, domain, grids)
            for domain in writer.layouts
            if (grids := [size.grids[domain] for size in sizes if domain in size.grids])
        ],
        source_bytes=round(share * sum(size.source_bytes for size in sizes)),
        stored_bytes=round(share * sum(size.stored_bytes for size in sizes)),
        n_objects=round(share * sum(size.n_objects for size in sizes)),
        memory_bytes=seen.memory_bytes + max((size.memory_bytes for size in sizes), default=0),
    )
    plan.warnings.extend(_warnings(plan, writer, sample_ids, workers))
    return plan


@dataclass(frozen=True, slots=True)
class _SampleSize:
    """What one sample comes to; of its memory, what a process takes for it beside what it has taken already."""

    grids: dict[str, Grid]
    source_bytes: int
    stored_bytes: int
    n_objects: int
    memory_bytes: int

    @classmethod
    def of(cls, writer: ZarrStoreWriter, fields: Mapping[str, FieldDescription]) -> _SampleSize:
        grids: dict[str, Grid] = {}
        stored_bytes, n_objects = 0, 1
        for domain, layout in writer.layouts.items():
            arrays = [array for field, array in layout.arrays.items() if field in fields]
            if arrays:
                grids[domain] = grid = writer.settings.grid(domain, fields[arrays[0].field].shape[0])
                stored_bytes += sum(grid.n_points * _row_bytes(array) for array in arrays)
                n_objects += 1 + len(arrays) * (1 + grid.n_shards)
        loaded = sum(one.n_bytes for one in fields.values() if one.in_memory)
        loading = max((one.loading_bytes for one in fields.values()), default=0)
        writing = max((grid.n_points for grid in grids.values()), default=0) * np.dtype(np.int64).itemsize
        writing += _BUFFER_BYTES if all(one.in_memory for one in fields.values()) else _BUFFER_BYTES + _BUCKET_BYTES
        return cls(
            grids, sum(one.n_bytes for one in fields.values()), stored_bytes, n_objects, loaded + max(loading, writing)
        )


def _is_complete(source: SampleSource, writer: ZarrStoreWriter, sample_id: str, keep_grids: bool) -> bool:
    entry = writer.manifest.samples.get(sample_id)
    return entry is not None and is_current(
        entry, fingerprint_of_sample(source, sample_id), writer, keep_grids=keep_grids
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a worker process saw of some samples, why not of others, and the memory that it takes without a sample."""

    described: Sequence[Mapping[str, FieldDescription]]
    failures: dict[str, str]
    memory_bytes: int


def _look(source: SampleSource, sample_ids: list[str]) -> _Seen:
    """Describe samples, evenly spread where they are very many; or load the first one."""
    if not isinstance(source, DescribedSource):
        return _load_first(source, sample_ids)
    described, failures = [], {}
    count = min(len(sample_ids), _MAX_DESCRIBED)
    for number in range(count):
        sample_id = sample_ids[number * len(sample_ids) // count]
        try:
            found = source.describe(sample_id)
        except StoreError as error:
            failures[sample_id] = str(error)
            continue
        if found is None:
            return _load_first(source, sample_ids)
        described.append(found)
    return _Seen(described, failures, memory_bytes())


def _load_first(source: SampleSource, sample_ids: list[str]) -> _Seen:
    if not sample_ids:
        return _Seen([], {}, memory_bytes())
    try:
        fields = source.load(sample_ids[0]).fields
    except StoreError as error:
        return _Seen([], {sample_ids[0]: str(error)}, memory_bytes())
    described = {name: FieldDescription(values.shape, values.dtype) for name, values in fields.items()}
    # What it took to load them stays part of it: a mesh is larger than the arrays that are made of it.
    return _Seen([described], {}, peak_memory_bytes() - sum(one.n_bytes for one in described.values()))


def _plan_domain(writer: ZarrStoreWriter, domain: str, grids: list[Grid]) -> DomainPlan:
    arrays = writer.layouts[domain].arrays.values()
    points = [grid.n_points for grid in grids]
    return DomainPlan(
        domain,
        n_samples=len(grids),
        n_fields=len(arrays),
        points_min=min(points),
        points_max=max(points),
        chunk_points=max(grid.chunk_points for grid in grids),
        advised_chunk_points=_advised_chunk_points(max(points)),
        n_shards=max(grid.n_shards for grid in grids),
        shard_bytes=max(grid.shard_points for grid in grids) * max(map(_row_bytes, arrays)),
    )


def _advised_chunk_points(n_points: int) -> int:
    """Return the largest power of two that makes enough chunks, within limits; see above for the reasons."""
    power = 1 << (max(n_points // _ADVISED_CHUNKS, 1)).bit_length() - 1
    return min(max(power, _LEAST_CHUNK_POINTS), _MOST_CHUNK_POINTS)


def _row_bytes(array: ArrayLayout) -> int:
    return array.dim * np.dtype(array.dtype).itemsize


def _warnings(plan: ConversionPlan, writer: ZarrStoreWriter, sample_ids: Sequence[str], workers: int) -> Iterator[str]:
    for domain in plan.domains:
        if domain.shard_bytes > _MAX_SHARD_BYTES:
            row_bytes = max(map(_row_bytes, writer.layouts[domain.domain].arrays.values()))
            advised = _ADVISED_SHARD_BYTES // row_bytes // domain.chunk_points * domain.chunk_points
            yield (
                f"{domain.domain}: a shard of {domain.shard_bytes / 1e9:.1f} GB before compression, one object that is "
                f"sent again as a whole when a connection breaks; --shard-points {advised} splits it"
            )
        if domain.n_shards > _MAX_ENTRIES_OF_DIRECTORY:
            yield f"{domain.domain}: {domain.n_shards:,} shards of a field in one directory; give more --shard-points"
    parents = Counter(sample_id.rpartition("/")[0] for sample_id in {*sample_ids, *writer.manifest.samples})
    for parent, count in parents.items():
        if count > _MAX_ENTRIES_OF_DIRECTORY:
            yield f"{parent or 'the root'}: {count:,} samples in one directory; sample ids may have more of them: a/b/c"
    free = None if is_remote(writer.store_root) else _free_bytes(Path(writer.store_root))
    if free is not None and plan.stored_bytes > free:
        yield (f"{plan.stored_bytes / 1e9:.1f} GB before compression, and {free / 1e9:.1f} GB is free on the target")
    available, wanted = available_memory_bytes(), workers * plan.memory_bytes
    if available is not None and wanted > available:
        fit = available // plan.memory_bytes
        way_out = f"--workers {fit}" if fit else "not even one fits"
        yield (
            f"{workers} workers may take {wanted / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB is "
            f"available: {way_out}"
        )


def _free_bytes(path: Path) -> int:
    """Return the free space where a directory is, or is to be."""
    there = next(one for one in [path, *path.parents] if one.exists())
    return shutil.disk_usage(there).free
