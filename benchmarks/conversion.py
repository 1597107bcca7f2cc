"""Conversion of many samples: time by number of processes and for zarr-python, overhead of the engine, memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import zarr

from benchmarks.conversion_jobs import run_conversion_job, torch_file
from benchmarks.data import FIELDS, source_arrays
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.settings import CHUNK_POINTS, Settings
from benchmarks.timing import order_of
from benchmarks.zarr_writing import array_path

__all__ = ["compare_conversion", "conversion_tree"]

_SAMPLES = 16
_OURS = "noether, 2 processes"
_ONE = "noether, 1 process"
_THREADS = "noether, 1 process of 2 threads"
_ZARR = "zarr-python, 2 processes"
_PLANNED, _MEASURED = "noether, as planned", "noether, as measured"
_MEGABYTE = 1e6

Runs = dict[str, Callable[[], float]]


def compare_conversion(settings: Settings) -> Comparison:
    """Convert trees of ``.pt`` files, and samples that take no work. Each execution is a fresh process."""
    repetitions, n_points = settings.repetitions(quick=1, full=3), settings.n_points
    n_calls = settings.repetitions(quick=500, full=3000)
    root = str(settings.work_dir / "converted-complete")
    engine = _compare(
        "a sample that takes no work",
        "s",
        {
            "noether, complete before": partial(
                run_conversion_job, "convert_complete", root=root, n_samples=n_calls, workers=2
            ),
            "noether, a call of a process": partial(run_conversion_job, "call_nothing", n_calls=n_calls, workers=2),
        },
        repetitions,
    )
    for row in engine.rows:
        engine.below(0.005, ours=row.name)
    shutil.rmtree(root)
    conversions = _compare_conversions(settings, n_points, repetitions)
    conversions.faster(_ONE, at_least=1.8)
    conversions.faster(_ZARR, at_least=5)
    parameters = {
        "samples": _SAMPLES,
        "points": n_points,
        "chunk_points": CHUNK_POINTS[0],
        "samples without work": n_calls,
        "repetitions": repetitions,
    }
    cases = [conversions, engine, _compare_memory(settings, repetitions)]
    return Comparison.of("conversion", settings, parameters, cases)


def _compare_conversions(settings: Settings, n_points: int, repetitions: int) -> Case:
    """Convert the same samples with each contender, in turn."""
    many = conversion_tree(settings.work_dir, n_points, _SAMPLES)
    roots = {name: settings.work_dir / f"converted-{name}" for name in ("ours", "zarr")}
    size = {"tree": str(many), "chunk_points": CHUNK_POINTS[0]}
    ours = partial(run_conversion_job, "convert_ours", root=str(roots["ours"]), **size)
    case = _compare(
        f"{_SAMPLES} samples of {n_points:,} points",
        "s",
        {
            _OURS: partial(ours, workers=2, threads=2),
            _ONE: partial(ours, workers=1, threads=1),
            _THREADS: partial(ours, workers=1, threads=2),
            _ZARR: partial(run_conversion_job, "convert_zarr", root=str(roots["zarr"]), workers=2, **size),
        },
        repetitions,
    )
    _require_same(many, *roots.values())
    for root in roots.values():
        shutil.rmtree(root)
    return case


def _compare(title: str, unit: str, runs: Runs, repetitions: int, scale: float = 1.0) -> Case:
    """Run all contenders in turn, first once without timing, to bring the files into the page cache."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    errors: dict[str, str] = {}
    names = list(runs)
    for repetition in range(-1, repetitions):
        for place in order_of(max(repetition, 0), len(names)):
            name = names[place]
            if name in errors:
                continue
            try:
                value = runs[name]()
            except RuntimeError as error:
                errors[name] = str(error)
            else:
                measured[name] += [value / scale] if repetition >= 0 else []
    return Case(title, unit, [Row(name, values, error=errors.get(name)) for name, values in measured.items()])


def _compare_memory(settings: Settings, repetitions: int) -> Case:
    tree = conversion_tree(settings.work_dir, settings.n_points, 1)
    root = settings.work_dir / "converted-largest"
    size = {"tree": str(tree), "root": str(root), "chunk_points": CHUNK_POINTS[0]}
    runs: Runs = {
        _PLANNED: partial(run_conversion_job, "planned_memory", **size),
        _MEASURED: partial(run_conversion_job, "measured_memory", **size),
    }
    case = _compare("memory of a worker", "MB", runs, repetitions, _MEGABYTE)
    planned, measured = case.rows
    if planned.values and measured.values:
        ratio = planned.median / measured.median
        case.targets.append(Target("planned memory over the measured one", ratio, 0.7, at_least=True))
        case.targets.append(Target("planned memory over the measured one", ratio, 1.3, at_least=False))
    shutil.rmtree(root, ignore_errors=True)
    return case


def conversion_tree(work_dir: Path, n_points: int, n_samples: int) -> Path:
    """Write samples that differ: the source with rolled rows. They are kept for the next benchmark."""
    import torch

    tree = work_dir / f"tree-{n_samples}-{n_points}"
    if tree.exists():
        return tree
    staged = tree.with_suffix(".part")
    shutil.rmtree(staged, ignore_errors=True)
    source = source_arrays(work_dir, n_points)
    for number in range(n_samples):
        directory = staged / f"run_{number:02}"
        directory.mkdir(parents=True)
        for field, values in source.items():
            torch.save(torch.from_numpy(np.roll(values, number, axis=0)), directory / torch_file(field))
    staged.rename(tree)
    return tree


def _require_same(tree: Path, ours: Path, theirs: Path) -> None:
    """Check that both stores hold the same values."""
    for sample in tree.iterdir():
        groups = [zarr.open_group(str(root / f"{sample.name}.zarr"), mode="r") for root in (ours, theirs)]
        for field in FIELDS:
            mine, other = (np.asarray(group[array_path(field)]) for group in groups)
            if mine.dtype != other.dtype or not np.array_equal(mine, other):
                raise AssertionError(f"{sample.name}: {field} differs between the stores")
