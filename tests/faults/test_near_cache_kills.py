"""Kills at any moment of processes that share a cache on this machine."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import CacheDirectory
from support.lanes import few_fast
from support.near import as_remote, disk_bytes
from support.reading import write_runs

DRAW = {"surface": 300, "volume": 400}
LIMIT = 250_000
WRONG, TOO_MUCH = 3, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("kills") / "store", "run_1", "run_2", chunk_points=128, shard_points=1024)
    write_chunk_index(root)
    return root


def read_on(root: Path, cache: Path, seed: int) -> None:
    """Read draws until this process is killed; exit at a wrong draw, or if the cache is too large."""
    near, plain = ZarrChunkReader(as_remote(root), cache_dir=cache, cache_limit=LIMIT), ZarrChunkReader(root)
    draw = random.Random(seed)
    while True:
        sample_id, entropy = f"run_{draw.randint(1, 2)}", draw.randrange(50)
        expected = plain.read_arrays(sample_id, DRAW, entropy)
        for field, values in near.read_arrays(sample_id, DRAW, entropy).items():
            if not np.array_equal(values, expected[field]):
                os._exit(WRONG)
        if disk_bytes(cache) > LIMIT * 1.05:
            os._exit(TOO_MUCH)


@pytest.mark.parametrize("counts", few_fast([(3, 4), (8, 30)], others=pytest.mark.faults), ids=str)
def test_kills_leave_a_valid_cache_within_its_limit(root: Path, tmp_path: Path, counts: tuple[int, int]) -> None:
    n_processes, n_kills = counts
    context, chance = multiprocessing.get_context("fork"), random.Random(5)

    def start(number: int) -> BaseProcess:
        process = context.Process(target=read_on, args=(root, tmp_path / "cache", number))
        process.start()
        return process

    running = [start(number) for number in range(n_processes)]
    try:
        for number in range(n_kills):
            until = time.monotonic() + chance.uniform(0.05, 0.4)
            while time.monotonic() < until:
                assert disk_bytes_if_there(tmp_path / "cache") <= LIMIT * 1.05
            victim = chance.randrange(n_processes)
            assert running[victim].exitcode is None
            running[victim].kill()
            running[victim].join()
            running[victim] = start(n_processes + number)
        time.sleep(0.2)
        assert [process.exitcode for process in running] == [None] * n_processes
    finally:
        for process in running:
            process.kill()
            process.join()
    assert disk_bytes(tmp_path / "cache") > LIMIT * 0.4
    with CacheDirectory(tmp_path / "cache").locked():
        pass


def disk_bytes_if_there(cache: Path) -> int:
    return disk_bytes(cache) if cache.is_dir() else 0
