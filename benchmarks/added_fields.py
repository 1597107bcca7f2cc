"""Adding a field to converted samples, compared with converting them."""

from __future__ import annotations

import shutil
from functools import partial

from benchmarks.conversion import conversion_tree
from benchmarks.conversion_jobs import run_conversion_job
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, Settings
from benchmarks.timing import order_of

__all__ = ["compare_added_fields"]

_SAMPLES = 16
_ADD, _ADD_ALL, _CONVERT = "noether, the pressure added", "noether, added, all positions compared", "noether, converted"


def compare_added_fields(settings: Settings) -> Comparison:
    """Convert four fields, or add the scalar field to samples of the other three. Fresh processes take turns."""
    repetitions, n_points = settings.repetitions(quick=1, full=3), settings.n_points
    roots = {name: settings.work_dir / f"added-{name}" for name in ("all", "grown")}
    size = {"tree": str(conversion_tree(settings.work_dir, n_points, _SAMPLES)), "chunk_points": CHUNK_POINTS[0]}
    size |= {"workers": 2, "threads": 2}
    add = partial(run_conversion_job, "add_pressure", root=str(roots["grown"]), **size)
    runs = {
        _ADD: partial(add, compare="some"),
        _ADD_ALL: partial(add, compare="all"),
        _CONVERT: partial(run_conversion_job, "convert_ours", root=str(roots["all"]), **size),
    }
    names, seconds = list(runs), {name: list[float]() for name in runs}
    for repetition in range(-1, repetitions):  # repetition -1 is not timed: it fills the page cache
        for place in order_of(max(repetition, 0), len(names)):
            value = runs[names[place]]()
            seconds[names[place]] += [value] if repetition >= 0 else []
    for root in roots.values():
        shutil.rmtree(root, ignore_errors=True)
    case = Case(
        f"{_SAMPLES} samples of {n_points:,} points", "s", [Row(name, values) for name, values in seconds.items()]
    )
    case.within(_CONVERT, at_most=0.25)
    parameters = {"samples": _SAMPLES, "points": n_points, "chunk_points": CHUNK_POINTS[0], "repetitions": repetitions}
    return Comparison.of("added", settings, parameters, [case])
