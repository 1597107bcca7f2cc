"""Iteration over a whole sample in batches: errors, threads, memory, and storages."""

from __future__ import annotations

import shutil
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, TooLargeError, UnknownNameError
from noether.data.zarr_store.reader import SampleBatch
from noether.data.zarr_store.reading import iteration
from noether.data.zarr_store.reading.sharded_array import ShardedArray
from noether.data.zarr_store.stores import CountingStore, Traffic, make_store
from support.damage import flip
from support.hostile_stores import Document, edit_json
from support.local_reads import note_reads
from support.places import PLACES, make_place
from support.reading import FIELDS, N_POINTS, write_runs, write_samples

CHUNK_POINTS = 512
SHARD_POINTS = 4 * CHUNK_POINTS
VOLUME = ["volume_position", "volume_pressure"]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("iteration") / "store"
    return write_runs(root, "run_1", chunk_points=CHUNK_POINTS, shard_points=SHARD_POINTS)


@pytest.fixture
def reader(intact: Path) -> ZarrChunkReader:
    return ZarrChunkReader(intact)


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the larger reads out of which small batches are cut."""
    monkeypatch.setattr(iteration, "_LEAST_READ_POINTS", 1)


def require_whole(batches: list[SampleBatch], reader: ZarrChunkReader, fields: list[str] | None = None) -> None:
    """Compare batches with a whole read of the sample."""
    whole = reader.read_arrays("run_1", fields=fields)
    assert set().union(*(batch.fields for batch in batches)) == set(whole)
    for batch in batches:
        assert batch.sample_id == "run_1"
        for field, values in batch.fields.items():
            np.testing.assert_array_equal(values, whole[field][batch.rows.start : batch.rows.stop], strict=True)


def until_error(batches: Iterator[SampleBatch]) -> tuple[list[SampleBatch], CorruptDataError]:
    """The batches before the error, and the error."""
    before: list[SampleBatch] = []
    with pytest.raises(CorruptDataError) as error:
        before.extend(batches)
    return before, error.value


def names_of_threads() -> list[str]:
    """Return the threads of loops, and not the threads of other tests' readers."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("noether-iterate")]


def test_a_mapping_has_a_batch_size_for_each_domain(reader: ZarrChunkReader) -> None:
    batches = list(reader.iter_sample("run_1", {"volume": 10_000, "surface": 1500}))
    assert [(batch.domain, batch.rows) for batch in batches] == [
        ("surface", range(1500)),
        ("surface", range(1500, N_POINTS["surface"])),
        ("volume", range(10_000)),
        ("volume", range(10_000, N_POINTS["volume"])),
    ]
    assert [list(batch.fields) for batch in batches] == [FIELDS[batch.domain] for batch in batches]
    require_whole(batches, reader)


def test_tensors_of_a_batch_share_the_memory_of_its_fields(reader: ZarrChunkReader) -> None:
    batch = next(reader.iter_sample("run_1", 100, fields=VOLUME))
    tensors = batch.tensors()
    assert {name: (type(one), tuple(one.shape), one.dtype) for name, one in tensors.items()} == {
        "volume_position": (torch.Tensor, (100, 3), torch.float32),
        "volume_pressure": (torch.Tensor, (100,), torch.float32),
    }
    for name, tensor in tensors.items():
        assert tensor.data_ptr() == batch.fields[name].ctypes.data


@pytest.mark.parametrize("batch_points", [100, CHUNK_POINTS, 700, 3 * CHUNK_POINTS - 1, 50_000])
@pytest.mark.usefixtures("small_reads")
def test_every_chunk_is_fetched_once(intact: Path, monkeypatch: pytest.MonkeyPatch, batch_points: int) -> None:
    """All batches together read the bytes of a whole read, even if batches end within chunks."""
    reader = ZarrChunkReader(intact)
    expected = reader.cost("run_1", fields=VOLUME).total_bytes
    reads = note_reads(monkeypatch)
    for _ in reader.iter_sample("run_1", batch_points, fields=VOLUME):
        pass
    assert sum(read.n_bytes for read in reads) == expected


@pytest.mark.parametrize("kind", PLACES)
def test_iter_sample_works_in_every_storage(kind: str, request: pytest.FixtureRequest) -> None:
    place = make_place(kind, request)
    settings = {"chunk_points": CHUNK_POINTS, "storage_options": place.options}
    reader = ZarrChunkReader(
        write_runs(str(place.root), "run_1", **settings), storage_options=place.options, read_concurrency=4
    )
    require_whole(list(reader.iter_sample("run_1", 3000)), reader)


@pytest.mark.usefixtures("small_reads")
def test_a_store_factory_carries_every_byte_of_the_batches(intact: Path) -> None:
    traffic = Traffic()
    counted = ZarrChunkReader(
        intact, store_factory=lambda path: CountingStore(make_store(path, read_only=True), traffic)
    )
    batches = list(counted.iter_sample("run_1", 3000, fields=VOLUME))
    assert set(traffic.keys) == {
        "zarr.json",
        *(f"volume/{name}/c/{shard}/0" for name in ("position", "pressure") for shard in range(9)),
    }
    require_whole(batches, ZarrChunkReader(intact), VOLUME)


@pytest.mark.parametrize("batch_points", [100, CHUNK_POINTS, 700, 18_000], ids=str)
@pytest.mark.parametrize("read_concurrency", [1, 3])
def test_a_damaged_chunk_is_an_error_in_place_of_the_first_batch_that_has_it(
    intact: Path, tmp_path: Path, batch_points: int, read_concurrency: int
) -> None:
    """All earlier batches are returned, and the error is the error of a whole read."""
    root = Path(shutil.copytree(intact, tmp_path / "store"))
    flip("run_1.zarr/volume/pressure/c/2/0", at=10)(root)  # the first chunk of the third shard
    reader = ZarrChunkReader(root, read_concurrency=read_concurrency)
    with pytest.raises(CorruptDataError) as whole:
        reader.read_arrays("run_1", fields=VOLUME)
    batches, error = until_error(reader.iter_sample("run_1", batch_points, fields=VOLUME))
    assert str(error) == str(whole.value)
    assert str(error).startswith("sample 'run_1', field volume_pressure: chunk 8, in shard 2, is damaged")
    n_before = 2 * SHARD_POINTS // batch_points
    assert [batch.rows for batch in batches] == [
        range(number * batch_points, (number + 1) * batch_points) for number in range(n_before)
    ]
    if batches:
        require_whole(batches, ZarrChunkReader(intact), VOLUME)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"sample_id": "run_9"}, UnknownNameError, "run_9"),
        ({"fields": ["volume_presure"]}, UnknownNameError, "did you mean 'volume_pressure'"),
        ({"fields": "volume_pressure"}, ArgumentError, r"write \['volume_pressure'\]"),
        ({"num_points": {"volum": 1}}, UnknownNameError, "did you mean 'volume'"),
        ({"num_points": 0}, ArgumentError, "num_points: expected a whole number of at least 1, got 0"),
        ({"num_points": 2.5}, ArgumentError, "num_points: expected a whole number of at least 1, got 2.5"),
        ({"num_points": None}, ArgumentError, "num_points: expected a whole number of at least 1, got None"),
        ({"num_points": {"volume": 0, "surface": 1}}, ArgumentError, r"num_points\['volume'\]: expected a whole nu"),
        (
            {"num_points": {"volume": 5}},
            ArgumentError,
            r"\(sample 'run_1'\): .* got none for 'surface'; add {'surface': 65",
        ),
        (
            {"num_points": {"volume": 5, "surface": None}},
            ArgumentError,
            r"\(sample 'run_1'\): .* got none for 'surface'",
        ),
        ({"dtype": "int32"}, ArgumentError, "dtype: expected one of float16, float32, float64"),
    ],
)
def test_wrong_arguments_are_errors_of_the_call_itself(
    reader: ZarrChunkReader, arguments: Mapping[str, Any], kind: type[Exception], message: str
) -> None:
    """The call raises the error, before any read and before a loop."""
    with pytest.raises(kind, match=message):
        reader.iter_sample(**{"sample_id": "run_1", "num_points": 100, **arguments})


def test_a_mapping_needs_no_domain_that_is_not_read(reader: ZarrChunkReader) -> None:
    batches = list(reader.iter_sample("run_1", {"volume": 18_000}, fields=VOLUME))
    assert [batch.rows for batch in batches] == [range(18_000), range(18_000, N_POINTS["volume"])]
    assert list(reader.iter_sample("run_1", {}, fields=[])) == []


def test_a_sample_that_claims_more_points_than_there_are_costs_little_memory(tmp_path: Path, intact: Path) -> None:
    root = Path(shutil.copytree(intact, tmp_path / "store"))

    def claim(document: Document) -> None:
        grid = document["samples"]["run_1"]["domains"]["volume"]
        grid |= {"n_points": 1 << 40, "n_chunks": (1 << 40) // CHUNK_POINTS}

    edit_json(root / "manifest.json", claim)
    reader = ZarrChunkReader(root)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptDataError, match="sample 'run_1', field volume_position"):
            next(reader.iter_sample("run_1", 1000, fields=VOLUME))
        with pytest.raises((CorruptDataError, TooLargeError), match="sample 'run_1'"):
            next(reader.iter_sample("run_1", 1 << 40, fields=VOLUME))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.usefixtures("small_reads")
def test_the_next_batch_is_read_while_the_caller_works_and_no_further_one(
    reader: ZarrChunkReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    second = threading.Event()
    read_request = ShardedArray.read

    def noted(self: ShardedArray, request: Any, out: Any) -> None:
        read.append(threading.current_thread().name)
        if len(read) == 2:
            second.set()
        read_request(self, request, out)

    monkeypatch.setattr(ShardedArray, "read", noted)
    batches = reader.iter_sample("run_1", CHUNK_POINTS, fields=["volume_pressure"])
    next(batches)
    assert second.wait(60), "no batch is prefetched"
    batches.close()  # type: ignore[attr-defined]  # it is a generator, which waits for its thread
    assert len(read) == 2
    assert threading.current_thread().name not in read


@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged ahead"])
@pytest.mark.usefixtures("small_reads")
def test_a_loop_that_ends_early_leaves_no_thread_and_no_error(intact: Path, tmp_path: Path, damaged: bool) -> None:
    """Even if the prefetched batch is damaged."""
    root = Path(shutil.copytree(intact, tmp_path / "store"))
    if damaged:
        flip("run_1.zarr/volume/pressure/c/0/0", at=-100)(root)  # of the index: no batch but the first is read
    before = names_of_threads()
    fields = ["surface_pressure", *(["volume_pressure"] if damaged else [])]
    batches = iter(ZarrChunkReader(root).iter_sample("run_1", N_POINTS["surface"], fields=fields))
    for batch in batches:
        assert batch.domain == "surface"
        break
    del batches, batch
    assert names_of_threads() == before
    with pytest.raises(ZeroDivisionError):
        fail_at_first_batch(ZarrChunkReader(root).iter_sample("run_1", 300, fields=["surface_pressure"]))
    assert names_of_threads() == before


def fail_at_first_batch(batches: Iterator[SampleBatch]) -> None:
    for batch in batches:
        raise ZeroDivisionError(batch)


def test_a_loop_that_ends_leaves_no_thread(reader: ZarrChunkReader) -> None:
    before = names_of_threads()
    assert len(list(reader.iter_sample("run_1", 5000, fields=VOLUME))) == 4
    assert names_of_threads() == before


def test_several_loops_over_one_reader_do_not_disturb_each_other(reader: ZarrChunkReader) -> None:
    loops = [reader.iter_sample("run_1", points, fields=VOLUME) for points in (2000, 3000)]
    for first, second in zip(*loops, strict=False):
        require_whole([first, second], reader, VOLUME)
        # Writing to a batch must not change another batch.
        for values in first.fields.values():
            values[:] = 0


def test_memory_holds_a_few_batches_and_not_a_field(tmp_path: Path) -> None:
    n_points, batch_points = 1_000_000, 100_000
    numbers = np.arange(n_points, dtype=np.float32)
    sample = {"volume_position": np.column_stack([numbers] * 3), "volume_pressure": numbers % 1000}
    filemap = FileMap(volume_position="a", volume_pressure="b")
    reader = ZarrChunkReader(write_samples(tmp_path / "store", {"run_1": sample}, filemap))
    del sample, numbers
    assert sum(len(batch.rows) for batch in reader.iter_sample("run_1", 300_000)) == n_points
    tracemalloc.start()
    try:
        for batch in reader.iter_sample("run_1", batch_points):
            assert len(batch.fields["volume_pressure"]) == batch_points
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A point takes 16 bytes in a batch. Memory also holds the compressed chunks of one batch.
    assert 2 * batch_points * 16 < peak < 4 * batch_points * 16 < n_points * 16 / 2


def test_a_batch_smaller_than_a_chunk_costs_the_memory_of_a_few_chunks(tmp_path: Path) -> None:
    n_points, chunk_points = 1_000_000, 100_000
    sample = {"volume_position": np.zeros((n_points, 3), np.float32)}
    root = write_samples(tmp_path / "store", {"run_1": sample}, FileMap(volume_position="a"), chunk_points=chunk_points)
    reader = ZarrChunkReader(root)
    next(reader.iter_sample("run_1", 1000))
    tracemalloc.start()
    try:
        assert sum(len(batch.rows) for batch in reader.iter_sample("run_1", 1000)) == n_points
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * chunk_points * 12 < n_points * 12 / 3
