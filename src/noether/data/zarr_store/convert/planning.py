"""The plan of a conversion: samples, points, objects, bytes, memory and workers, estimated from file headers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Literal

from noether.data.zarr_store.convert.conversion import fingerprint_of_sample, is_current
from noether.data.zarr_store.convert.conversion_plan import ConversionPlan, DomainPlan
from noether.data.zarr_store.convert.looking import Descriptions, TimeLimits, describe_samples
from noether.data.zarr_store.convert.mixtures import warnings_of_store
from noether.data.zarr_store.convert.plan_warnings import plan_warnings
from noether.data.zarr_store.convert.report import Association, ReportFile
from noether.data.zarr_store.convert.sample_sizes import SampleSize, row_bytes
from noether.data.zarr_store.convert.selection import Mode
from noether.data.zarr_store.convert.worker_count import Machine, WorkerCount, count_workers
from noether.data.zarr_store.core import Grid, whole_number
from noether.data.zarr_store.errors import reason_of
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["choose_workers", "plan_conversion"]

# A draw starts at any chunk of a domain: with this number of chunks, two draws of a sample are seldom the same. A draw
# reads up to one chunk more than requested, so chunks should be small; but each chunk costs time and an index entry.
_ADVISED_CHUNKS = 2048
_LEAST_CHUNK_POINTS, _MOST_CHUNK_POINTS = 1024, 16384

# Time limits for the choice of the number of workers: a file, or a whole network file system, may hang.
_TIME_LIMITS = TimeLimits(first_seconds=60.0, more_seconds=10.0, load_seconds=600.0)


def plan_conversion(
    source: SampleSource,
    writer: ZarrStoreWriter,
    sample_ids: Sequence[str],
    *,
    workers: int | Literal["auto"] = 1,
    mode: Mode = "resume",
    keep_grids: bool = False,
) -> ConversionPlan:
    """Return the plan of a conversion, estimated from file headers; nothing is converted.

    If the source cannot describe its samples, one sample is loaded. The work is done in a worker process, which also
    measures the memory of such a process.

    Parameters
    ----------
    source : SampleSource
        Source of the samples.
    writer : ZarrStoreWriter
        Writer of the store.
    sample_ids : sequence of str
        Ids of the samples to visit; see `select_samples`.
    workers : int or "auto"
        Number of processes that would work at the same time on this machine; ``"auto"`` uses the number that
        `choose_workers` returns.
    mode, keep_grids
        See `convert`.

    Raises
    ------
    ArgumentError
        `workers` is out of its range.
    WorkerError
        The worker process died.
    """
    named = None if workers == "auto" else WorkerCount(whole_number(workers, "workers"))
    open_ids = _open_ids(source, writer, sample_ids, mode, keep_grids)
    found, machine = describe_samples(source, open_ids), Machine.now()
    sizes = [SampleSize.of(writer, fields) for fields in found.described.values()]
    share = len(open_ids) / max(1, len(sizes))
    plan = ConversionPlan(
        n_samples=len(sample_ids),
        n_complete=len(sample_ids) - len(open_ids),
        n_described=len(sizes),
        failures=found.failures,
        domains=[
            _plan_domain(writer, domain, grids)
            for domain in writer.layouts
            if (grids := [size.grids[domain] for size in sizes if domain in size.grids])
        ],
        source_bytes=round(share * sum(size.source_bytes for size in sizes)),
        stored_bytes=round(share * sum(size.stored_bytes for size in sizes)),
        n_objects=round(share * sum(size.n_objects for size in sizes)),
        memory_bytes=_memory_bytes(found, sizes),
        scratch_bytes=_scratch_bytes(sizes),
        scratch_directory=machine.scratch_directory,
        workers=named or _fitting(len(open_ids), machine, found, sizes),
    )
    # Samples that would fail stay unchanged in the store. Samples that were not described have unknown associations.
    unknown: dict[str, dict[str, Association]] = {one: {} for one in open_ids if one not in found.failures}
    associations = unknown | found.associations(writer)
    report = ReportFile.load(writer.store_root, storage_options=writer.settings.storage_options)
    plan.warnings.extend(warnings_of_store(writer, report, associations))
    plan.warnings.extend(plan_warnings(plan, writer, sample_ids, machine))
    return plan


def choose_workers(
    source: SampleSource,
    writer: ZarrStoreWriter,
    sample_ids: Sequence[str],
    *,
    timeout: float | None = None,
    mode: Mode = "resume",
    keep_grids: bool = False,
) -> WorkerCount:
    """Return the number of worker processes for which there are cores, samples, memory and room for temporary files.

    The function describes samples for some seconds, or loads one sample if the source has no descriptions. If the sizes
    stay unknown, it returns one worker and the reason.

    Parameters
    ----------
    source, writer, sample_ids, mode, keep_grids
        See `plan_conversion`.
    timeout : float, optional
        Time limit in seconds for loading a sample.
    """
    try:
        open_ids = _open_ids(source, writer, sample_ids, mode, keep_grids, _TIME_LIMITS.more_seconds)
        machine = Machine.now()
        most = count_workers(len(open_ids), machine)
        if most.n_workers == 1:
            return most
        found = describe_samples(source, open_ids, timeout=timeout, limits=_TIME_LIMITS)
        sizes = [SampleSize.of(writer, fields) for fields in found.described.values()]
        return _fitting(len(open_ids), machine, found, sizes)
    except Exception as error:  # noqa: BLE001 - a library may raise anything on a broken file; the conversion goes on
        return _unknown(reason_of(error))


def _open_ids(
    source: SampleSource,
    writer: ZarrStoreWriter,
    sample_ids: Sequence[str],
    mode: Mode,
    keep_grids: bool,
    seconds: float = math.inf,
) -> list[str]:
    """Return the ids of the samples to convert; after `seconds`, all remaining samples are included unchecked."""
    if mode == "overwrite":
        return list(sample_ids)
    end = time.monotonic() + seconds
    return [
        sample_id
        for sample_id in sample_ids
        # The fingerprint of a source may need one file access per sample.
        if time.monotonic() > end or not _is_complete(source, writer, sample_id, keep_grids)
    ]


def _is_complete(source: SampleSource, writer: ZarrStoreWriter, sample_id: str, keep_grids: bool) -> bool:
    entry = writer.manifest.samples.get(sample_id)
    return entry is not None and is_current(
        entry, fingerprint_of_sample(source, sample_id), writer, keep_grids=keep_grids
    )


def _memory_bytes(found: Descriptions, sizes: Sequence[SampleSize]) -> int:
    return found.memory_bytes + max((size.memory_bytes for size in sizes), default=0)


def _scratch_bytes(sizes: Sequence[SampleSize]) -> int:
    return max((size.scratch_bytes for size in sizes), default=0)


def _fitting(n_samples: int, machine: Machine, found: Descriptions, sizes: Sequence[SampleSize]) -> WorkerCount:
    if n_samples and not sizes:
        return _unknown(next(iter(found.failures.values()), "no sample was described in time"))
    memory, scratch = _memory_bytes(found, sizes), _scratch_bytes(sizes)
    return count_workers(n_samples, machine, memory_bytes=memory, scratch_bytes=scratch)


def _unknown(reason: str) -> WorkerCount:
    return WorkerCount(1, f"the sizes of samples are unknown (--workers N sets another number): {reason}")


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
        shard_bytes=max(grid.shard_points for grid in grids) * max(map(row_bytes, arrays)),
    )


def _advised_chunk_points(n_points: int) -> int:
    """Return the largest power of two that makes enough chunks, within limits; see `_ADVISED_CHUNKS`."""
    power = 1 << (max(n_points // _ADVISED_CHUNKS, 1)).bit_length() - 1
    return min(max(power, _LEAST_CHUNK_POINTS), _MOST_CHUNK_POINTS)
