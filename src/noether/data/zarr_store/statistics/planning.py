"""Selection of the samples, fields and chunks that a pass over a store reads. Pure: nothing is read here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from noether.data.zarr_store.core import Grid, positive_int
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, require_fields
from noether.data.zarr_store.manifest import StoreManifest, require_joined, select_samples
from noether.data.zarr_store.sampling import PlannedRead, ReadPlan, plan_draw, plan_whole, random_stream
from noether.data.zarr_store.statistics.estimates import points_to_read, share_to_read

__all__ = ["Selection", "select"]

# Chunks are read together up to this size. It is large enough that threads seldom wait for each other, and that few
# requests go to object storage. It is small enough that a pass takes a few megabytes per thread.
_BLOCK_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples and fields of a pass.

    Attributes
    ----------
    layouts : dict of str to tuple of ArrayLayout
        The fields, by domain.
    grids : dict of str to dict of str to Grid
        Grids of these domains, by sample id and domain; a sample might lack some.
    """

    layouts: dict[str, tuple[ArrayLayout, ...]]
    grids: dict[str, dict[str, Grid]]

    @property
    def points(self) -> dict[str, int]:
        """Number of points of all samples, by domain."""
        points: dict[str, int] = {}
        for grids in self.grids.values():
            for domain, grid in grids.items():
                points[domain] = points.get(domain, 0) + grid.n_points
        return points

    def shares(self, tolerance: float) -> dict[str, float]:
        """Return the share of the points to read, by domain; see `estimates.share_to_read`."""
        return {domain: share_to_read(n_points, tolerance) for domain, n_points in self.points.items()}

    def count_values(self, shares: Mapping[str, float]) -> int:
        """Return the number of values that `blocks` reads."""
        return sum(
            points_to_read(grid, shares.get(domain, 1)) * sum(layout.dim for layout in self.layouts[domain])
            for grids in self.grids.values()
            for domain, grid in grids.items()
        )

    def blocks(self, shares: Mapping[str, float], seed: int) -> Iterator[PlannedRead]:
        """Yield the reads of the pass, each of a few chunks of one field, in the order of samples and fields.

        Parameters
        ----------
        shares : mapping of str to float
            Share of the points to read, by domain; a domain that is missing is read whole.
        seed : int
            Seed of the choice of chunks of a domain that is not read whole.
        """
        for sample_id, grids in self.grids.items():
            for domain, grid in grids.items():
                if domain in shares:
                    rng = random_stream(seed, "statistics", sample_id, domain)
                    # The chunks are scattered: the shuffle of a store never changes, so it has few different runs.
                    n_points = points_to_read(grid, shares[domain])
                    plan = plan_draw(grid, n_points, rng, "scattered", whole_chunks=True)
                else:
                    plan = plan_whole(grid)
                for layout in self.layouts[domain]:
                    chunk_bytes = grid.chunk_points * layout.dim * np.dtype(layout.dtype).itemsize
                    step = max(_BLOCK_BYTES // chunk_bytes, 1)
                    for first in range(0, len(plan.parts), step):
                        block = ReadPlan(grid, plan.parts[first : first + step])
                        yield PlannedRead(sample_id, domain, (layout,), block)


def select(
    manifest: StoreManifest,
    sample_ids: Iterable[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    fields: Iterable[str] | None = None,
    exclude_fields: Iterable[str] = (),
) -> Selection:
    """Return the selected samples and fields; parameters are those of `calculate_store_statistics`.

    Raises
    ------
    UnknownNameError
        The store has no such field, sample or split, or none of the samples has a requested field.
    ArgumentError
        `limit` is not a whole number of at least 1, or no sample or field is left.
    """
    chosen = select_samples(manifest, split, sample_ids)
    if limit is not None:
        chosen = chosen[: positive_int(limit, "limit")]
    excluded = require_fields(exclude_fields, manifest.domains)
    asked = None if fields is None else require_fields(require_joined(manifest, fields), manifest.domains)
    layouts = {
        domain: tuple(
            array
            for field, array in layout.arrays.items()
            if field not in excluded and (asked is None or field in asked)
        )
        for domain, layout in manifest.domains.items()
    }
    layouts = {domain: arrays for domain, arrays in layouts.items() if arrays}
    if not layouts:
        raise ArgumentError("there is nothing to compute statistics of: no field is left; exclude fewer fields")
    grids = {}
    for sample_id in chosen:
        domains = manifest.sample(sample_id).domains
        grids[sample_id] = {domain: domains[domain].grid for domain in layouts if domain in domains}
    there = {domain for of_sample in grids.values() for domain in of_sample}
    if asked is not None and layouts.keys() - there:
        lacking = [array.field for domain, arrays in layouts.items() if domain not in there for array in arrays]
        raise UnknownNameError(
            f"fields {', '.join(lacking)}: none of the {len(grids):,} samples has them; leave them out, or choose "
            "other samples"
        )
    if not there:
        raise ArgumentError(
            f"there is nothing to compute statistics of: none of the {len(grids):,} samples has a field; choose other "
            "samples"
        )
    return Selection(layouts, grids)
