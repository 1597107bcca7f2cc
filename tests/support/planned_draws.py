"""The rows of draws of an invented sample, which are planned and never read."""

from __future__ import annotations

from typing import Any

from noether.data.schemas import FileMap
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.manifest import DomainSample, SampleEntry
from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.sampling.planner import DrawPlanner
from support.outcomes import rows_of

DOMAINS = build_domain_layouts(
    FileMap(surface_position="a", surface_pressure="b", volume_position="c", volume_pressure="d", volume_velocity="e")
)
GRID = Grid.fit(1000, 64)


def sample(grid: Grid = GRID, surface: Grid = GRID) -> SampleEntry:
    """Return a sample with this grid in the volume."""
    return SampleEntry("s.zarr", {"surface": DomainSample.of(surface), "volume": DomainSample.of(grid)})


def drawn_rows(planner: DrawPlanner, entry: SampleEntry, epoch: int = 0, sample_id: str = "s") -> dict[str, list[int]]:
    """Return the stored rows of every field of an item, in the order of the item."""
    found = {}
    for one in planner.plan(sample_id, entry, epoch):
        rows = rows_of(one.planned.plan)
        for share in one.shares:
            for name in filter(None, share.names):
                found[name] = [row for start, stop in share.ranges for row in rows[start:stop]]
    return found


def plan_rows(
    entry: SampleEntry | None = None, epoch: int = 0, sample_id: str = "s", **wanted: Any
) -> dict[str, list[int]]:
    """Return `drawn_rows` for a planner with these parameters."""
    return drawn_rows(DrawPlanner(DOMAINS, **wanted), entry or sample(), epoch, sample_id)


def query(num_points: int, fields: list[str] | None = None) -> Draw:
    """Return a disjoint draw of the volume."""
    return Draw("volume", num_points, fields, disjoint=True)
