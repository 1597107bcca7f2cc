"""Verification of a store, beside a plain read of all of it."""

from __future__ import annotations

from benchmarks.data import SAMPLE, Arrays
from benchmarks.formats import prepare
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, Settings, cores
from benchmarks.timing import Contender, race
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.verify import Level, verify_store

__all__ = ["compare_verification"]


def compare_verification(settings: Settings) -> Comparison:
    """Compare the levels that need no source with a whole read, at two sizes of chunks."""
    repetitions = settings.repetitions(quick=7, full=15)
    cases = []
    for chunk_points in CHUNK_POINTS:
        root = str(prepare(settings.work_dir, settings.n_points, chunk_points).store_root)
        contenders = [
            contender
            for threads in sorted({1, cores()}, reverse=True)
            for contender in (_verification(root, "data", threads), _whole_read(root, threads))
        ]
        contenders.append(_verification(root, "index", cores()))
        seconds = race(contenders, repetitions)
        rows = [Row(name, values) for name, values in seconds.items()]
        case = Case(f"all points, chunks of {chunk_points:,}", "s", rows)
        case.faster(contenders[1].name, at_least=0.8)
        cases.append(case)
    return Comparison.of("verify", settings, {"points": settings.n_points, "repetitions": repetitions}, cases)


def _verification(root: str, level: Level, threads: int) -> Contender:
    def verify(_: int) -> Arrays:
        report = verify_store(root, level=level, workers=threads)
        if report.findings:
            raise AssertionError(f"{root}: {report.findings[0]}")
        return {}

    return Contender(f"verify ({level}), {_count(threads)}", verify)


def _whole_read(root: str, threads: int) -> Contender:
    reader = ZarrChunkReader(root, read_concurrency=threads)
    return Contender(f"whole read, {_count(threads)}", lambda _: dict(reader.read_arrays(SAMPLE)))


def _count(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"
