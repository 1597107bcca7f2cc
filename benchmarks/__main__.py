"""``python -m benchmarks``: run comparisons, save their results, and write the benchmarks page."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.added_fields import compare_added_fields
from benchmarks.conversion import compare_conversion
from benchmarks.costs import compare_manifest, compare_sizes
from benchmarks.iteration import compare_iteration
from benchmarks.loading import compare_loading
from benchmarks.local_draws import compare_draws, compare_whole
from benchmarks.many_writers import compare_many_writers
from benchmarks.near_cache import compare_near_cache
from benchmarks.npy_conversion import compare_npy
from benchmarks.object_storage import compare_object_storage
from benchmarks.report import write_report
from benchmarks.results import Comparison
from benchmarks.settings import COMPARISONS, Settings
from benchmarks.statistics import compare_statistics
from benchmarks.verifying import compare_verification
from benchmarks.vtu_conversion import compare_vtu
from benchmarks.weighted_draws import compare_weighted_draws
from benchmarks.writing import compare_hdf5, compare_writes

_RUNNERS: dict[str, Callable[[Settings], Comparison]] = {
    "draws": compare_draws,
    "whole": compare_whole,
    "iteration": compare_iteration,
    "loading": compare_loading,
    "stats": compare_statistics,
    "verify": compare_verification,
    "weighted": compare_weighted_draws,
    "s3": compare_object_storage,
    "cache": compare_near_cache,
    "write": compare_writes,
    "hdf5": compare_hdf5,
    "npy": compare_npy,
    "vtu": compare_vtu,
    "conversion": compare_conversion,
    "added": compare_added_fields,
    "many": compare_many_writers,
    "manifest": compare_manifest,
    "size": compare_sizes,
}


# Comparisons that are too slow for a quick run: they write gigabytes, or start many processes that import PyTorch.
_SLOW = ("hdf5", "npy", "vtu", "loading", "conversion", "added", "many")


def main() -> None:
    """Parse the command line, run the comparisons, and write the page."""
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="Compare the library with its peers.")
    parser.add_argument("--full", action="store_true", help="use full sizes and repetitions instead of quick ones")
    parser.add_argument("--only", action="append", choices=COMPARISONS, help="run only this comparison (repeatable)")
    parser.add_argument("--points", type=int, help="number of points of the sample")
    parser.add_argument("--work-dir", type=Path, help="directory for generated data (default: $TMPDIR/noether-bench)")
    parser.add_argument("--output", type=Path, help="parent of benchmarks/results and docs (default: the repository)")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the page from existing results")
    arguments = parser.parse_args()
    if arguments.points is not None and arguments.points < 100_000:
        parser.error(f"--points: expected at least 100,000, got {arguments.points:,}: draws must be smaller")

    defaults = Settings()
    settings = Settings(
        mode="full" if arguments.full else "quick",
        points=arguments.points,
        work_dir=(arguments.work_dir or defaults.work_dir).resolve(),
        output_dir=(arguments.output or defaults.output_dir).resolve(),
    )
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    if not arguments.report:
        for name in arguments.only or _default(settings):
            start = time.perf_counter()
            _RUNNERS[name](settings).save(settings.results_dir)
            console.print(f"{name}: {time.perf_counter() - start:.0f} s")
    path = write_report(settings)
    console.print(f"written: {path}")


def _default(settings: Settings) -> list[str]:
    return [name for name in COMPARISONS if settings.mode == "full" or name not in _SLOW]


if __name__ == "__main__":
    main()
