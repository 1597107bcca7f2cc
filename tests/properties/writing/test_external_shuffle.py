"""Rows that are shuffled through buckets on disk equal the rows gathered in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.codec import hash_order
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.core.scratch import ScratchFile
from noether.data.zarr_store.writing import bucket_order
from noether.data.zarr_store.writing.bucket_order import BucketOrder, hashed_buckets, permuted_buckets
from noether.data.zarr_store.writing.external_shuffle import ExternalShuffle
from noether.data.zarr_store.writing.scattered_rows import ScatteredRows
from noether.data.zarr_store.writing.stored_rows import GatheredRows, StoredRows

GRIDS = st.builds(Grid.fit, st.integers(1, 400), st.integers(1, 60), st.none() | st.integers(1, 200))
SOURCES = st.sampled_from(["float16", "float32", "float64", "int32", "uint8", ">f4"])
STORED = st.sampled_from(["float16", "float32", "float64"])
N_BUCKETS = st.sampled_from([1, 2, 8, 64])
KEY = (2**64 - 3, 11)


def run(tasks: Iterable[Callable[[], object]]) -> None:
    for task in tasks:
        task()


def hashed(n_points: int, n_buckets: int, held: ExitStack) -> tuple[BucketOrder, NDArray[np.int64]]:
    """The buckets of `hash-v1`, and its order."""
    return hashed_buckets(n_points, KEY, n_buckets, "here", run, held), hash_order(n_points, KEY)


def permuted(n_points: int, n_buckets: int, held: ExitStack) -> tuple[BucketOrder, NDArray[np.int64]]:
    """The buckets of any permutation."""
    order = np.random.default_rng(n_points).permutation(n_points)
    return permuted_buckets(order, n_buckets, "here", run, held), order


SHUFFLES = st.sampled_from([hashed, permuted])


def source_of(n_points: int, width: int, dtype: str, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    values: NDArray[Any] = np.arange(n_points * width).reshape(n_points, width) % 251
    if np.dtype(dtype).kind == "f":
        values = values / 7
        values[rng.random(values.shape) < 0.05] = rng.choice([np.nan, np.inf, -0.0])
    return values.astype(dtype)


def scattered(
    values: NDArray[Any], order: BucketOrder, dtype: np.dtype[Any], cuts: list[int], held: ExitStack
) -> ScatteredRows:
    """Scatter blocks that end at these rows, the last blocks first."""
    file = held.enter_context(ScratchFile(values.size * dtype.itemsize, "here"))
    rows = ScatteredRows(file, order.n_buckets, values.shape[1], dtype)
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for start, stop in reversed(list(pairwise(edges))):
        rows.add(start, values[start:stop], order.buckets(start, stop))
    return rows


def chunks_of(rows: StoredRows, grid: Grid, numbers: Iterable[int] = ()) -> list[NDArray[Any]]:
    """Return the rows of the chunks with these numbers, or of all chunks in order."""
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
    values, order = (
        source_of(grid.n_points, width, source, seed),
        np.random.default_rng(seed).permutation(grid.n_points),
    )
    expected = values[order].astype(stored)
    gathered = chunks_of(GatheredRows(values, order, np.dtype(stored)), grid)
    assert_same_chunks(gathered, [expected[grid.rows(chunk, chunk + 1)] for chunk in range(grid.n_chunks)])


@pytest.mark.usefixtures("compiled_or_not")
@given(
    GRIDS,
    st.sampled_from([1, 3, 6]),
    SOURCES,
    STORED,
    SHUFFLES,
    N_BUCKETS,
    st.integers(1, 400),
    st.lists(st.integers(1, 400), max_size=6),
    st.integers(0, 400),
    st.randoms(use_true_random=False),
)
def test_bucketed_rows_equal_gathered_rows(
    grid: Grid,
    width: int,
    source: str,
    stored: str,
    shuffle: Callable[..., tuple[BucketOrder, NDArray[np.int64]]],
    n_buckets: int,
    block_rows: int,
    cuts: list[int],
    first_chunk: int,
    shuffled: Any,
) -> None:
    """For every grid, block size and number of buckets."""
    values, dtype = source_of(grid.n_points, width, source, 3), np.dtype(stored)
    with ExitStack() as held, patch.object(bucket_order, "_BLOCK_ROWS", block_rows):
        buckets, order = shuffle(grid.n_points, n_buckets, held)
        rows = ExternalShuffle(scattered(values, buckets, dtype, cuts, held), buckets, grid.chunk_points)
        expected = chunks_of(GatheredRows(values, order, dtype), grid)
        assert_same_chunks(chunks_of(rows, grid), expected)
        # In any order, and again.
        numbers = list(range(grid.n_chunks)) * 2
        shuffled.shuffle(numbers)
        assert_same_chunks(chunks_of(rows, grid, numbers), [expected[number] for number in numbers])
        # Some whole chunks at a time.
        where, parts = grid.rows(min(first_chunk, grid.n_chunks - 1), grid.n_chunks), list[NDArray[Any]]()
        for part, part_order in rows.parts(where.start, where.stop):
            parts.append(part if part_order is None else part[part_order])
        assert all(len(part) % grid.chunk_points == 0 for part in parts[:-1])
        assert np.concatenate(parts).tobytes() == b"".join(
            chunk.tobytes() for chunk in expected[grid.n_chunks - -(-(where.stop - where.start) // grid.chunk_points) :]
        )


@pytest.fixture
def hurried_threads() -> Iterator[None]:
    """Threads switch as often as possible, so that races become likely."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hurried_threads")
@pytest.mark.parametrize("n_buckets", [1, 16, 256])
def test_bucketed_rows_are_thread_safe(n_buckets: int) -> None:
    grid = Grid.fit(20_000, 64)
    values, dtype = source_of(grid.n_points, 3, "float64", 1), np.dtype("float32")
    with ExitStack() as held, ThreadPoolExecutor(8) as pool:
        buckets, order = hashed(grid.n_points, n_buckets, held)
        file = held.enter_context(ScratchFile(values.size * dtype.itemsize, "here"))
        scattering = ScatteredRows(file, n_buckets, 3, dtype)
        starts = range(0, grid.n_points, 333)
        blocks = [(start, min(start + 333, grid.n_points)) for start in starts]
        list(pool.map(lambda at: scattering.add(at[0], values[at[0] : at[1]], buckets.buckets(*at)), blocks))
        rows = ExternalShuffle(scattering, buckets, grid.chunk_points)
        numbers = np.random.default_rng(2).permutation(np.repeat(np.arange(grid.n_chunks), 3)).tolist()
        expected = chunks_of(GatheredRows(values, order, dtype), grid)
        found = list(pool.map(lambda number: chunks_of(rows, grid, [number])[0], numbers))
    assert_same_chunks(found, [expected[number] for number in numbers])
