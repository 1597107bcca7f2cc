"""The law of a draw, through the reader, from files: every point has the same chance."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.sampling.plan import CHUNK_ORDERS, ChunkOrder
from support.ahmed import Arrays
from support.lanes import few_fast
from support.reading import source_rows, write_samples

FILEMAP = FileMap(surface_position="p", surface_pressure="q")
N_DRAWS = 1000


def numbered(n_points: int) -> Arrays:
    """Return points whose values are their numbers."""
    numbers = np.arange(n_points, dtype=np.float32)
    return {"surface_position": numbers[:, None] + np.zeros(3, np.float32), "surface_pressure": numbers}


@given(
    n_points=st.integers(1, 90),
    chunk_points=st.integers(1, 100),
    shard_points=st.none() | st.integers(1, 120),
    wanted=st.integers(1, 100),
    seed=st.integers(0, 2**40),
    chunk_order=st.sampled_from(CHUNK_ORDERS),
)
def test_a_draw_gives_distinct_points_of_as_few_chunks_as_promised(
    n_points: int, chunk_points: int, shard_points: int | None, wanted: int, seed: int, chunk_order: ChunkOrder
) -> None:
    """All fields have the same points."""
    with tempfile.TemporaryDirectory() as directory:
        root = write_samples(
            Path(directory),
            {"s": numbered(n_points)},
            FILEMAP,
            chunk_points=chunk_points,
            shard_points=shard_points,
            values_dtype="float32",
        )
        reader = ZarrChunkReader(root, chunk_order=chunk_order)
        stored = reader.read_arrays("s", fields=["surface_pressure"])["surface_pressure"].tolist()
        drawn = reader.read_arrays("s", {"surface": wanted}, seed)

    points = drawn["surface_pressure"].tolist()
    assert len(points) == len(set(points)) == min(wanted, n_points)
    assert set(points) <= set(stored) == set(range(n_points))
    np.testing.assert_array_equal(drawn["surface_position"], np.column_stack([points] * 3))
    chunks = {stored.index(point) // min(chunk_points, n_points) for point in points}
    assert len(chunks) <= -(-wanted // chunk_points) + 1


@dataclass(frozen=True)
class Domain:
    """29 points of a real surface, in three chunks of eight and one of five."""

    root: Path
    positions: NDArray[np.float32]


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory, run_1: Arrays) -> Domain:
    sample = {field: run_1[field][::70][:29] for field in ("surface_position", "surface_pressure")}
    root = write_samples(tmp_path_factory.mktemp("law"), {"s": sample}, FILEMAP, chunk_points=8)
    return Domain(root, sample["surface_position"])


@pytest.mark.parametrize("chunk_order", CHUNK_ORDERS)
@pytest.mark.parametrize(
    "wanted",
    few_fast(
        [
            pytest.param(11, id="no multiple of a chunk"),
            pytest.param(3, id="less than the short chunk"),
            pytest.param(27, id="more than the full chunks"),
        ]
    ),
)
def test_every_point_of_a_real_domain_has_the_same_chance(domain: Domain, wanted: int, chunk_order: ChunkOrder) -> None:
    n_points = len(domain.positions)
    reader = ZarrChunkReader(domain.root, chunk_order=chunk_order)
    rng = np.random.default_rng(20240229)
    of_each_draw, one_of_each_draw = np.zeros(n_points), np.zeros(n_points)
    for _ in range(N_DRAWS):
        drawn = reader.read_arrays("s", {"surface": wanted}, rng, ["surface_position"])["surface_position"]
        rows = source_rows(drawn, domain.positions)
        of_each_draw[rows] += 1
        one_of_each_draw[rng.choice(rows)] += 1

    # The points of one draw depend on each other, as they share chunks; one point of each draw does not.
    assert stats.chisquare(one_of_each_draw).pvalue > 1e-3
    # Each point's own count is binomial, so that the largest deviation of all is bounded by Bonferroni's inequality.
    p_values = [stats.binomtest(int(count), N_DRAWS, wanted / n_points).pvalue for count in of_each_draw]
    assert min(p_values) * n_points > 1e-3
