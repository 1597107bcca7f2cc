"""Draws and whole samples from local disk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.data import Arrays, compression_ratios
from benchmarks.formats import Prepared, prepare
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings, cores
from benchmarks.timing import Contender, race
from benchmarks.uncompressed import race_uncompressed
from benchmarks.verification import require_draw, require_equal

__all__ = ["aligned_window", "compare_draws", "compare_whole"]

FANCY = "zarr-python, fancy"
SLICES = "zarr-python, slices"
TENSORSTORE = "tensorstore"
FLOOR = "floor: mapped .npy"
DECODING = "decoding alone, of the same chunks in memory"

_TENSORSTORE_CACHE_BYTES = 16_000_000
_SLOW_REPETITIONS = 5


def compare_draws(settings: Settings) -> Comparison:
    """Compare draws of 16,384 points, at two sizes of chunks."""
    repetitions = settings.repetitions(quick=30, full=100)
    cases = []
    for chunk_points in CHUNK_POINTS:
        prepared = prepare(settings.work_dir, settings.n_points, chunk_points)
        case = _race_draws(prepared, repetitions)
        few = chunk_points == CHUNK_POINTS[0]
        case.faster(FANCY, at_least=25 if few else 20)
        case.faster(SLICES, at_least=12 if few else 6)
        case.faster(TENSORSTORE, at_least=2 if few else 2.5)
        if few:
            case.within(FLOOR, at_most=3)
        else:
            case.within(DECODING, at_most=1.5)
        cases.append(case)
    stored = [prepare(settings.work_dir, settings.n_points, chunk_points, level=0) for chunk_points in CHUNK_POINTS]
    cases.append(race_uncompressed(stored, repetitions))
    parameters = {
        "points": settings.n_points,
        "points_drawn": DRAW_POINTS,
        "repetitions": repetitions,
        "compression_ratio": compression_ratios(settings.work_dir, dict(prepared.shuffled), CHUNK_POINTS[0]),
    }
    return Comparison.of("draws", settings, parameters, cases)


def compare_whole(settings: Settings) -> Comparison:
    """Compare reads of all points of a sample."""
    repetitions = settings.repetitions(quick=5, full=15)
    threads = cores()
    cases = []
    for chunk_points in CHUNK_POINTS:
        prepared = prepare(settings.work_dir, settings.n_points, chunk_points)
        rows = slice(0, prepared.n_points)
        ours = f"noether, {threads} threads"
        reads: dict[str, peers.ReadSlice] = {
            SLICES: peers.zarr_slices(prepared),
            "zarrs, slices": peers.zarrs_slices(prepared),
            TENSORSTORE: peers.tensorstore_slices(prepared),
            "h5py, slices": peers.h5py_slices(prepared),
            ".pt, loaded whole": peers.torch_rows(prepared, mmap=False),
            FLOOR: peers.npy_slices(prepared),
        }
        contenders = [
            Contender(ours, peers.ours(prepared, None, threads)),
            Contender("noether, 1 thread", peers.ours(prepared, None)),
            *(Contender(name, _always(read, rows)) for name, read in reads.items()),
        ]
        expected = prepared.expected(rows)
        for contender in contenders:
            if not contender.name.startswith(".pt"):  # the .pt files are in source order; draws verify them
                require_equal(contender.name, contender.read(0), expected)
        seconds = race(contenders, repetitions)
        case = Case(f"chunks of {chunk_points:,}", "s", [Row(name, values) for name, values in seconds.items()])
        case.faster(SLICES, at_least=2)
        case.faster(TENSORSTORE, at_least=1)
        cases.append(case)
    return Comparison.of("whole", settings, {"points": settings.n_points, "repetitions": repetitions}, cases)


def aligned_window(prepared: Prepared, seed: int) -> slice:
    """Return the rows of a slice reader: as many as a draw of ours takes, from the first row of a random chunk on."""
    n_chunks = -(-DRAW_POINTS // prepared.chunk_points)
    last = max(prepared.n_points // prepared.chunk_points - n_chunks, 0)
    # The seed is independent of ours: our draw of the same seed reads other chunks.
    first = int(np.random.default_rng([seed, 1]).integers(last + 1)) * prepared.chunk_points
    return slice(first, min(first + DRAW_POINTS, prepared.n_points))


def _always(read: peers.ReadSlice, rows: slice) -> Callable[[int], Arrays]:
    return lambda _: read(rows)


def _windows(read: peers.ReadSlice, prepared: Prepared) -> Callable[[int], Arrays]:
    return lambda seed: read(aligned_window(prepared, seed))


def _race_draws(prepared: Prepared, repetitions: int) -> Case:
    slices = {
        SLICES: peers.zarr_slices(prepared),
        "zarrs, slices": peers.zarrs_slices(prepared),
        TENSORSTORE: peers.tensorstore_slices(prepared),
        "tensorstore, 16 MB cache": peers.tensorstore_slices(prepared, _TENSORSTORE_CACHE_BYTES),
        "h5py, slices": peers.h5py_slices(prepared),
        FLOOR: peers.npy_slices(prepared),
    }
    decoding = peers.decoding_alone(prepared, DRAW_POINTS, repetitions)
    fancy = peers.zarr_fancy(prepared)
    loaded, mapped = peers.torch_rows(prepared, mmap=False), peers.torch_rows(prepared, mmap=True)

    def window(seed: int) -> slice:
        return aligned_window(prepared, seed)

    def indices(seed: int) -> NDArray[np.int64]:
        rows = window(seed)
        return np.arange(rows.start, rows.stop)

    def anywhere(seed: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([seed, 2])
        n_drawn = min(DRAW_POINTS, prepared.n_points)
        return np.sort(rng.choice(prepared.n_points, n_drawn, replace=False, shuffle=False))

    contenders = [
        Contender("noether", peers.ours(prepared, DRAW_POINTS)),
        Contender(DECODING, decoding),
        Contender(FANCY, lambda seed: fancy(indices(seed))),
        Contender("zarr-python, fancy, rows anywhere", lambda seed: fancy(anywhere(seed)), _SLOW_REPETITIONS),
        *(Contender(name, _windows(read, prepared)) for name, read in slices.items()),
        Contender(".pt, loaded whole", lambda seed: loaded(anywhere(seed)), _SLOW_REPETITIONS),
        Contender(".pt, mapped", lambda seed: mapped(anywhere(seed))),
    ]
    for name, read in slices.items():
        require_equal(name, read(window(0)), prepared.expected(window(0)))
    require_equal(FANCY, fancy(indices(0)), prepared.expected(indices(0)))
    for contender in contenders:
        require_draw(contender.name, contender.read(0), prepared, min(DRAW_POINTS, prepared.n_points))
    seconds = race(contenders, repetitions)
    return Case(f"chunks of {prepared.chunk_points:,}", "s", [Row(name, values) for name, values in seconds.items()])
