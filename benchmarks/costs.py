"""Costs that hardly depend on size: opening a large store, and the bytes of a draw."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.data import DOMAIN, FILEMAP, SAMPLE, source_arrays
from benchmarks.formats import write_store
from benchmarks.jobs import run_job
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter

__all__ = ["MANIFEST_SAMPLES", "compare_manifest", "compare_sizes", "list_many"]

MANIFEST_SAMPLES = 100_000

_DRAWS = 20
# Chunks compress slightly differently, so the bytes of draws differ slightly.
_GROWTH_ALLOWED = 1.02


def compare_manifest(settings: Settings) -> Comparison:
    """Measure time and memory for opening a store of 100,000 samples."""
    repetitions = settings.repetitions(quick=3, full=7)
    small_root = settings.work_dir / "manifest-one"
    large_root = settings.work_dir / "manifest-many"
    _write_manifests(settings.work_dir, small_root, large_root)
    runs = [
        run_job("open_manifest", root=str(large_root), small_root=str(small_root), expected=MANIFEST_SAMPLES)
        for _ in range(repetitions)
    ]
    times = Case("time to open", "s", [Row("noether", [run.seconds for run in runs])])
    times.below(1.5)
    memory = Case(
        "peak memory growth",
        "MB",
        [Row("noether", [run.peak_bytes / 1e6 for run in runs], {"kept (MB)": runs[-1].kept_bytes / 1e6})],
    )
    memory.below(300)
    parameters = {
        "samples": MANIFEST_SAMPLES,
        "manifest_bytes": (large_root / "manifest.json").stat().st_size,
        "repetitions": repetitions,
    }
    return Comparison.of("manifest", settings, parameters, [times, memory])


def compare_sizes(settings: Settings) -> Comparison:
    """Count the bytes and requests of a draw from samples of several sizes."""
    later: list[Row] = []
    first: list[Row] = []
    for n_points in settings.sizes:
        root = settings.work_dir / "store-of-a-size"
        write_store(root, source_arrays(settings.work_dir, n_points), CHUNK_POINTS[0])
        counted = [_count(root, draws=_DRAWS), _count(root, draws=0)]
        for rows, traffic in zip((later, first), counted, strict=True):
            n_bytes = [float(each.n_bytes) for each in traffic]
            requests = float(np.median([each.requests for each in traffic]))
            rows.append(Row(f"{n_points:,} points", n_bytes, {"requests": requests}))
    cases = [Case("a draw", "bytes", later), Case("the first draw of a sample", "bytes", first)]
    growth = later[-1].median / later[0].median
    text = f"bytes of a draw, {later[-1].name} over {later[0].name}"
    cases[0].targets.append(Target(text, growth, _GROWTH_ALLOWED, at_least=False))
    more = later[-1].extra["requests"] / later[0].extra["requests"]
    text = f"requests of a draw, {later[-1].name} over {later[0].name}"
    cases[0].targets.append(Target(text, more, 1.0, at_least=False))
    parameters = {"points_drawn": DRAW_POINTS, "chunk_points": CHUNK_POINTS[0], "draws": _DRAWS}
    return Comparison.of("size", settings, parameters, cases)


def _count(root: Path, draws: int) -> list[_Reads]:
    """Count the reads of each draw after the first one, or of the first one if `draws` is 0."""
    reader = ZarrChunkReader(root)
    counted = []
    for seed in range(draws + 1):
        start = _reads_so_far()
        before = _reads_so_far()  # reading the counters counts too
        reader.read_arrays(SAMPLE, {DOMAIN: DRAW_POINTS}, generator=seed)
        after = _reads_so_far()
        counted.append(_Reads(*(b - a - (a - s) for s, a, b in zip(start, before, after, strict=True))))
    return counted[1:] or counted


class _Reads(NamedTuple):
    """Number of bytes that this process has read, and number of its system calls for reading."""

    n_bytes: int
    requests: int


def _reads_so_far() -> _Reads:
    """Return the counters of the system; see proc_pid_io(5)."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return _Reads(int(counts["rchar"]), int(counts["syscr"]))


def _write_manifests(work_dir: Path, small_root: Path, large_root: Path) -> None:
    """Write a store of one sample, and a manifest that lists many copies of it."""
    for root in (small_root, large_root):
        shutil.rmtree(root, ignore_errors=True)
    source = {field: np.array(values) for field, values in source_arrays(work_dir, 20_000).items()}
    writer = ZarrStoreWriter(small_root, FILEMAP, "benchmark")
    # Attributes like those of a parametric study.
    writer.write_sample(SAMPLE, source, attributes={"design_parameters": [25.0, 1.044, 0.288, 40.0]})
    writer.save_manifest()
    list_many(writer.manifest).save(str(large_root))


def list_many(manifest: StoreManifest) -> StoreManifest:
    """Return a manifest that lists many copies of the sample of `manifest`."""
    entry = manifest.sample(SAMPLE)
    many = {f"run_{i:06d}": replace(entry, relpath=f"run_{i:06d}.zarr") for i in range(MANIFEST_SAMPLES)}
    return manifest.model_copy(update={"samples": many})
