"""The cost of a read is exactly the cost that was computed in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.manifest.lines import DomainSample
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import CountingStore, LocalStorage, Traffic, make_store
from support.hostile_stores import FILEMAP, SAMPLE
from support.local_reads import LocalRead, note_reads
from support.reading import write_runs, write_samples

FIELDS = ["volume_position", "volume_pressure", "surface_position"]


@pytest.fixture(scope="module", params=[None, 4096], ids=["one shard", "many shards"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("plan") / "store", "run_1", chunk_points=256, shard_points=request.param)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[LocalRead]:
    return note_reads(monkeypatch)


@pytest.mark.parametrize(
    "num_points",
    [None, {"volume": 256}, {"volume": 5000, "surface": 100}, {"volume": 18_000}],
    ids=["whole", "a chunk", "two domains", "nearly all"],
)
@pytest.mark.parametrize("chunk_order", ["consecutive", "scattered"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_read_costs_what_its_plan_says(
    root: Path, reads: list[LocalRead], num_points: Mapping[str, int] | None, chunk_order: Any, concurrency: int
) -> None:
    reader = ZarrChunkReader(root, chunk_order=chunk_order, read_concurrency=concurrency)
    for seed in range(5):
        cost = reader.cost("run_1", num_points, FIELDS, seed)
        assert reads == []
        arrays = reader.read_arrays("run_1", num_points, seed, FIELDS)
        assert (len(reads), sum(read.n_bytes for read in reads)) == (cost.total_requests, cost.total_bytes)
        for field in FIELDS:
            of_field = [read.n_bytes for read in reads if f"/{field.replace('_', '/', 1)}/c/" in read.key]
            assert (len(of_field), sum(of_field)) == (cost.requests[field], cost.n_bytes[field])
        assert cost.points == {field.partition("_")[0]: len(arrays[field]) for field in FIELDS}
        reads.clear()


@given(num_points=st.integers(1, 18_219), seed=st.integers(0, 2**32))
def test_a_consecutive_draw_is_one_request_a_field_or_two_where_it_wraps(num_points: int, seed: int) -> None:
    reader = one_shard_reader()
    cost = reader.cost("run_1", {"volume": num_points}, ["volume_position", "volume_pressure"], seed)
    assert cost.requests["volume_position"] == cost.requests["volume_pressure"]
    assert cost.requests["volume_position"] in {1, 2}
    assert cost.chunks["volume_position"] <= -(-num_points // 256) + 1


_readers: list[ZarrChunkReader] = []


def one_shard_reader() -> ZarrChunkReader:
    return _readers[0]


@pytest.fixture(scope="module", autouse=True)
def _one_shard(tmp_path_factory: pytest.TempPathFactory) -> None:
    _readers[:] = [ZarrChunkReader(write_runs(tmp_path_factory.mktemp("plan") / "one", "run_1", chunk_points=256))]


def test_with_a_chunk_index_a_draw_reads_its_chunks_and_nothing_else(
    root: Path, reads: list[LocalRead], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chunk_index(root)
    reader = ZarrChunkReader(root)

    def refused(*arguments: object) -> Any:
        raise AssertionError(f"read besides the chunks: {arguments[1:]}")

    monkeypatch.setattr(LocalStorage, "read_if_there", refused)
    monkeypatch.setattr(LocalStorage, "read_tail", refused)
    arrays = reader.read_arrays("run_1", {"volume": 1000, "surface": 100}, 0)
    assert len(reads) == reader.cost("run_1", {"volume": 1000, "surface": 100}, None, 0).total_requests
    assert len(arrays["volume_velocity"]) == 1000


def test_the_cost_of_zarr_python_reads_is_unknown(root: Path) -> None:
    reader = ZarrChunkReader(root, store_factory=lambda path: CountingStore(make_store(path), Traffic()))
    cost = reader.cost("run_1", {"volume": 300}, FIELDS, 0)
    assert cost.points["volume"] == 300
    assert cost.chunks["volume_position"] in {2, 3}
    assert (cost.total_requests, cost.total_bytes, cost.requests["volume_position"]) == (None, None, None)


def test_chunks_that_are_not_stored_cost_nothing(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"hash-v1"', "null"))
    path = root / "run_1.zarr/volume/pressure"
    array = zarr.open_array(path, mode="r+")
    array[256:512] = 0
    reader = ZarrChunkReader(root)
    cost = reader.cost("run_1", None, ["volume_pressure"])
    assert cost.requests["volume_pressure"] == 2
    pressure = reader.read_arrays("run_1", fields=["volume_pressure"])["volume_pressure"]
    np.testing.assert_array_equal(pressure[256:512], 0)


@pytest.mark.parametrize(
    "call",
    [lambda reader: reader.cost("run_9"), lambda reader: reader.cost("run_1", {"wing": 3})],
    ids=["sample", "domain"],
)
def test_a_plan_refuses_what_a_read_refuses(root: Path, call: Callable[[ZarrChunkReader], object]) -> None:
    with pytest.raises(KeyError, match="not in the store"):
        call(ZarrChunkReader(root))


def test_the_cost_of_a_draw_does_not_depend_on_the_size_of_the_sample(tmp_path: Path) -> None:
    """A plan needs no data: manifest and chunk index tell the sizes of a sample, here of chunks of equal length.

    Where there are few chunks, a draw begins at any row, which nearly always takes one chunk more.
    """
    store, n_drawn, chunk_points, length = tmp_path / "store", 16_384, 4096, 40_000
    manifest = StoreManifest.load(str(write_samples(store, {"s1": SAMPLE}, FILEMAP)))
    costs = {}
    for n_points in (10**5, 10**6, 10**7, 10**8):
        domain = DomainSample.of(Grid(n_points, chunk_points, -(-n_points // chunk_points) * chunk_points))
        entry = replace(manifest.sample("s1"), domains={"surface": domain})
        n_lengths = domain.n_chunks * len(manifest.domains["surface"].arrays)
        starts = np.array([0, n_lengths], "<u8").view("<u4")
        np.save(store / "chunk_index-of-a-size.npy", np.append(starts, np.full(n_lengths, length, "<u4")))
        sized = manifest.model_copy(update={"samples": {"s1": entry}, "chunk_index": "chunk_index-of-a-size.npy"})
        reader = ZarrChunkReader(store, sized)
        plans = [reader.cost("s1", {"surface": n_drawn}, generator=seed) for seed in range(300)]
        # A draw that wraps takes one more request per field. With the short last chunk, it also takes one more chunk.
        assert {plan.total_requests for plan in plans} <= {2, 4}
        costs[n_points] = min(plan.total_bytes or 0 for plan in plans), max(plan.total_bytes or 0 for plan in plans)
    fewest, one_more = n_drawn // chunk_points * 2 * length, 2 * length
    few, many = (fewest + one_more, fewest + one_more), (fewest, fewest + one_more)
    # In the largest domain, one draw in 6,000 ends with the short chunk.
    assert costs == {10**5: few, 10**6: few, 10**7: many, 10**8: (fewest, fewest)}


def test_a_cost_tells_how_many_draws_there_are(tmp_path: Path) -> None:
    """24 draws have full chunks alone, and 24 take the short chunk whole and a window of another chunk."""
    sample = {field: values[:29] for field, values in SAMPLE.items()}
    reader = ZarrChunkReader(write_samples(tmp_path / "store", {"s1": sample}, FILEMAP, chunk_points=8))
    assert reader.cost("s1", {"surface": 11}).n_draws == {"surface": 48}
    assert reader.cost("s1").n_draws == {"surface": 1}
    field = "surface_position"
    drawn = {reader.read_arrays("s1", {"surface": 11}, seed, [field])[field].tobytes() for seed in range(1000)}
    assert len(drawn) == 48


@pytest.mark.parametrize(("chunk_order", "n_draws"), [("consecutive", 3 * 8), ("scattered", 3)])
def test_a_cost_counts_the_draws_of_the_chunk_order(tmp_path: Path, chunk_order: Any, n_draws: int) -> None:
    sample = {field: values[:24] for field, values in SAMPLE.items()}
    root = write_samples(tmp_path / "store", {"s1": sample}, FILEMAP, chunk_points=8)
    cost = ZarrChunkReader(root, chunk_order=chunk_order).cost("s1", {"surface": 16})
    assert cost.n_draws == {"surface": n_draws}
