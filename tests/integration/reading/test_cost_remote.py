"""The requests that a server gets are the requests of the plan, counted by a proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.reading import write_chunk_index
from support.counting_proxy import CountingProxy, counting_proxy
from support.reading import write_runs
from support.s3_server import S3Server

pytestmark = pytest.mark.s3

FIELDS = ["volume_position", "volume_pressure", "surface_position"]
DRAWS: dict[str, Mapping[str, int] | None] = {
    "whole": None,
    "a chunk": {"volume": 256, "surface": 256},
    "two domains": {"volume": 5000, "surface": 100},
}
SEEDS = range(4)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[CountingProxy]:
    with counting_proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture(params=["obstore", "s3fs"])
def options(request: pytest.FixtureRequest, s3_server: S3Server, proxy: CountingProxy) -> dict[str, Any]:
    """Return the options with which a reader reaches the server through the proxy."""
    found: dict[str, Any] = getattr(replace(s3_server, endpoint=proxy.endpoint), f"{request.param}_options")
    return found


def require_cost(reader: ZarrChunkReader, proxy: CountingProxy, run: str, num_points: Any, seed: int) -> None:
    """Read a draw, and compare the requests and bytes at the proxy with the plan, by field and in total."""
    cost = reader.cost(run, num_points, FIELDS, seed)
    proxy.handled.clear()
    reader.read_arrays(run, num_points, seed, FIELDS)
    assert (len(proxy.handled), sum(size for _, size in proxy.handled)) == (cost.total_requests, cost.total_bytes)
    for field in FIELDS:
        of_field = [size for line, size in proxy.handled if f"{run}.zarr/{field.replace('_', '/', 1)}/c/" in line]
        assert (len(of_field), sum(of_field)) == (cost.requests[field], cost.n_bytes[field])


@pytest.mark.parametrize("shard_points", [None, 4096], ids=["one shard", "many shards"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_without_a_chunk_index_a_read_costs_what_the_plan_says(
    s3_server: S3Server,
    s3_root: str,
    proxy: CountingProxy,
    options: dict[str, Any],
    shard_points: int | None,
    concurrency: int,
) -> None:
    write_runs(s3_root, "run_1", chunk_points=256, shard_points=shard_points, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, read_concurrency=concurrency, storage_options=options)
    for num_points in DRAWS.values():
        for seed in SEEDS:
            require_cost(reader, proxy, "run_1", num_points, seed)


def test_without_a_chunk_index_a_first_draw_takes_three_rounds(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy
) -> None:
    """The root of the group, the shard indexes of all fields at once, and the chunks."""
    write_runs(s3_root, "run_1", chunk_points=256, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, storage_options=replace(s3_server, endpoint=proxy.endpoint).obstore_options)
    meeting, n_shard_requests = Barrier(len(FIELDS), timeout=30), count()

    def meet(line: str) -> None:
        if "/c/" in line and next(n_shard_requests) < len(FIELDS):
            meeting.wait()

    proxy.on_request.append(meet)
    proxy.handled.clear()
    reader.read_arrays("run_1", DRAWS["a chunk"], 0, FIELDS)
    lines = [line for line, _ in proxy.handled]
    assert lines[0].endswith("run_1.zarr/zarr.json")
    cost = reader.cost("run_1", DRAWS["a chunk"], FIELDS, 0)
    assert len(lines) == 1 + len(FIELDS) + sum(cost.requests[field] or 0 for field in FIELDS)
    assert all("/c/" in line for line in lines[1:])


def test_with_a_chunk_index_the_first_draw_requests_only_chunks(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy, options: dict[str, Any]
) -> None:
    write_runs(s3_root, "run_1", "run_2", chunk_points=256, storage_options=s3_server.obstore_options)
    write_chunk_index(s3_root, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, read_concurrency=8, storage_options=options)
    reader.read_arrays("run_1", {"volume": 300}, 0, FIELDS)
    # The sample was never opened, and even planning sends no request.
    proxy.handled.clear()
    cost = reader.cost("run_2", {"volume": 1000, "surface": 200}, FIELDS, 0)
    assert proxy.handled == []
    assert all(cost.requests[field] in {1, 2} for field in FIELDS)
    for num_points in DRAWS.values():
        for seed in SEEDS:
            require_cost(reader, proxy, "run_2", num_points, seed)
            assert all(line.startswith("GET ") for line, _ in proxy.handled)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_in_flight_than_the_read_concurrency(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy, options: dict[str, Any], concurrency: int
) -> None:
    write_runs(s3_root, "run_1", chunk_points=256, shard_points=2048, storage_options=s3_server.obstore_options)
    reader = ZarrChunkReader(s3_root, read_concurrency=concurrency, storage_options=options)
    reader.cost("run_1", fields=FIELDS)
    proxy.in_flight.clear()
    reader.read_arrays("run_1", fields=FIELDS)
    assert len(proxy.in_flight) >= 9 + 9 + 1
    assert max(proxy.in_flight) <= concurrency


def test_a_draw_that_a_cache_has_costs_no_request(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy, options: dict[str, Any], tmp_path: Path
) -> None:
    write_runs(s3_root, "run_1", chunk_points=256, storage_options=s3_server.obstore_options)
    write_chunk_index(s3_root, storage_options=s3_server.obstore_options)
    for number in range(3):
        reader = ZarrChunkReader(s3_root, storage_options=options, cache_dir=tmp_path)
        cost = reader.cost("run_1", DRAWS["two domains"], FIELDS, 3)
        proxy.handled.clear()
        reader.read_arrays("run_1", DRAWS["two domains"], 3, FIELDS)
        assert len(proxy.handled) == (cost.total_requests if number == 0 else 0)


def test_objects_of_earlier_releases_are_cached_by_their_versions(
    s3_server: S3Server, s3_root: str, proxy: CountingProxy, options: dict[str, Any], tmp_path: Path
) -> None:
    write_runs(s3_root, "run_1", chunk_points=256, storage_options=s3_server.obstore_options)
    manifest = StoreManifest.load(s3_root, storage_options=s3_server.obstore_options)
    manifest.samples["run_1"] = replace(manifest.sample("run_1"), content_crc32c={})
    for number in range(2):
        reader = ZarrChunkReader(s3_root, manifest, storage_options=options, cache_dir=tmp_path)
        proxy.handled.clear()
        reader.read_arrays("run_1", DRAWS["two domains"], 3, FIELDS)
        shards = [line for line, _ in proxy.handled if "/c/" in line]
        assert (shards == []) == (number == 1)
        assert len([line for line, _ in proxy.handled if "list-type" in line]) == 1
