"""Counts of reads stay complete with many threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.codec import ChunkCodec
from noether.data.zarr_store.reading import IO_NUMBERS, IoStatistics
from noether.data.zarr_store.reading.io_meter import IoMeter
from support.shards import encode_chunk

CODEC = ChunkCodec(np.dtype("<f4"), 10, 1)
N_THREADS, N_TIMES = 8, 4000


@pytest.fixture
def _switching() -> Iterator[None]:
    """Switch between threads as often as possible."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_switching")
def test_threads_that_count_lose_nothing() -> None:
    sent_again = count()
    meter = IoMeter(lambda: next(sent_again))

    def work(_: int) -> None:
        for _ in range(N_TIMES):
            meter.add(requests=1, n_bytes=3)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(work, range(N_THREADS)))
    n = N_THREADS * N_TIMES
    assert meter.so_far() == IoStatistics(requests=n, n_bytes=3 * n, retries=n - 1)


@pytest.mark.usefixtures("_switching", "compiled")
def test_counts_of_the_compiled_module_are_not_lost(tmp_path: Path) -> None:
    chunk = encode_chunk(CODEC, np.zeros((10, 1), "<f4"))
    (tmp_path / "shard").write_bytes(chunk)
    meter = IoMeter()
    with (tmp_path / "shard").open("rb") as file, ThreadPoolExecutor(2) as pool:

        def read() -> None:
            out = np.empty((10, 1), "<f4")
            for _ in range(N_TIMES):
                assert CODEC.read_run(file.fileno(), 0, [0, len(chunk)], out, tally=meter.tally) == 1

        def add() -> None:
            for _ in range(N_TIMES):
                meter.add(requests=1, n_bytes=3)

        for done in [pool.submit(read), pool.submit(add)]:
            done.result()
    found = meter.so_far()
    assert (found.requests, found.n_bytes) == (2 * N_TIMES, N_TIMES * (3 + len(chunk)))


def test_each_number_goes_where_its_name_says() -> None:
    again = iter([0, 7])
    meter = IoMeter(lambda: next(again))
    meter.add(requests=1, n_bytes=2, seconds_waiting=3.5, seconds_decoding=4.0)
    meter.add(metadata_requests=5, metadata_bytes=6, cache_hits=8, cache_misses=9)
    assert meter.so_far() == IoStatistics(
        requests=1,
        n_bytes=2,
        seconds_waiting=3.5,
        seconds_decoding=4.0,
        metadata_requests=5,
        metadata_bytes=6,
        retries=7,
        cache_hits=8,
        cache_misses=9,
    )
    assert isinstance(meter.so_far().n_bytes, int)


def test_a_meter_can_count_into_another_row() -> None:
    meter, row = IoMeter(), np.zeros(IO_NUMBERS, np.int64)
    meter.add(requests=1)
    meter.count_into(row)
    meter.add(requests=2)
    meter.tally[1] = 5
    assert row.tolist()[:2] == [2, 5]
    assert meter.so_far() == IoStatistics(requests=2, n_bytes=5)


def test_the_difference_of_two_is_what_came_between() -> None:
    before = IoStatistics(requests=2, seconds_waiting=1.0)
    after = before + IoStatistics(requests=3, n_bytes=9, seconds_waiting=0.5)
    assert after - before == IoStatistics(requests=3, n_bytes=9, seconds_waiting=0.5)


def test_a_request_for_metadata_that_fails_is_counted() -> None:
    meter = IoMeter()
    with pytest.raises(ZeroDivisionError):
        meter.of_metadata(lambda: 1 // 0, int)
    assert (meter.so_far().metadata_requests, meter.so_far().metadata_bytes) == (1, 0)
