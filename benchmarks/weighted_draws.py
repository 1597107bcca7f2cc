"""Draws that follow a weight, compared with uniform draws."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import DOMAIN, FILEMAP, SAMPLE, source_arrays
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings
from benchmarks.timing import order_of
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.datasets import Draw, Falloff, ZarrStoreDataset
from noether.data.zarr_store.demo import SIMULATIONS

__all__ = ["compare_weighted_draws"]

_FIELDS = ["volume_position", "volume_pressure", "volume_velocity"]
_SDF = "volume_sdf"
_OVERSAMPLE = 4
_UNIFORM, _ALL = "noether, uniform", f"noether, uniform, {_OVERSAMPLE} times the points"
_WEIGHTED, _INVERSE = "noether, weighted", "noether, weighted, with inverse weights"


def compare_weighted_draws(settings: Settings) -> Comparison:
    """Compare draws that prefer points near the surface with uniform draws from the same sample."""
    repetitions = settings.repetitions(quick=50, full=500)
    root = _store(settings)
    near, n_points = Falloff(_SDF, 0.02), DRAW_POINTS
    draws = {
        _WEIGHTED: Draw(DOMAIN, n_points, _FIELDS, weight=near, oversample=_OVERSAMPLE),
        _INVERSE: Draw(DOMAIN, n_points, _FIELDS, weight=near, oversample=_OVERSAMPLE, with_inverse=True),
        _UNIFORM: Draw(DOMAIN, n_points, _FIELDS),
        _ALL: Draw(DOMAIN, _OVERSAMPLE * n_points, [*_FIELDS, _SDF]),
    }
    datasets = {
        name: ZarrStoreDataset(root, num_points={}, fields=[], draws={"query": draw}) for name, draw in draws.items()
    }
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in datasets}
    names = list(datasets)
    for repetition in range(-10, repetitions):
        for place in order_of(max(repetition, 0), len(names)):
            dataset = datasets[names[place]]
            dataset.set_epoch(repetition + 10)
            begun = time.perf_counter()
            dataset[0]
            taken = time.perf_counter() - begun
            seconds[names[place]] += [taken] if repetition >= 0 else []
    case = Case(
        f"{n_points:,} of {settings.n_points:,} points, three fields", "s", [Row(*one) for one in seconds.items()]
    )
    for name in (_WEIGHTED, _INVERSE):
        case.within(_UNIFORM, at_most=4.5, ours=name)
    parameters = {"points": settings.n_points, "points drawn": n_points, "oversample": _OVERSAMPLE}
    return Comparison.of("weighted", settings, parameters | {"repetitions": repetitions}, [case])


def _store(settings: Settings) -> Path:
    """Write a sample with the distance of real cells to the surface. It is kept for the next benchmark."""
    root = settings.work_dir / f"store-weighted-{settings.n_points}"
    if not (root / "manifest.json").exists():
        files = [SIMULATIONS / f"run_{run}" / "volume_cell_sdf.npy" for run in range(1, 7)]
        real = np.concatenate([np.load(file).ravel() for file in files])
        source = {**source_arrays(settings.work_dir, settings.n_points), _SDF: np.resize(real, settings.n_points)}
        filemap = FILEMAP.model_copy(update={"volume_distance_to_surface": "sdf.npy"})
        writer = ZarrStoreWriter(root, filemap, "benchmark", chunk_points=CHUNK_POINTS[0])
        writer.write_sample(SAMPLE, source)
        writer.save_manifest()
    return root
