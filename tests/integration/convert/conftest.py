"""Fixtures of conversions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from noether.data.zarr_store.convert import planning


@pytest.fixture
def looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at sources here, which saves the start of a process; how much memory a worker takes is not told then."""

    def in_threads(workers: int, timeout: float | None = None) -> ThreadPoolExecutor:  # threads go on
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(planning, "ProcessExecutor", in_threads)
