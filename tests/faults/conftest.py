"""Fixtures of the tests that inject faults."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where the system has one, for tests that change thousands of files."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="noether-zarr-tests-", dir=_MEMORY))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
