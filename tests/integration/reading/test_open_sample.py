"""Threads that read a sample at the same time request its metadata once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from noether.data.zarr_store.reading import OpenSample, ShardAccess
from noether.data.zarr_store.stores import LocalStorage
from support.reading import write_runs

READERS = 2


def test_threads_that_open_a_sample_at_once_read_its_metadata_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(str(write_runs(tmp_path / "store", "run_1")))
    read_if_there, asked, all_ask = LocalStorage.read_if_there, [], Barrier(READERS)

    def meeting(self: LocalStorage, key: str) -> bytes | None:
        asked.append(key)
        with suppress(BrokenBarrierError):  # the other threads wait for this read
            all_ask.wait(timeout=0.5)
        return read_if_there(self, key)

    monkeypatch.setattr(LocalStorage, "read_if_there", meeting)
    sample = OpenSample(ShardAccess(storage), "run_1", "run_1.zarr", missing_is_error=True)
    paths = ["volume/pressure", "volume/velocity"]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda path: sample.metadata(path, path)["shape"][1], paths))
    assert found == [1, 3]
    assert asked == ["run_1.zarr/zarr.json"]
