"""One reader in many threads and processes, and with a caller's zarr Stores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.stores import make_store
from support.ahmed import Arrays
from support.reading import write_runs

RUNS = ("run_1", "run_2", "run_3")
NUM_POINTS = {"surface": 150, "volume": 900}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores") / "store"
    return write_runs(root, *RUNS, chunk_points=256, shard_points=4096)


@pytest.fixture(scope="module")
def expected(root: Path) -> list[Arrays]:
    """Return the draws of a new reader with each of 24 seeds, from the samples in turn."""
    return [draw(ZarrChunkReader(root), seed) for seed in range(24)]


def draw(reader: ZarrChunkReader, seed: int) -> Arrays:
    return reader.read_arrays(RUNS[seed % len(RUNS)], NUM_POINTS, seed)


def require_equal(drawn: Arrays, expected: Arrays) -> None:
    assert list(drawn) == list(expected)
    for field, array in expected.items():
        np.testing.assert_array_equal(drawn[field], array, err_msg=field, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("read_concurrency", [1, 4, 64])
def test_the_result_does_not_depend_on_how_many_fields_are_read_at_once(
    root: Path, expected: list[Arrays], read_concurrency: int
) -> None:
    reader = ZarrChunkReader(root, read_concurrency=read_concurrency)
    for seed, arrays in enumerate(expected):
        require_equal(draw(reader, seed), arrays)


@pytest.mark.parametrize("read_concurrency", [1, 4])
def test_many_threads_share_one_reader(root: Path, expected: list[Arrays], read_concurrency: int) -> None:
    reader = ZarrChunkReader(root, read_concurrency=read_concurrency)
    with ThreadPoolExecutor(8) as pool:
        for drawn, arrays in zip(pool.map(lambda seed: draw(reader, seed), range(24)), expected, strict=True):
            require_equal(drawn, arrays)


def test_a_pickled_reader_reads_as_the_first_did(root: Path, expected: list[Arrays]) -> None:
    reader = ZarrChunkReader(root, read_concurrency=3, chunk_order="scattered")
    scattered = draw(reader, 1)
    copy: ZarrChunkReader = pickle.loads(pickle.dumps(reader))
    assert (copy.store_root, copy.read_concurrency, copy.chunk_order) == (str(root), 3, "scattered")
    assert copy.manifest == reader.manifest
    require_equal(draw(copy, 1), scattered)


@pytest.mark.slow
def test_a_reader_that_was_used_reads_on_in_a_spawned_process(root: Path, expected: list[Arrays]) -> None:
    reader = ZarrChunkReader(root, read_concurrency=2)
    draw(reader, 0)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(reader.read_arrays, RUNS[seed % 3], NUM_POINTS, seed) for seed in range(4)]
        for job, arrays in zip(jobs, expected, strict=False):
            require_equal(job.result(timeout=60), arrays)
    require_equal(draw(reader, 1), expected[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_that_inherits_the_open_reader_reads_on(root: Path, expected: list[Arrays]) -> None:
    opened: list[int] = []

    def recording(path: str) -> Store:
        opened.append(os.getpid())
        return make_store(path, read_only=True)

    reader = ZarrChunkReader(root, store_factory=recording, read_concurrency=2)
    draw(reader, 0)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    # Nothing is pickled: the child inherits the reader, its groups and its lock in their state at the fork.
    child = context.Process(target=lambda: sender.send((draw(reader, 3), opened)))
    child.start()
    try:
        assert receiver.poll(60), "the child did not read"
        drawn, openers = receiver.recv()
        require_equal(drawn, expected[3])
        # The child opened the group again, although it had inherited an open group of the same sample.
        assert openers == [os.getpid(), child.pid]
    finally:
        child.kill()
        child.join()


def test_a_store_factory_carries_every_byte_and_the_root_need_not_exist(root: Path, expected: list[Arrays]) -> None:
    opened: list[str] = []

    def from_memory(path: str) -> Store:
        opened.append(path)
        group = root / path.removeprefix("memory://nowhere/")
        contents: dict[str, Buffer] = {
            file.relative_to(group).as_posix(): cpu.Buffer.from_bytes(file.read_bytes())
            for file in group.rglob("*")
            if file.is_file()
        }
        return MemoryStore(contents, read_only=True)

    reader = ZarrChunkReader("memory://nowhere", StoreManifest.load(str(root)), from_memory)
    for seed, arrays in enumerate(expected):
        require_equal(draw(reader, seed), arrays)
    assert opened == [f"memory://nowhere/{run}.zarr" for run in RUNS]


def test_a_store_factory_of_a_local_store_gets_absolute_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    opened: list[str] = []

    def recording(path: str) -> Store:
        opened.append(path)
        return make_store(path, read_only=True)

    ZarrChunkReader(root.name, store_factory=recording).read_arrays("run_1", fields=["surface_area"])
    assert opened == [str(root / "run_1.zarr")]


def test_a_manifest_that_is_given_is_not_read_again(root: Path) -> None:
    manifest = StoreManifest.load(str(root))
    del manifest.samples["run_2"]
    assert ZarrChunkReader(root, manifest).manifest.samples.keys() == {"run_1", "run_3"}
