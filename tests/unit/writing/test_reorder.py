"""What buckets on disk cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.writing import reorder
from noether.data.zarr_store.writing.reorder import ExternalShuffle, GatheredRows

BUCKET_BYTES = 1 << 18
GRID = Grid.fit(400_000, 1_000)
ORDER = np.random.default_rng(0).permutation(GRID.n_points)
N_BYTES = GRID.n_points * 3 * 4


def blocks(read: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The source, of which a little is in memory at a time; takes down which rows were read."""
    for first in range(0, GRID.n_points, 4_000):
        read.append(first)
        yield first, np.arange(first * 3, (first + 4_000) * 3, dtype="f4").reshape(-1, 3)


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "_BUCKET_BYTES", BUCKET_BYTES)
    monkeypatch.setattr(reorder, "_BLOCK_BYTES", BUCKET_BYTES)


@pytest.mark.slow
@pytest.mark.usefixtures("small_buckets")
def test_a_field_of_many_buckets_takes_the_memory_of_a_few(tmp_path: Path) -> None:
    """The field is read once, front to back."""
    stored_rows, read = np.argsort(ORDER), list[int]()
    tracemalloc.start()
    try:
        rows = ExternalShuffle(tmp_path, GRID, stored_rows, 3, np.dtype("float32")).scatter(blocks(read))
        for chunk in range(GRID.n_chunks):
            where = GRID.rows(chunk, chunk + 1)
            # Row i of the source holds 3 i, 3 i + 1 and 3 i + 2.
            assert rows.chunk(where.start, where.stop)[:, 0].tolist() == (3.0 * ORDER[where]).tolist()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == list(range(0, GRID.n_points, 4_000))
    # Two buckets loaded, a third that comes, its records, and the buffers of the files.
    assert peak < 5 * BUCKET_BYTES < N_BYTES / 2


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize(
    ("chunks", "n_buckets"),
    [
        pytest.param(range(GRID.n_chunks), 0, id="one after the other, each forgotten once it was given"),
        pytest.param(range(0, GRID.n_chunks, 25), 2, id="one of each, the last two stay"),
    ],
)
def test_few_buckets_stay_in_memory(tmp_path: Path, chunks: range, n_buckets: int) -> None:
    rows = ExternalShuffle(tmp_path, GRID, np.argsort(ORDER), 3, np.dtype("float32")).scatter(blocks([]))
    tracemalloc.start()
    try:
        for chunk in chunks:
            rows.chunk(GRID.rows(chunk, chunk + 1).start, GRID.rows(chunk, chunk + 1).stop)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < (n_buckets + 0.1) * BUCKET_BYTES


def test_there_are_no_more_open_files_than_most_systems_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "_BUCKET_BYTES", 1)
    grid = Grid.fit(5_000, 1)
    source = np.arange(5_000.0).reshape(-1, 1)
    ExternalShuffle(tmp_path, grid, np.arange(5_000), 1, np.dtype("float32")).scatter(iter([(0, source)]))
    assert 200 < len(list(tmp_path.iterdir())) <= 256


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_allowed_infinities_and_nans_are_no_warning(stored: str, tmp_path: Path) -> None:
    signalling_nan = np.array([0x7FF0000000000001], "u8").view("f8")
    values = np.concatenate([signalling_nan, [np.nan, np.inf, -np.inf]]).reshape(-1, 1)
    dtype, order = np.dtype(stored), np.array([3, 1, 0, 2])
    gathered = GatheredRows(values, order, dtype).chunk(0, 4)
    bucketed = ExternalShuffle(tmp_path, Grid(4, 4, 4), np.argsort(order), 1, dtype).scatter(iter([(0, values)]))
    np.testing.assert_array_equal(gathered, [[-np.inf], [np.nan], [np.nan], [np.inf]])
    assert bucketed.chunk(0, 4).tobytes() == gathered.tobytes()
