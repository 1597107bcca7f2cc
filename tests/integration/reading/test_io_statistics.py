"""A reader counts all its reads: of local files, of objects, and by zarr-python."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.reader import IoStatistics
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import CountingStore, Traffic, make_store
from support.counting_proxy import CountingProxy, counting_proxy
from support.damage import flip
from support.faulty_proxy import FaultyProxy, Script, faulty_proxy
from support.forks import in_fork
from support.reading import write_runs
from support.s3_server import S3Server

DRAW = {"volume": 5000, "surface": 100}
SHORT_WAITS = {"retry_config": {"backoff": {"init_backoff": timedelta(milliseconds=2)}}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "store", "run_1", chunk_points=256, shard_points=4096)


def require_costs(reader: ZarrChunkReader, num_points: Any = None, **how: Any) -> IoStatistics:
    """Read some draws, and check that the counted chunks are the chunks of the plans."""
    begin, requests, n_bytes = reader.io_statistics(), 0, 0
    for seed in range(3):
        cost = reader.cost("run_1", num_points, generator=seed)
        requests, n_bytes = requests + (cost.total_requests or 0), n_bytes + (cost.total_bytes or 0)
        reader.read_arrays("run_1", num_points, seed, **how)
    new = reader.io_statistics() - begin
    assert (new.requests, new.n_bytes) == (requests, n_bytes)
    assert min(new.requests, new.n_bytes) > 0
    return new


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_points", [None, DRAW], ids=["whole", "draw"])
def test_requests_and_bytes_are_those_of_the_plan(root: Path, concurrency: int, dtype: str, num_points: Any) -> None:
    new = require_costs(ZarrChunkReader(root, read_concurrency=concurrency), num_points, dtype=dtype)
    # The root of the sample, and the indexes of the shards that were read of its ten fields; volume fields have five.
    assert 1 + 10 < new.metadata_requests <= 1 + 5 + 5 * 5
    assert new.metadata_bytes > (root / "run_1.zarr" / "zarr.json").stat().st_size
    assert (new.retries, new.cache_hits, new.cache_misses) == (0, 0, 0)
    assert new.seconds_waiting > 0
    assert new.seconds_decoding > 0


def test_with_a_chunk_index_chunks_are_all_that_is_read(root: Path) -> None:
    write_chunk_index(root)
    new = require_costs(ZarrChunkReader(root), DRAW)
    assert (new.metadata_requests, new.metadata_bytes) == (0, 0)


@pytest.mark.usefixtures("compiled_or_not")
def test_threads_that_share_a_reader_lose_no_count(root: Path) -> None:
    reader = ZarrChunkReader(root, read_concurrency=4)
    expected = [reader.cost("run_1", DRAW, generator=seed) for seed in range(40)]
    begin = reader.io_statistics()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: reader.read_arrays("run_1", DRAW, seed), range(40)))
    new = reader.io_statistics() - begin
    assert new.requests == sum(cost.total_requests or 0 for cost in expected)
    assert new.n_bytes == sum(cost.total_bytes or 0 for cost in expected)


def test_what_zarr_python_reads_is_counted_as_its_store_sees_it(root: Path) -> None:
    traffic = Traffic()
    reader = ZarrChunkReader(root, store_factory=lambda path: CountingStore(make_store(path), traffic))
    reader.read_arrays("run_1", DRAW, 0)
    found = reader.io_statistics()
    assert found.requests + found.metadata_requests == traffic.requests
    assert found.n_bytes + found.metadata_bytes == traffic.n_bytes
    chunks = ZarrChunkReader(root).cost("run_1", DRAW, generator=0)
    assert found.n_bytes == chunks.total_bytes
    assert found.seconds_waiting > 0
    assert found.seconds_decoding > 0


def test_each_process_counts_by_itself(root: Path) -> None:
    reader = ZarrChunkReader(root)
    assert reader.io_statistics() == IoStatistics()
    reader.read_arrays("run_1", DRAW, 0)
    assert pickle.loads(pickle.dumps(reader)).io_statistics() == IoStatistics()

    def read_one_field() -> tuple[IoStatistics, IoStatistics]:
        begin = reader.io_statistics()
        reader.read_arrays("run_1", {"surface": 100}, 0, ["surface_area"])
        return begin, reader.io_statistics()

    before = reader.io_statistics()
    begin, new = in_fork(read_one_field)
    assert begin == IoStatistics()
    assert new.requests == ZarrChunkReader(root).cost("run_1", {"surface": 100}, ["surface_area"], 0).total_requests
    assert reader.io_statistics() == before


def test_a_damaged_chunk_is_counted_once(root: Path) -> None:
    reader = ZarrChunkReader(root)
    cost = reader.cost("run_1", None, ["volume_pressure"])
    flip("run_1.zarr/volume/pressure/c/0/0", 30)(root)
    with pytest.raises(CorruptDataError):
        reader.read_arrays("run_1", None, fields=["volume_pressure"])
    found = reader.io_statistics()
    assert (found.requests, cost.requests["volume_pressure"]) == (1, 5)


def test_chunks_that_a_cache_has_are_hits_and_no_requests(tmp_path: Path) -> None:
    root = write_runs(f"memory://{tmp_path.name}/counted", "run_1", chunk_points=256)
    reader = ZarrChunkReader(root, cache_dir=tmp_path / "cache", cache_limit="1 GB")
    cost = reader.cost("run_1", DRAW, generator=0)
    n_chunks, before = sum(cost.chunks.values()), reader.io_statistics()
    reader.read_arrays("run_1", DRAW, 0)
    first = reader.io_statistics()
    assert (first - before).requests == cost.total_requests
    assert ((first - before).cache_hits, (first - before).cache_misses) == (0, n_chunks)
    reader.read_arrays("run_1", DRAW, 0)
    second = reader.io_statistics() - first
    assert (second.requests, second.n_bytes, second.metadata_requests) == (0, 0, 0)
    assert (second.cache_hits, second.cache_misses) == (n_chunks, 0)
    assert second.seconds_decoding > 0


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[CountingProxy]:
    with counting_proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.mark.parametrize("indexed", [False, pytest.param(True, marks=pytest.mark.s3)], ids=["no index", "indexed"])
def test_object_storage_sees_the_requests_and_bytes_that_are_counted(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy, indexed: bool, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_runs(s3_root, "run_1", chunk_points=256, storage_options=s3_server.obstore_options)
    if indexed:
        write_chunk_index(s3_root, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, storage_options=replace(s3_server, endpoint=proxy.endpoint).obstore_options)
    if indexed:
        reader.cost("run_1")  # the index itself, which is not counted
    proxy.handled.clear()
    new = require_costs(reader, DRAW)
    assert new.requests + new.metadata_requests == len(proxy.handled)
    assert new.n_bytes + new.metadata_bytes == sum(size for _, size in proxy.handled)
    assert new.metadata_requests == (0 if indexed else 11)
    assert new.retries == 0


@pytest.fixture
def faulty(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as proxy:
        yield proxy


@pytest.mark.parametrize("in_a_fork", [False, pytest.param(True, marks=pytest.mark.faults)], ids=["here", "forked"])
def test_each_request_that_is_sent_again_is_a_retry(
    s3_server: S3Server, s3_root: str, faulty: FaultyProxy, in_a_fork: bool
) -> None:
    write_runs(s3_root, "run_1", chunk_points=256, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, storage_options=faulty.server.obstore_options | SHORT_WAITS)

    def read() -> IoStatistics:
        reader.read_arrays("run_1", DRAW, 0)
        return reader.io_statistics()

    faulty.play(Script(["503"], limit=2, chance=0.7))
    found = in_fork(read) if in_a_fork else read()
    handled = faulty.stop_faults()
    n_faults = sum(one.fault is not None for one in handled)
    assert found.retries == n_faults > 0
    assert found.requests + found.metadata_requests + found.retries == len(handled)
