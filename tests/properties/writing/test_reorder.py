"""Rows that go through buckets on disk are those gathered from memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.writing import reorder
from noether.data.zarr_store.writing.reorder import ExternalShuffle, GatheredRows

GRIDS = st.builds(Grid.fit, st.integers(1, 400), st.integers(1, 60), st.none() | st.integers(1, 200))
SOURCES = st.sampled_from(["float16", "float32", "float64", "int32", "uint8", ">f4"])
STORED = st.sampled_from(["float16", "float32", "float64"])
BUCKET_BYTES = st.sampled_from([1, 300, 3_000, 1 << 20])


def source_of(grid: Grid, width: int, dtype: str, seed: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values, and the order in which they are stored."""
    rng = np.random.default_rng(seed)
    values: NDArray[Any] = np.arange(grid.n_points * width).reshape(grid.n_points, width) % 251
    if np.dtype(dtype).kind == "f":
        values = values / 7
        values[rng.random(values.shape) < 0.05] = rng.choice([np.nan, np.inf, -0.0])
    return values.astype(dtype), rng.permutation(grid.n_points)


def split(values: NDArray[Any], cuts: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for start, stop in pairwise(edges):
        yield start, values[start:stop]


def chunks_of(rows: GatheredRows | ExternalShuffle, grid: Grid, numbers: Iterable[int] = ()) -> list[NDArray[Any]]:
    """The chunks of these numbers, or all of them in order."""
    wheres = [grid.rows(chunk, chunk + 1) for chunk in numbers or range(grid.n_chunks)]
    return [rows.chunk(where.start, where.stop) for where in wheres]


def assert_same_chunks(given_chunks: list[NDArray[Any]], expected: list[NDArray[Any]]) -> None:
    for chunk, other in zip(given_chunks, expected, strict=True):
        assert (chunk.dtype, chunk.shape) == (other.dtype, other.shape)
        assert chunk.flags.c_contiguous
        assert chunk.tobytes() == other.tobytes()


@given(GRIDS, st.sampled_from([1, 3, 6]), SOURCES, STORED, st.integers(0, 2**32))
def test_gathered_rows_are_the_source_rows_in_stored_order_and_dtype(
    grid: Grid, width: int, source: str, stored: str, seed: int
) -> None:
    values, order = source_of(grid, width, source, seed)
    expected = values[order].astype(stored)
    gathered = chunks_of(GatheredRows(values, order, np.dtype(stored)), grid)
    assert_same_chunks(gathered, [expected[grid.rows(chunk, chunk + 1)] for chunk in range(grid.n_chunks)])


@given(
    GRIDS,
    st.sampled_from([1, 3, 6]),
    SOURCES,
    STORED,
    st.integers(0, 2**32),
    st.lists(st.integers(1, 400), max_size=6),
    BUCKET_BYTES,
    st.sampled_from([1, 3, 256]),
    st.randoms(use_true_random=False),
)
def test_bucketed_rows_are_the_gathered_ones_for_every_grid_block_and_bucket(
    grid: Grid,
    width: int,
    source: str,
    stored: str,
    seed: int,
    cuts: list[int],
    bucket_bytes: int,
    max_buckets: int,
    shuffled: Any,
) -> None:
    values, order = source_of(grid, width, source, seed)
    dtype = np.dtype(stored)
    expected = chunks_of(GatheredRows(values, order, dtype), grid)
    with (
        TemporaryDirectory() as directory,
        patch.object(reorder, "_BUCKET_BYTES", bucket_bytes),
        patch.object(reorder, "_MAX_BUCKETS", max_buckets),
    ):
        rows = ExternalShuffle(Path(directory), grid, np.argsort(order), width, dtype).scatter(split(values, cuts))
        assert len(list(Path(directory).iterdir())) <= max_buckets
        assert_same_chunks(chunks_of(rows, grid), expected)
        # In any order, and again.
        numbers = list(range(grid.n_chunks)) * 2
        shuffled.shuffle(numbers)
        assert_same_chunks(chunks_of(rows, grid, numbers), [expected[number] for number in numbers])


@pytest.fixture
def hurried_threads() -> Iterator[None]:
    """Threads take turns as often as they can, so that those that disturb each other do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hurried_threads")
@pytest.mark.parametrize("bucket_bytes", [1, 20_000], ids=["a bucket a chunk", "many chunks a bucket"])
def test_bucketed_rows_may_be_asked_for_from_many_threads(
    bucket_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reorder, "_BUCKET_BYTES", bucket_bytes)
    grid = Grid.fit(20_000, 64)
    values, order = source_of(grid, 3, "float64", 1)
    dtype = np.dtype("float32")
    rows = ExternalShuffle(tmp_path, grid, np.argsort(order), 3, dtype).scatter(split(values, [999, 7000]))
    numbers = np.random.default_rng(2).permutation(np.repeat(np.arange(grid.n_chunks), 3)).tolist()
    expected = chunks_of(GatheredRows(values, order, dtype), grid)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: chunks_of(rows, grid, [number])[0], numbers))
    assert_same_chunks(found, [expected[number] for number in numbers])
