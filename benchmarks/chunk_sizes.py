"""``python -m benchmarks.chunk_sizes``: count the bytes and requests of draws by the size of chunks.

The counts are those of `ZarrChunkReader.cost`; no time is measured. They go into ``docs/chunk-sizes.md``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import DOMAIN, FIELDS, FILEMAP, SAMPLE, WIDTHS, source_arrays
from benchmarks.page_tables import markdown_table, write_table
from benchmarks.settings import Settings
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter

__all__ = ["CHUNKS", "DRAWS", "N_POINTS", "PAGE", "SizeCounts", "bytes_table", "count", "draws_table", "fields_table"]

PAGE = "chunk-sizes.md"
N_POINTS = 5_000_000
CHUNKS = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
DRAWS = (4_096, 16_384, 65_536)
_SEEDS = 100


@dataclass(frozen=True)
class DrawCounts:
    """Means over draws of one size, of all fields.

    Attributes
    ----------
    n_bytes, requests : float
        Bytes and requests of a draw.
    points_read : float
        Points of the chunks that a draw decodes, of each field.
    n_draws : int
        Number of different draws.
    """

    n_bytes: float
    requests: float
    points_read: float
    n_draws: int


@dataclass(frozen=True)
class SizeCounts:
    """Counts of a store with chunks of one size.

    Attributes
    ----------
    chunk_points : int
        Number of points of a chunk.
    stored : dict of str to float
        Stored bytes over bytes of the stored dtype, by field.
    bytes_a_point : float
        Stored bytes of a point, of all fields.
    draws : dict of int to DrawCounts
        Counts by the number of points of a draw.
    """

    chunk_points: int
    stored: dict[str, float]
    bytes_a_point: float
    draws: dict[int, DrawCounts]


def count(root: Path, work_dir: Path, chunk_points: int, n_points: int = N_POINTS) -> SizeCounts:
    """Write the generated sample with chunks of `chunk_points` points, and count the costs of its draws."""
    shutil.rmtree(root, ignore_errors=True)
    writer = ZarrStoreWriter(root, FILEMAP, "benchmark", chunk_points=chunk_points)
    writer.write_sample(SAMPLE, source_arrays(work_dir, n_points))
    writer.save_manifest()
    group = root / f"{SAMPLE}.zarr" / DOMAIN
    sizes = {field: _bytes_below(group / field.removeprefix(f"{DOMAIN}_") / "c") for field in FIELDS}
    reader = ZarrChunkReader(root)
    counts = SizeCounts(
        chunk_points,
        {
            field: sizes[field] / (n_points * WIDTHS[field] * (4 if field == "volume_position" else 2))
            for field in FIELDS
        },
        sum(sizes.values()) / n_points,
        {drawn: _mean_draw(reader, drawn, chunk_points) for drawn in DRAWS},
    )
    shutil.rmtree(root)
    return counts


def _bytes_below(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _mean_draw(reader: ZarrChunkReader, drawn: int, chunk_points: int) -> DrawCounts:
    costs = [reader.cost(SAMPLE, {DOMAIN: drawn}, generator=seed) for seed in range(_SEEDS)]
    return DrawCounts(
        float(np.mean([cost.total_bytes for cost in costs if cost.total_bytes is not None])),
        float(np.mean([cost.total_requests for cost in costs if cost.total_requests is not None])),
        float(np.mean([cost.chunks["volume_position"] for cost in costs])) * chunk_points,
        costs[0].n_draws[DOMAIN],
    )


def bytes_table(counts: Sequence[SizeCounts]) -> str:
    """Return the table of bytes of draws."""
    head = ["points of a chunk", *(f"draw of {drawn:,}" for drawn in DRAWS), "requests", "bytes a point"]
    rows = [
        [
            f"{one.chunk_points:,}",
            *(f"{one.draws[drawn].n_bytes / 1e3:,.0f} kB" for drawn in DRAWS),
            f"{max(draw.requests for draw in one.draws.values()):.2f}",
            f"{one.bytes_a_point:.1f}",
        ]
        for one in counts
    ]
    return markdown_table(head, rows)


def draws_table(counts: Sequence[SizeCounts]) -> str:
    """Return the table of points read, over points drawn, and of different draws."""
    head = ["points of a chunk", *(f"read over {drawn:,}" for drawn in DRAWS), *(f"draws of {n:,}" for n in DRAWS)]
    rows = [
        [
            f"{one.chunk_points:,}",
            *(f"{one.draws[drawn].points_read / drawn:.2f}" for drawn in DRAWS),
            *(f"{one.draws[drawn].n_draws:,}" for drawn in DRAWS),
        ]
        for one in counts
    ]
    return markdown_table(head, rows)


def fields_table(counts: Sequence[SizeCounts]) -> str:
    """Return the table of stored bytes over bytes of the stored dtype, by field."""
    head = ["points of a chunk", *(field.removeprefix(f"{DOMAIN}_") for field in FIELDS)]
    rows = [[f"{one.chunk_points:,}", *(f"{one.stored[field]:.3f}" for field in FIELDS)] for one in counts]
    return markdown_table(head, rows)


def main() -> None:
    """Count, and write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunk_sizes", description=__doc__)
    parser.parse_args()
    work_dir = Settings().work_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    counts = [count(work_dir / "store-of-chunks", work_dir, chunk_points) for chunk_points in CHUNKS]
    for name, table in (("bytes", bytes_table), ("draws", draws_table), ("fields", fields_table)):
        write_table(PAGE, name, table(counts))
        print(table(counts), end="\n\n")


if __name__ == "__main__":
    main()
