"""Fixtures of conversions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from noether.data.zarr_store.convert import looking


class _Threads(ThreadPoolExecutor):
    """Threads in place of a `ProcessExecutor`."""

    def __init__(self, workers: int, *, timeout: float | None = None) -> None:  # noqa: ARG002 - threads do not stop
        super().__init__(workers)

    def terminate(self) -> None:
        self.shutdown(cancel_futures=True)


@pytest.fixture
def described_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe sources in this process, which saves the start of another; the memory of a worker is then unknown."""
    monkeypatch.setattr(looking, "ProcessExecutor", _Threads)
