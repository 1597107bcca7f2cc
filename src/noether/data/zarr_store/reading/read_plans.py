"""Planning of the read of a sample: its fields, and the rows of each of its domains. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.errors import TooLargeError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, require_fields
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest, require_joined
from noether.data.zarr_store.sampling import (
    ChunkOrder,
    PlannedRead,
    ReadPlan,
    check_num_points,
    plan_draw,
    plan_whole,
    random_stream,
)

__all__ = ["fields_by_domain", "plan_reads"]


def plan_reads(
    manifest: StoreManifest,
    sample_id: str,
    entry: SampleEntry,
    fields: Iterable[str] | None,
    num_points: Mapping[str, int | None] | None,
    entropy: tuple[int, ...],
    chunk_order: ChunkOrder,
) -> list[PlannedRead]:
    """Plan the read of a sample: return one planned read for each domain, in the order of the layouts.

    Parameters
    ----------
    manifest : StoreManifest
        Manifest of the store.
    sample_id, entry : str, SampleEntry
        Id of the sample, and its entry in the manifest.
    fields : iterable of str or None
        Canonical names of the fields to read; None reads all fields of the sample.
    num_points : mapping of str to int or None, or None
        Number of points to draw, by domain; a domain that is missing, or None, is read whole.
    entropy : tuple of int
        Seed of the draw.
    chunk_order : {"consecutive", "scattered"}
        See `plan_draw`.

    Raises
    ------
    UnknownNameError
        The store, or the sample, has no such field or domain.
    ArgumentError
        A number of points is out of its range.
    TooLargeError
        The rows of a domain lie in more chunks than a plan can have.
    """
    wanted = fields_by_domain(manifest, sample_id, entry, fields)
    counts = check_num_points(num_points, manifest.domains)
    reads = []
    for domain, layouts in wanted.items():
        try:
            plan = _plan_domain(entry.domains[domain].grid, counts.get(domain), domain, entropy, chunk_order)
        except TooLargeError as error:
            raise TooLargeError(f"sample {sample_id!r}, domain {domain!r}: {error}") from error
        reads.append(PlannedRead(sample_id, domain, tuple(layouts), plan))
    return reads


def _plan_domain(
    grid: Grid, count: int | None, domain: str, entropy: tuple[int, ...], chunk_order: ChunkOrder
) -> ReadPlan:
    if count is None:
        return plan_whole(grid)
    # Each domain has its own random stream, so its draw does not depend on the other domains that are read.
    return plan_draw(grid, count, random_stream(*entropy, domain), chunk_order)


def fields_by_domain(
    manifest: StoreManifest, sample_id: str, entry: SampleEntry, fields: Iterable[str] | None
) -> dict[str, list[ArrayLayout]]:
    """Return the fields to read by domain, in the order of the layouts; parameters are those of `plan_reads`.

    Raises
    ------
    UnknownNameError
        The store, or the sample, has no such field.
    """
    there = {domain: layout.arrays for domain, layout in manifest.domains.items() if domain in entry.domains}
    if fields is None:
        return {domain: list(arrays.values()) for domain, arrays in there.items()}
    asked = require_fields(require_joined(manifest, fields), manifest.domains)
    for field in sorted(asked - {field for arrays in there.values() for field in arrays}):
        raise UnknownNameError(
            f"sample {sample_id!r} has no field {field!r}: of the store's domains it has only {', '.join(there)}; "
            "leave the field out"
        )
    wanted = {
        domain: [layout for field, layout in arrays.items() if field in asked] for domain, arrays in there.items()
    }
    return {domain: layouts for domain, layouts in wanted.items() if layouts}
