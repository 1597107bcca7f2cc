"""The number of worker processes that cores, samples, memory and temporary files allow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.convert.worker_count import Machine, WorkerCount, count_workers

GB = 10**9
MACHINE = Machine(cores=4, memory_bytes=14_200_000_000, scratch_bytes=100 * GB, scratch_directory="/scratch")
sizes = st.integers(0, 40)


@given(st.integers(1, 9), st.integers(1, 9), sizes, sizes, sizes, sizes)
def test_the_number_is_the_largest_that_every_limit_allows(
    cores: int, n_samples: int, memory: int, memory_each: int, scratch: int, scratch_each: int
) -> None:
    machine = Machine(cores, memory, scratch, "/scratch")
    count = count_workers(n_samples, machine, memory_bytes=memory_each, scratch_bytes=scratch_each).n_workers
    allowed = [
        number
        for number in range(1, 10)
        if number <= cores
        and number <= n_samples
        and number * memory_each <= memory
        and number * scratch_each <= scratch
    ]
    assert count == max(allowed, default=1)


@pytest.mark.parametrize(
    ("n_samples", "memory", "scratch", "text"),
    [
        (9, 0, 0, "4 workers: one for each core"),
        (4, GB, GB, "4 workers: one for each core"),
        (3, GB, GB, "3 workers: one for each sample to convert"),
        (1, GB, GB, "1 worker: one for each sample to convert"),
        (0, 0, 0, "1 worker: there is no sample to convert"),
        (9, 9_100_000_000, 0, "1 worker: 2 with 9.1 GB of memory each would not fit in the available 14.2 GB"),
        (9, 4 * GB, 0, "3 workers: 4 with 4.0 GB of memory each would not fit in the available 14.2 GB"),
        (9, 15 * GB, 0, "1 worker: even 1 with 15.0 GB of memory each would not fit in the available 14.2 GB"),
        (
            9,
            5 * GB,
            80 * GB,
            "1 worker: 2 with 80.0 GB of temporary files each would not fit in the 100.0 GB free in /scratch; "
            "set TMPDIR to a directory with more room",
        ),
    ],
)
def test_the_text_names_the_number_and_what_limits_it(n_samples: int, memory: int, scratch: int, text: str) -> None:
    assert str(count_workers(n_samples, MACHINE, memory_bytes=memory, scratch_bytes=scratch)) == text


def test_unknown_memory_is_mentioned() -> None:
    made = count_workers(9, replace(MACHINE, memory_bytes=None), memory_bytes=GB)
    assert made == WorkerCount(4, "one for each core; the system does not report the available memory")


def test_a_machine_without_memory_has_one_worker() -> None:
    """No memory is available, which differs from an unknown amount."""
    assert count_workers(9, replace(MACHINE, memory_bytes=0), memory_bytes=GB).n_workers == 1
