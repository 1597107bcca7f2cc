"""The bottleneck of a loader's draws, by the rules that `noether-zarr bench --help` states."""

from __future__ import annotations

from typing import Any

import pytest

from noether.data.zarr_store.datasets.limits import Limit, explain, limit_of

FAST = {"bytes_per_second": 100e6, "plain": 1000e6}


@pytest.mark.parametrize(
    ("measured", "limit"),
    [
        ({"bytes_per_second": 70e6, "plain": 100e6, "busy": 0.1}, "storage"),
        ({"bytes_per_second": 69e6, "plain": 100e6, "busy": 0.1}, "hand-over"),
        (FAST | {"busy": 0.49, "seconds_waiting": 9.0}, "hand-over"),
        (FAST | {"busy": 0.5, "seconds_waiting": 9.0, "seconds_decoding": 1.0}, "waiting"),
        (FAST | {"busy": 7.0, "seconds_waiting": 1.0, "seconds_decoding": 1.0}, "waiting"),
        (FAST | {"busy": 0.9, "seconds_waiting": 1.0, "seconds_decoding": 1.1}, "decoding"),
        ({"plain": None, "busy": 0.9, "seconds_decoding": 1.0}, "decoding"),
    ],
)
def test_the_first_rule_that_holds_decides(measured: dict[str, Any], limit: Limit) -> None:
    usual = {"bytes_per_second": 1e6, "plain": None, "busy": 0.0, "seconds_waiting": 0.0, "seconds_decoding": 0.0}
    assert limit_of(**usual | measured) == limit


@pytest.mark.parametrize(
    ("limit", "workers", "words"),
    [
        ("storage", 2, ["The storage is the limit", "100.0 MB/s", "1,000 MB/s", "More workers do not help"]),
        ("hand-over", 2, ["Neither reading nor decoding", "25% of the time", "draws of more points"]),
        ("hand-over", 0, ["workers (--workers)"]),
        ("waiting", 2, ["Waiting for bytes is the limit", "Use more workers", "read_concurrency"]),
        ("decoding", 0, ["Decoding is the limit", "More workers help", "4 cores, and no worker."]),
        ("decoding", 1, ["More workers help", "one worker."]),
        ("decoding", 4, ["4 workers on 4 cores decode", "More cores help", "compression level"]),
    ],
)
def test_explain_has_the_figures_and_the_advice(limit: Limit, workers: int, words: list[str]) -> None:
    text = explain(limit, **FAST, busy=0.25, workers=workers, cores=4)
    assert [word for word in words if word not in text] == []
    assert ("More workers help" in text) == (limit == "decoding" and workers < 4)


def test_without_a_plain_read_nothing_is_compared_with_it() -> None:
    assert "plain" not in explain("decoding", bytes_per_second=1e6, plain=None, busy=0.9, workers=1, cores=2)
