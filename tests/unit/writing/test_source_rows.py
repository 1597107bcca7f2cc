"""Rows of arrays that are not in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.writing.source_rows import SourceRows


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    np.save(tmp_path / "a.npy", np.arange(60_000.0).reshape(20_000, 3))
    return np.load(tmp_path / "a.npy", mmap_mode="r")


def test_rows_of_a_mapped_file_are_loaded_without_a_copy(mapped: Any) -> None:
    rows = SourceRows(mapped, "sample 's'").load()
    assert np.shares_memory(rows, mapped)
    np.testing.assert_array_equal(rows, np.arange(60_000.0).reshape(20_000, 3))


def test_strided_rows_of_a_mapped_file_are_copied(mapped: Any) -> None:
    rows = SourceRows(mapped[::2], "sample 's'").load()
    assert not np.shares_memory(rows, mapped)
    np.testing.assert_array_equal(rows, np.arange(60_000.0).reshape(20_000, 3)[::2])
