"""What a read of a sample is to give: which fields, and which rows of each of its domains. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from noether.data.zarr_store.errors import TooLargeError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, require_fields
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.sampling import ChunkOrder, ReadPlan, plan_draw, plan_whole, random_stream

__all__ = ["plan_domains", "wanted_fields"]


def wanted_fields(
    manifest: StoreManifest, sample_id: str, entry: SampleEntry, fields: Iterable[str] | None
) -> dict[str, list[ArrayLayout]]:
    """Sort the fields to read by domain, in the order of the layouts; without `fields`, all that the sample has.

    Raises
    ------
    UnknownNameError
        The store, or the sample, has no such field.
    """
    there = {domain: layout.arrays for domain, layout in manifest.domains.items() if domain in entry.domains}
    if fields is None:
        return {domain: list(arrays.values()) for domain, arrays in there.items()}
    asked = require_fields(fields, manifest.domains)
    for field in sorted(asked - {field for arrays in there.values() for field in arrays}):
        raise UnknownNameError(
            f"sample {sample_id!r} has no field {field!r}: of the store's domains it has only {', '.join(there)}"
        )
    wanted = {
        domain: [layout for field, layout in arrays.items() if field in asked] for domain, arrays in there.items()
    }
    return {domain: layouts for domain, layouts in wanted.items() if layouts}


def plan_domains(
    sample_id: str,
    entry: SampleEntry,
    domains: Iterable[str],
    counts: Mapping[str, int | None],
    entropy: tuple[int, ...],
    chunk_order: ChunkOrder,
) -> dict[str, ReadPlan]:
    """Plan the rows of each domain.

    Parameters
    ----------
    sample_id, entry : str, SampleEntry
        The sample.
    domains : iterable of str
        Which of its domains.
    counts : mapping of str to int or None
        Points to draw, by domain; one that is missing, or None, is read whole.
    entropy : tuple of int
        Seeds the draw.
    chunk_order : {"consecutive", "scattered"}
        See `plan_draw`.

    Raises
    ------
    TooLargeError
        The rows of a domain lie in more chunks than a plan can have.
    """
    plans = {}
    for domain in domains:
        grid, count = entry.domains[domain].grid, counts.get(domain)
        try:
            if count is None:
                plans[domain] = plan_whole(grid)
            else:
                # A stream for each domain: a draw of one does not depend on what else is read.
                plans[domain] = plan_draw(grid, count, random_stream(*entropy, domain), chunk_order)
        except TooLargeError as error:
            raise TooLargeError(f"sample {sample_id!r}, domain {domain!r}: {error}") from error
    return plans
