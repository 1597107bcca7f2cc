"""Statistics of all points of a sample, and of as many points as a tolerance requires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.data import FIELDS, Arrays
from benchmarks.formats import Prepared, prepare
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, Settings, cores
from benchmarks.timing import Contender, race
from benchmarks.zarr_writing import array_path
from noether.data.zarr_store.statistics import RunningStats, calculate_store_statistics

__all__ = ["compare_statistics"]

_WHOLE = "zarr-python, whole arrays"
_CHUNKS = "zarr-python, chunk by chunk"
_NUMPY = "zarr-python, whole arrays, figures of NumPy"
_TOLERANCE = 0.01
_SLOW_REPETITIONS = 3
# Number of values per step when statistics are computed from a whole array.
_BLOCK_POINTS = 1 << 17

_IO = Path("/proc/self/io")


def compare_statistics(settings: Settings) -> Comparison:
    """Compare full passes at two sizes of chunks, and count the bytes that a pass with a tolerance reads."""
    repetitions = settings.repetitions(quick=5, full=15)
    seeds = settings.repetitions(quick=20, full=100)
    cases = []
    for chunk_points in CHUNK_POINTS:
        prepared = prepare(settings.work_dir, settings.n_points, chunk_points)
        case = _race_passes(prepared, repetitions)
        case.faster(_NUMPY, at_least=5)
        case.faster(_WHOLE, at_least=5)
        cases.append(case)
        cases.append(_count_bytes(prepared, seeds))
    parameters = {
        "points": settings.n_points,
        "repetitions": repetitions,
        "tolerance": _TOLERANCE,
        "seeds": seeds,
    }
    return Comparison.of("stats", settings, parameters, cases)


def _race_passes(prepared: Prepared, repetitions: int) -> Case:
    threads = cores()
    group = zarr.open_group(str(prepared.group), mode="r", zarr_format=3)
    arrays = {field: _array(group, field) for field in FIELDS}
    passes: dict[str, Callable[[], dict[str, RunningStats]]] = {
        f"noether, {threads} threads": lambda: calculate_store_statistics(prepared.store_root, max_workers=threads),
        "noether, 1 thread": lambda: calculate_store_statistics(prepared.store_root, max_workers=1),
        _WHOLE: lambda: {field: _merged(_blocks(np.asarray(array[:]))) for field, array in arrays.items()},
        _CHUNKS: lambda: {field: _merged(_chunks(array, prepared.chunk_points)) for field, array in arrays.items()},
    }
    expected = {field: _figures_of_numpy(values) for field, values in prepared.shuffled.items()}
    for name, calculate in passes.items():
        _require_close(name, _figures(calculate()), expected)
    contenders = [
        *(
            Contender(name, _always(calculate), _SLOW_REPETITIONS if name == _CHUNKS else None)
            for name, calculate in passes.items()
        ),
        Contender(
            _NUMPY,
            lambda _: _as_result({field: _figures_of_numpy(np.asarray(array[:])) for field, array in arrays.items()}),
        ),
    ]
    seconds = race(contenders, repetitions)
    return Case(f"all points, chunks of {prepared.chunk_points:,}", "s", [Row(name, s) for name, s in seconds.items()])


def _count_bytes(prepared: Prepared, seeds: int) -> Case:
    """Count the bytes of a pass with a tolerance, and the intervals that contain the true mean."""
    before = _bytes_read()
    true = calculate_store_statistics(prepared.store_root)
    whole = _bytes_read() - before
    read, inside = [], []
    for seed in range(seeds):
        before = _bytes_read()
        stats = calculate_store_statistics(prepared.store_root, tolerance=_TOLERANCE, seed=seed)
        read.append(float(_bytes_read() - before))
        inside += [np.abs(one.mean - true[field].mean) <= one.mean_margin for field, one in stats.items()]
    share = 100 * float(np.concatenate(inside).mean())
    rows = [
        Row(f"noether, tolerance {_TOLERANCE}", read, {"true means inside (%)": share}),
        Row("noether, full pass", [float(whole)]),
    ]
    case = Case(f"bytes read, chunks of {prepared.chunk_points:,}", "bytes", rows)
    case.within(rows[1].name, at_most=0.1, what="bytes")
    return case


def _array(group: zarr.Group, field: str) -> zarr.Array[Any]:
    array = group[array_path(field)]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{array_path(field)} is not an array")
    return array


def _blocks(values: NDArray[Any]) -> Iterator[RunningStats]:
    for start in range(0, len(values), _BLOCK_POINTS):
        yield RunningStats.of(values[start : start + _BLOCK_POINTS])


def _chunks(array: zarr.Array[Any], chunk_points: int) -> Iterator[RunningStats]:
    for start in range(0, array.shape[0], chunk_points):
        yield RunningStats.of(np.asarray(array[start : start + chunk_points]))


def _merged(parts: Iterator[RunningStats]) -> RunningStats:
    return reduce(RunningStats.merge, parts)


def _figures(stats: Mapping[str, RunningStats]) -> Arrays:
    return {
        field: np.stack([one.mean, one.std, one.min, one.max, one.logmean, one.logstd]) for field, one in stats.items()
    }


def _figures_of_numpy(values: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the same statistics with plain NumPy: from the whole array in float64."""
    exact = np.asarray(values, np.float64)
    logs = np.sign(exact) * np.log1p(np.abs(exact))
    return np.stack(
        [exact.mean(0), exact.std(0), exact.min(0), exact.max(0), logs.mean(0), logs.std(0)],
    )


def _require_close(name: str, found: Arrays, expected: Arrays) -> None:
    """Check all statistics to within 1e-9, relative to the standard deviation or to their values."""
    for field, figures in expected.items():
        if not np.allclose(found[field], figures, rtol=1e-9, atol=1e-9 * float(figures[1].max())):
            raise AssertionError(f"{name}: the statistics of {field} are not those of the stored values")


def _always(calculate: Callable[[], dict[str, RunningStats]]) -> Callable[[int], Arrays]:
    return lambda _: _as_result(_figures(calculate()))


def _as_result(figures: Arrays) -> Arrays:
    return {field: values.astype(np.float32) for field, values in figures.items()}


def _bytes_read() -> int:
    """Return the bytes that this process has read from files, from the page cache or not; see proc_pid_io(5)."""
    [line] = [line for line in _IO.read_text().splitlines() if line.startswith("rchar:")]
    return int(line.split()[1])
