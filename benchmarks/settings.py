"""Settings of the benchmarks."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["CHUNK_POINTS", "COMPARISONS", "DRAW_POINTS", "REPOSITORY", "Mode", "Settings", "cores"]

Mode = Literal["quick", "full"]

REPOSITORY = Path(__file__).resolve().parents[1]
COMPARISONS = (
    "draws",
    "whole",
    "iteration",
    "loading",
    "stats",
    "verify",
    "weighted",
    "s3",
    "cache",
    "write",
    "hdf5",
    "npy",
    "vtu",
    "conversion",
    "added",
    "many",
    "manifest",
    "size",
)

CHUNK_POINTS = (4_096, 16_384)
DRAW_POINTS = 16_384

_POINTS: dict[Mode, int] = {"quick": 1_000_000, "full": 5_000_000}
_LARGEST: dict[Mode, int] = {"quick": 1_000_000, "full": 10_000_000}
# Four float32 fields of widths 3, 1, 3, 3 take 40 bytes per point: 50 million points are 2 GB.
_LARGE_POINTS: dict[Mode, int] = {"quick": 1_000_000, "full": 50_000_000}
# Three float32 fields of widths 3, 1, 3 take 28 bytes per point: 2.8 GB.
_LARGEST_CONVERTED: dict[Mode, int] = {"quick": 1_000_000, "full": 100_000_000}
_VTU_CELLS: dict[Mode, int] = {"quick": 1_000_000, "full": 20_000_000}
_LIMITED_CELLS = 60_000_000
_TILED_CELLS = 10_000_000


@dataclass(frozen=True)
class Settings:
    """Sizes and directories of the benchmarks.

    Attributes
    ----------
    mode : {"quick", "full"}
        Mode, which decides the sizes and the number of repetitions.
    points : int or None
        Number of points of the sample; None is the default of the mode.
    work_dir : Path
        Directory for data and stores. Generated data are kept there for the next benchmark.
    output_dir : Path
        Root of ``benchmarks/results`` and ``docs``.
    """

    mode: Mode = "quick"
    points: int | None = None
    work_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "noether-bench")
    output_dir: Path = REPOSITORY

    @property
    def n_points(self) -> int:
        """Number of points of the sample that is drawn from and written."""
        return self.points or _POINTS[self.mode]

    @property
    def n_large_points(self) -> int:
        """Number of points of the sample that is written from HDF5 or read in batches."""
        return self.points or _LARGE_POINTS[self.mode]

    @property
    def hdf5_sizes(self) -> tuple[int, int]:
        """Numbers of points of the samples that are written from HDF5: memory must not grow with them."""
        return self.n_large_points // 5, self.n_large_points

    @property
    def n_npy_points(self) -> int:
        """Number of points of the ``.npy`` files that the command line converts."""
        return self.points or _LARGEST_CONVERTED[self.mode]

    @property
    def n_vtu_cells(self) -> int:
        """Number of cells of the ``.vtu`` that the command line converts."""
        return self.points or _VTU_CELLS[self.mode]

    @property
    def n_limited_cells(self) -> int:
        """Number of cells of the ``.vtu`` that is converted in limited memory."""
        return self.points or _LIMITED_CELLS

    @property
    def n_tiled_cells(self) -> int:
        """Least number of cells of the ``.vtu`` that consists of copies of a real mesh."""
        return self.points or _TILED_CELLS

    @property
    def sizes(self) -> list[int]:
        """Numbers of points of the samples for which the cost of a draw is compared."""
        largest = self.points or _LARGEST[self.mode]
        return [size for size in (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000) if size < largest] + [largest]

    @property
    def results_dir(self) -> Path:
        """Directory of the JSON files."""
        return self.output_dir / "benchmarks" / "results"

    @property
    def docs_dir(self) -> Path:
        """Directory of the Markdown page; plots are below it."""
        return self.output_dir / "docs"

    def repetitions(self, quick: int, full: int) -> int:
        """Return the number for the mode."""
        return quick if self.mode == "quick" else full


def cores() -> int:
    """Return the number of cores that this process can use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
