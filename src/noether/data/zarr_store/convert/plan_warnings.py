"""Warnings to check before a conversion starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from noether.data.zarr_store.convert.conversion_plan import ConversionPlan
from noether.data.zarr_store.convert.sample_sizes import row_bytes
from noether.data.zarr_store.convert.worker_count import Machine, free_bytes, gigabytes
from noether.data.zarr_store.stores import is_remote
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["plan_warnings"]

_MAX_SHARD_BYTES = 10**9
_MAX_ENTRIES_OF_DIRECTORY = 10_000
# Size of the smaller shards that a warning advises.
_ADVISED_SHARD_BYTES = 256 << 20


def plan_warnings(
    plan: ConversionPlan, writer: ZarrStoreWriter, sample_ids: Sequence[str], machine: Machine
) -> Iterator[str]:
    """Yield warnings about objects in the storage and about the resources of this machine, each with its remedy."""
    yield from _of_objects(plan, writer, sample_ids)
    free = None if is_remote(writer.store_root) else free_bytes(Path(writer.store_root))
    if free is not None and plan.stored_bytes > free:
        yield (
            f"the samples have {gigabytes(plan.stored_bytes)} before compression, and {gigabytes(free)} is free on the "
            "target; make room there, or use --limit to convert fewer samples"
        )
    count = plan.workers.n_workers
    workers = f"{count} worker{'' if count == 1 else 's'}"
    wanted = count * plan.memory_bytes
    if machine.memory_bytes is not None and wanted > machine.memory_bytes:
        fit = machine.memory_bytes // plan.memory_bytes
        yield (
            f"{workers} may need {gigabytes(wanted)} of memory, and {gigabytes(machine.memory_bytes)} is available; "
            f"{f'use --workers {fit}' if fit else 'use a machine with more memory, since not even one worker fits'}"
        )
    wanted = count * plan.scratch_bytes
    if wanted > machine.scratch_bytes:
        fit = machine.scratch_bytes // plan.scratch_bytes
        yield (
            f"{workers} may write {gigabytes(wanted)} of temporary files, and {gigabytes(machine.scratch_bytes)} is "
            f"free in {machine.scratch_directory}; set TMPDIR to a directory with more room, "
            f"{f'or use --workers {fit}' if fit else 'since not even one worker fits'}"
        )


def _of_objects(plan: ConversionPlan, writer: ZarrStoreWriter, sample_ids: Sequence[str]) -> Iterator[str]:
    for domain in plan.domains:
        if domain.shard_bytes > _MAX_SHARD_BYTES:
            largest = max(map(row_bytes, writer.layouts[domain.domain].arrays.values()))
            advised = _ADVISED_SHARD_BYTES // largest // domain.chunk_points * domain.chunk_points
            yield (
                f"domain {domain.domain}: a shard is one object of {gigabytes(domain.shard_bytes)} before compression, "
                f"which is sent again as a whole if a connection breaks; use --shard-points {advised} to split it"
            )
        if domain.n_shards > _MAX_ENTRIES_OF_DIRECTORY:
            yield (
                f"domain {domain.domain}: a field has {domain.n_shards:,} shards in one directory; use a larger "
                "--shard-points"
            )
    parents = Counter(sample_id.rpartition("/")[0] for sample_id in {*sample_ids, *writer.manifest.samples})
    for parent, count in parents.items():
        if count > _MAX_ENTRIES_OF_DIRECTORY:
            yield (
                f"{parent or 'the root'}: {count:,} samples in one directory; use sample ids with more directories, "
                "such as a/b/c"
            )
