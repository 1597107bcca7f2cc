"""Counts of reads lose nothing among threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from noether.data.zarr_store.reading import IO_NAMES, IoStatistics
from noether.data.zarr_store.reading.io_meter import IoMeter

N_THREADS, N_TIMES = 8, 4000


@pytest.fixture
def _switching() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_switching")
def test_threads_that_count_and_take_lose_nothing() -> None:
    meter = IoMeter()

    def work(_: int) -> float:
        taken = 0.0
        for _ in range(N_TIMES):
            meter.add(requests=1, n_bytes=3)
            taken += meter.take()[IO_NAMES.index("n_bytes")]
        return taken

    with ThreadPoolExecutor(N_THREADS) as pool:
        taken = sum(pool.map(work, range(N_THREADS)))
    assert meter.so_far() == IoStatistics(requests=N_THREADS * N_TIMES, n_bytes=3 * N_THREADS * N_TIMES)
    assert taken == 3 * N_THREADS * N_TIMES


def test_each_number_goes_where_its_name_says() -> None:
    meter = IoMeter(lambda: 7)
    for at, number in enumerate((10, 200, 3_000_000_000, 4_000_000_000)):
        meter.tally[at] = number
    meter.add(cache_hits=1, cache_misses=2, seconds_waiting=0.5, requests=1)
    meter.of_metadata(lambda: b"abc", len)
    found = meter.so_far()
    assert found == IoStatistics(11, 200, 1, 3, 7, found.seconds_waiting, 4.0, 1, 2)
    assert 3.5 < found.seconds_waiting < 4.5
    assert isinstance(found.n_bytes, int)


def test_the_difference_of_two_is_what_came_between() -> None:
    before = IoStatistics(requests=2, seconds_waiting=1.0)
    after = before + IoStatistics(requests=3, n_bytes=9, seconds_waiting=0.5)
    assert after - before == IoStatistics(requests=3, n_bytes=9, seconds_waiting=0.5)


def test_a_request_for_metadata_that_fails_is_counted() -> None:
    meter = IoMeter()
    with pytest.raises(ZeroDivisionError):
        meter.of_metadata(lambda: 1 // 0, int)
    assert (meter.so_far().metadata_requests, meter.so_far().metadata_bytes) == (1, 0)
