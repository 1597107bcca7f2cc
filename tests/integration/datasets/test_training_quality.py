"""Draws of runs of chunks have the same distribution of means and variances as truly random draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from noether.data.schemas import FileMap
from noether.data.zarr_store.datasets import ZarrStoreDataset
from support.ahmed import RUNS, load_run
from support.reading import as_stored, write_samples

pytestmark = pytest.mark.slow

FILEMAP = FileMap(
    surface_position="a", surface_pressure="b", surface_friction="c", volume_position="d", volume_velocity="e"
)
FIELDS = ("surface_position", "surface_pressure", "surface_friction", "volume_position", "volume_velocity")
NUM_POINTS = {"surface": 250, "volume": 1000}
CHUNK_POINTS = 128
N_SHUFFLES = 16
N_RANDOM = 100
# A fair draw would fail one of the 26 comparisons for one in a hundred seeds; the seeds are fixed.
SIGNIFICANCE = 0.01 / 26


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each bundled run many times under different ids, so each time in another order."""
    root = tmp_path_factory.mktemp("quality") / "store"
    runs = {run: {field: values for field, values in load_run(run).items() if field in FIELDS} for run in RUNS}
    samples = {f"{run}/{number}": runs[run] for run in RUNS for number in range(N_SHUFFLES)}
    return write_samples(root, samples, FILEMAP, chunk_points=CHUNK_POINTS, compression_level=1)


def moments(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean and variance of a draw, for each component."""
    return np.concatenate([drawn.mean(axis=0), drawn.var(axis=0, ddof=1)])


def test_means_and_variances_of_draws_are_those_of_truly_random_draws(root: Path) -> None:
    """The draws to compare with have the same size."""
    dataset, rng = ZarrStoreDataset(root, num_points=NUM_POINTS), np.random.default_rng(1)
    items = [dataset[number] for number in range(len(dataset))]
    p_values = []
    for field in FIELDS:
        ours, random = [], []
        for run in RUNS:
            # Scaled by all points of the run, so that the values of all runs can be combined.
            stored = as_stored(load_run(run)[field], "float32" if field.endswith("position") else "float16")
            whole = stored.reshape(len(stored), -1).astype(np.float64)
            center, scale = whole.mean(axis=0), whole.std(axis=0)
            drawn = [item[field].numpy() for item in items if item["sample_id"].startswith(f"{run}/")]
            assert len(drawn) == N_SHUFFLES
            ours += [moments((values.reshape(len(values), -1) - center) / scale) for values in drawn]
            count = NUM_POINTS[field.partition("_")[0]]
            for _ in range(N_RANDOM):
                rows = rng.choice(len(whole), count, replace=False, shuffle=False)
                random.append(moments((whole[rows] - center) / scale))
        p_values += stats.ks_2samp(np.array(ours), np.array(random)).pvalue.tolist()
    assert len(p_values) == 26
    assert min(p_values) > SIGNIFICANCE
