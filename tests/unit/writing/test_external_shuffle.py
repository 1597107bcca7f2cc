"""The memory of buckets on disk, and the number of buckets."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import numpy as np
import pytest

from noether.data.zarr_store.codec import MAX_BUCKETS, hash_order
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.core.scratch import ScratchFile
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.writing import bucket_order
from noether.data.zarr_store.writing.bucket_order import BucketOrder, hashed_buckets, n_buckets_for
from noether.data.zarr_store.writing.external_shuffle import ExternalShuffle
from noether.data.zarr_store.writing.scattered_rows import ScatteredRows
from noether.data.zarr_store.writing.stored_rows import GatheredRows

BUCKET_BYTES = 1 << 18
GRID = Grid.fit(400_000, 1_000)
KEY = (1, 2)
ROW_BYTES = 3 * 4
N_BYTES = GRID.n_points * ROW_BYTES


def run(tasks: Iterable[Callable[[], object]]) -> None:
    for task in tasks:
        task()


def shuffled(held: ExitStack, rows: Grid = GRID) -> ExternalShuffle:
    """Rows in which row i holds 3 i, 3 i + 1 and 3 i + 2."""
    n_buckets = n_buckets_for(GRID.n_points, ROW_BYTES)
    order = hashed_buckets(GRID.n_points, KEY, n_buckets, "here", run, held)
    scattered = ScatteredRows(held.enter_context(ScratchFile(N_BYTES, "here")), n_buckets, 3, np.dtype("f4"))
    for first in range(0, GRID.n_points, 4_000):
        block = np.arange(first * 3, (first + 4_000) * 3, dtype="f4").reshape(-1, 3)
        scattered.add(first, block, order.buckets(first, first + 4_000))
    return ExternalShuffle(scattered, order, rows.chunk_points)


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_order, "BUCKET_BYTES", BUCKET_BYTES)
    monkeypatch.setattr(bucket_order, "_BLOCK_ROWS", 1 << 14)


@pytest.mark.usefixtures("small_buckets")
def test_a_field_of_many_buckets_takes_the_memory_of_a_few() -> None:
    order = hash_order(GRID.n_points, KEY)
    with ExitStack() as held:
        tracemalloc.start()
        try:
            rows = shuffled(held)
            for chunk in range(GRID.n_chunks):
                where = GRID.rows(chunk, chunk + 1)
                assert rows.chunk(where.start, where.stop)[:, 0].tolist() == (3.0 * order[where]).tolist()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Two loaded buckets and a third with their ranks, the order of a bucket during sorting, and blocks.
    assert peak < 6 * BUCKET_BYTES < N_BYTES / 2


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize(
    ("chunks", "n_buckets"),
    [
        pytest.param(range(GRID.n_chunks), 0, id="one after the other, each forgotten once it was given"),
        pytest.param(range(0, GRID.n_chunks, 25), 2, id="one of each, the last two stay"),
    ],
)
def test_few_buckets_stay_in_memory(chunks: range, n_buckets: int) -> None:
    with ExitStack() as held:
        rows = shuffled(held)
        tracemalloc.start()
        try:
            for chunk in chunks:
                rows.chunk(GRID.rows(chunk, chunk + 1).start, GRID.rows(chunk, chunk + 1).stop)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < (n_buckets * 1.4 + 0.1) * BUCKET_BYTES


@pytest.mark.parametrize(
    ("n_points", "row_bytes", "n_buckets"),
    [(1, 12, 1), (1 << 20, 16, 1), ((1 << 20) + 1, 16, 2), (3 << 20, 16, 4), (1 << 40, 24, MAX_BUCKETS)],
)
def test_number_of_buckets_keeps_each_small(n_points: int, row_bytes: int, n_buckets: int) -> None:
    assert n_buckets_for(n_points, row_bytes) == n_buckets


def in_memory(values: np.ndarray, order: np.ndarray, dtype: str) -> bytes:
    return GatheredRows(values, order, np.dtype(dtype)).chunk(0, 4).tobytes()


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_allowed_non_finite_values_do_not_warn(stored: str) -> None:
    signalling_nan = np.array([0x7FF0000000000001], "u8").view("f8")
    values = np.concatenate([signalling_nan, [np.nan, np.inf, -np.inf]]).reshape(-1, 1)
    order = np.array([3, 1, 0, 2])
    with ExitStack() as held:
        buckets = bucket_order.permuted_buckets(order, 2, "here", run, held)
        rows = ScatteredRows(held.enter_context(ScratchFile(32, "here")), 2, 1, np.dtype(stored))
        rows.add(0, values, buckets.buckets(0, 4))
        bucketed = ExternalShuffle(rows, buckets, 4).chunk(0, 4)
    np.testing.assert_array_equal(bucketed, [[-np.inf], [np.nan], [np.nan], [np.inf]])
    assert bucketed.tobytes() == in_memory(values, order, stored)


def test_unreadable_bucket_fails_every_request() -> None:
    with ExitStack() as held:
        ranks = held.enter_context(ScratchFile(16, "here"))
        ranks.write(np.arange(4, dtype="u4"), 0)
        order = BucketOrder([0, 4], lambda first, stop: np.zeros(stop - first, np.uint16), ranks)
        with ScratchFile(16, "sample 'run', field volume_pressure") as file:
            scattered = ScatteredRows(file, 1, 1, np.dtype("f4"))
            scattered.add(0, np.ones((4, 1), "f4"), order.buckets(0, 4))
            rows = ExternalShuffle(scattered, order, 4)
            file._file.truncate(10)
            for _ in range(2):
                with pytest.raises(StorageError, match=r"^sample 'run', field volume_pressure: .* \(the file was "):
                    rows.chunk(0, 4)
