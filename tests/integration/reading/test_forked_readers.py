"""A reader in processes that were forked after it was used. obstore alone would hang there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.stores import CountingStore, Traffic, make_store
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.forks import PATIENCE_SECONDS, children, in_fork
from support.lanes import few_fast
from support.s3_server import S3Server

# Since Python 3.12, a fork of a process with threads warns. These tests check that it does no harm.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

NUM_POINTS = {"surface": 300, "volume": 2000}
KINDS = ("s3 through obstore", "memory", "local", "s3 through s3fs")
MARKED_KINDS = [pytest.param(kind, marks=pytest.mark.s3 if kind.startswith("s3") else ()) for kind in KINDS]


@dataclass(frozen=True)
class Written:
    root: str
    options: dict[str, Any] | None

    def reader(self, **settings: Any) -> ZarrChunkReader:
        """A reader that has been used."""
        reader = ZarrChunkReader(self.root, storage_options=self.options, **settings)
        draw(reader, 99)
        return reader


def draw(reader: ZarrChunkReader, seed: int) -> Arrays:
    return reader.read_arrays("run_1", NUM_POINTS, seed)


def require_equal(drawn: Arrays, expected: Arrays) -> None:
    assert list(drawn) == list(expected)
    for field, array in expected.items():
        np.testing.assert_array_equal(drawn[field], array, err_msg=field, strict=True)


def written(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    path = tmp_path_factory.mktemp("forked") / "store"
    if kind.startswith("s3"):
        server: S3Server = request.getfixturevalue("s3_server")
        options = server.obstore_options if kind == "s3 through obstore" else server.s3fs_options
        store = Written(f"s3://{server.bucket}/{path.parent.name}", options)
    else:
        store = Written(f"memory://{path.parent.name}" if kind == "memory" else str(path), None)
    writer = ZarrStoreWriter(
        store.root, AHMED_FILEMAP, "ahmed", chunk_points=512, shard_points=4096, storage_options=store.options
    )
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    return store


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(request.param, request, tmp_path_factory)


@pytest.fixture(scope="module")
def s3_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(KINDS[0], request, tmp_path_factory)


@contextmanager
def reading_on(reader: ZarrChunkReader, n_threads: int) -> Iterator[None]:
    """Read continuously in other threads."""
    done = threading.Event()

    def read_on() -> None:
        while not done.is_set():
            draw(reader, 0)

    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [pool.submit(read_on) for _ in range(n_threads)]
        try:
            yield
        finally:
            done.set()
        for job in jobs:
            job.result()


@pytest.mark.parametrize("store", few_fast(KINDS, 3, others=pytest.mark.s3), indirect=True, scope="module")
def test_a_forked_process_draws_what_its_parent_does(store: Written) -> None:
    reader = store.reader()
    expected = [draw(reader, seed) for seed in range(3)]
    drawn = in_fork(lambda: [draw(reader, seed) for seed in range(3)])
    for arrays, others in zip(drawn, expected, strict=True):
        require_equal(arrays, others)
    require_equal(draw(reader, 0), expected[0])


@pytest.mark.parametrize("store", MARKED_KINDS, indirect=True, scope="module")
def test_a_process_forked_while_threads_read_draws_the_same(store: Written) -> None:
    reader = store.reader(read_concurrency=4)
    expected = draw(reader, 1)
    with reading_on(reader, 4):
        for _ in range(2):
            require_equal(in_fork(lambda: draw(reader, 1)), expected)


@pytest.mark.parametrize("store", MARKED_KINDS, indirect=True, scope="module")
def test_a_process_forked_twice_draws_the_same(store: Written) -> None:
    reader = store.reader()
    drawn = in_fork(lambda: [draw(reader, 1), in_fork(lambda: draw(reader, 1)), draw(reader, 2)])
    for arrays, seed in zip(drawn, (1, 1, 2), strict=True):
        require_equal(arrays, draw(reader, seed))


@pytest.mark.s3
def test_many_threads_of_a_forked_process_draw_the_same(s3_store: Written) -> None:
    reader = s3_store.reader(read_concurrency=2)

    def draw_in_threads() -> list[Arrays]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda seed: draw(reader, seed), range(24)))

    for seed, arrays in enumerate(in_fork(draw_in_threads)):
        require_equal(arrays, draw(reader, seed))


@pytest.mark.s3
def test_zarr_python_with_a_store_factory_reads_the_same(s3_store: Written) -> None:
    traffic = Traffic()

    def counting(path: str) -> CountingStore:
        return CountingStore(make_store(path, read_only=True, storage_options=s3_store.options), traffic)

    reader = s3_store.reader(store_factory=counting)
    drawn, requests_in_fork = in_fork(lambda: (draw(reader, 1), traffic.requests))
    assert requests_in_fork > traffic.requests
    require_equal(drawn, draw(reader, 1))


class Draws(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, reader: ZarrChunkReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.reader.read_sample("run_1", NUM_POINTS, index)


@pytest.mark.s3
def test_the_forked_workers_of_a_data_loader_draw_epoch_after_epoch(s3_store: Written) -> None:
    """The workers leave no process behind."""
    before = children()
    draws = Draws(s3_store.reader(read_concurrency=4))
    loader = DataLoader(draws, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=PATIENCE_SECONDS)
    for _ in range(2):
        items = list(loader)
        assert len(items) == len(draws)
        for index, item in enumerate(items):
            for field, tensor in draws[index].items():
                torch.testing.assert_close(item[field], tensor, rtol=0, atol=0)
    assert set(children()) <= set(before)


IN_A_NEW_PROCESS = """
import os, signal, sys
from noether.data.zarr_store import ZarrChunkReader
from support.forks import children, in_fork

def draw():
    options = dict(zip(("endpoint", "access_key_id", "secret_access_key", "region"), sys.argv[2:]))
    reader = ZarrChunkReader(sys.argv[1], storage_options=options)
    return len(reader.read_arrays("run_1", {"volume": 99})["volume_pressure"]), len(children())

print(in_fork(draw), in_fork(draw), draw(), in_fork(draw))
"""


@pytest.mark.s3
def test_a_helper_process_starts_only_if_the_parent_used_obstore(s3_store: Written) -> None:
    assert s3_store.options is not None
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, s3_store.root, *s3_store.options.values()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=4 * PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout.split("\n")[0] == "(99, 0) (99, 0) (99, 0) (99, 1)"


@pytest.mark.s3
def test_an_interrupted_read_leaves_no_answer_for_the_next_read(s3_store: Written) -> None:
    reader = s3_store.reader()
    expected = [draw(reader, seed) for seed in range(4)]

    def interrupt_and_draw() -> int:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        draw(reader, 0)  # starts what serves this process
        started = time.perf_counter()
        draw(reader, 0)
        duration = time.perf_counter() - started
        interrupted = 0
        for turn in range(60):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, duration * (turn + 1) / 60)
                    draw(reader, turn % 4)
                finally:  # if the timer fires between the draw and this line, that is an interruption too
                    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)  # also ends a hang from here on
            except KeyboardInterrupt:
                interrupted += 1
            require_equal(draw(reader, (turn + 1) % 4), expected[(turn + 1) % 4])
        return interrupted

    assert in_fork(interrupt_and_draw) > 0
