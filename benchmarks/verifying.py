"""Verification of a store, compared with a plain read of it, and the cost of checksums in a draw."""

from __future__ import annotations

from benchmarks.data import DOMAIN, SAMPLE, Arrays
from benchmarks.formats import prepare
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings, cores
from benchmarks.timing import Contender, race
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.upkeep.verify import Level, verify_store

__all__ = ["compare_verification"]


def compare_verification(settings: Settings) -> Comparison:
    """Compare the levels of `verify` that need no source with a whole read, and draws with and without checksums."""
    repetitions = settings.repetitions(quick=7, full=15)
    draws = settings.repetitions(quick=500, full=2000)
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
        cases += [case, _compare_draws(root, chunk_points, draws)]
    parameters = {
        "points": settings.n_points,
        "points_drawn": DRAW_POINTS,
        "repetitions": repetitions,
        "repetitions_of_draws": draws,
    }
    return Comparison.of("verify", settings, parameters, cases)


def _compare_draws(root: str, chunk_points: int, repetitions: int) -> Case:
    seconds = race([_draw(root, verify_checksums=True), _draw(root, verify_checksums=False)], repetitions)
    checked, unchecked = (Row(name, values) for name, values in seconds.items())
    case = Case(f"a draw, chunks of {chunk_points:,}", "s", [checked, unchecked])
    case.within(unchecked.name, at_most=1.05)
    return case


def _draw(root: str, *, verify_checksums: bool) -> Contender:
    reader = ZarrChunkReader(root, verify_checksums=verify_checksums)
    wanted = {DOMAIN: DRAW_POINTS}
    name = f"draw, checksums {'verified' if verify_checksums else 'ignored'}"
    return Contender(name, lambda seed: dict(reader.read_arrays(SAMPLE, wanted, generator=seed)))


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
