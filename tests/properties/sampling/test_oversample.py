"""The distance of weighted draws from their weights, by oversample: the figures of docs/weighted-draws.md."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store.sampling import permutation
from noether.data.zarr_store.sampling.weighting import DEFAULT_OVERSAMPLE, Line
from support.ahmed import load_run
from support.repository import ROOT

PAGE = (ROOT / "docs" / "weighted-draws.md").read_text(encoding="utf-8")


def stored(values: NDArray[Any], domain: str) -> NDArray[np.float64]:
    """Return values of run_1 in the order of a store with the default seed."""
    order = permutation(len(values), algorithm="hash-v1", shuffle_seed=0, sample_id="run_1", domain=domain)
    return values[order].astype(np.float64)


def distance(weights: NDArray[np.float64], n_taken: int, oversample: int | None) -> float:
    """Return half of the sum of all differences of chances from proportional ones, over all windows of candidates."""
    n_points = len(weights)
    n_read = n_points if oversample is None else oversample * n_taken
    ring, chances = np.concatenate([weights, weights]), np.zeros(2 * n_points)
    for first in range(n_points if n_read < n_points else 1):
        window = slice(first, first + n_read)
        line = Line.of_weights(ring[window].copy(), n_taken)
        chances[window] += line.lengths / 2.0**64
        chances[first + line.certain] += 1
    folded = chances[:n_points] + chances[n_points:]
    return float(np.abs(folded / folded.sum() - weights / weights.sum()).sum() / 2)


def figures_of(row: str) -> dict[int | None, float]:
    """Return the distances on the page, by oversample; None stands for all points."""
    match = re.search(rf"^\| {row} \|(.+)\|$", PAGE, flags=re.MULTILINE)
    assert match is not None
    return dict(zip((1, 2, 3, 4, 8, None), map(float, match[1].split("|")), strict=True))


def test_draws_by_area_are_as_close_as_the_page_says() -> None:
    area = stored(load_run("run_1")["surface_area"], "surface")
    found = {oversample: distance(area, 128, oversample) for oversample in figures_of("area")}
    assert found == pytest.approx(figures_of("area"), abs=6e-5)
    assert found[DEFAULT_OVERSAMPLE] < 0.05 * found[1]


@pytest.mark.slow
def test_draws_near_the_wall_are_as_close_as_the_page_says() -> None:
    falloff = 1 / (np.abs(stored(load_run("run_1")["volume_sdf"], "volume")) + 0.02)
    found = {oversample: distance(falloff, 1024, oversample) for oversample in figures_of("falloff")}
    assert found == pytest.approx(figures_of("falloff"), abs=6e-5)
    assert found[DEFAULT_OVERSAMPLE] < 0.05 * found[1]
