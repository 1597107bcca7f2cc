"""The counts that a dataset and its workers share."""

from __future__ import annotations

from noether.data.zarr_store.datasets.shared_statistics import SharedStatistics
from noether.data.zarr_store.reader import IoStatistics
from support.forks import in_fork


def test_each_process_has_a_row_of_its_own_and_all_are_summed() -> None:
    shared = SharedStatistics()
    shared.own_row()[0] += 2

    def count() -> int:
        before = int(shared.own_row()[0])
        shared.own_row()[0] += 3
        return before

    assert in_fork(count) == 0
    assert shared.own_row()[0] == 2
    assert shared.total() == IoStatistics(requests=5)
