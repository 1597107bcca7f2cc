"""Fixtures of conversions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from noether.data.zarr_store.convert import looking


class _Threads(ThreadPoolExecutor):
    """In place of a `ProcessExecutor`."""

    def __init__(self, workers: int, *, timeout: float | None = None) -> None:  # noqa: ARG002 - threads go on
        super().__init__(workers)

    def terminate(self) -> None:
        self.shutdown(cancel_futures=True)


@pytest.fixture
def looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at sources here, which saves the start of a process; how much memory a worker takes is not told then."""
    monkeypatch.setattr(looking, "ProcessExecutor", _Threads)
