"""`fields` limits the read, and a draw reads no unnecessary byte: every byte is counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.sampling.plan import ChunkOrder
from noether.data.zarr_store.stores import CountingStore, Traffic, make_store
from support.ahmed import load_run
from support.reading import FIELDS, write_samples

CHUNK_POINTS = 256
N_CHUNKS = 72
"""Number of chunks of the volume of run_1."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_1 = load_run("run_1")
    samples = {"run_1": run_1, "volume_only": {field: run_1[field] for field in FIELDS["volume"]}}
    return write_samples(tmp_path_factory.mktemp("fields") / "store", samples, chunk_points=CHUNK_POINTS)


def counted(root: Path, chunk_order: ChunkOrder = "consecutive") -> tuple[ZarrChunkReader, Traffic]:
    traffic = Traffic()
    reader = ZarrChunkReader(
        root,
        store_factory=lambda path: CountingStore(make_store(path, read_only=True), traffic),
        chunk_order=chunk_order,
    )
    return reader, traffic


def shard_path(root: Path, field: str) -> Path:
    return root / "run_1.zarr" / field.replace("_", "/", 1) / "c/0/0"


def chunk_bytes(root: Path, field: str) -> list[int]:
    """Read the lengths of a field's chunks from the index at the end of its shard."""
    index = shard_path(root, field).read_bytes()[-(16 * N_CHUNKS + 4) : -4]
    return [int(length) for length in np.frombuffer(index, "<u8").reshape(N_CHUNKS, 2)[:, 1]]


@pytest.mark.parametrize(
    "fields",
    [["volume_velocity"], ["volume_sdf", "surface_position"], ("surface_area",), {"volume_position": 1}.keys(), []],
    ids=lambda fields: "+".join(fields) or "none",
)
@pytest.mark.parametrize("num_points", [None, {"surface": 300, "volume": 300}], ids=["whole", "draw"])
def test_no_object_of_another_field_is_touched(
    root: Path, fields: Iterable[str], num_points: dict[str, int | None] | None
) -> None:
    reader, traffic = counted(root)
    arrays = reader.read_arrays("run_1", num_points, 0, fields)
    assert set(arrays) == set(fields)
    touched = {f"{field.replace('_', '/', 1)}/c/0/0" for field in fields}
    assert set(traffic.keys) == (touched | {"zarr.json"} if touched else set())


def test_fields_may_be_a_generator(root: Path) -> None:
    arrays = ZarrChunkReader(root).read_arrays("run_1", fields=(f"volume_{name}" for name in ("sdf", "pressure")))
    assert set(arrays) == {"volume_sdf", "volume_pressure"}


@pytest.mark.parametrize("n_points", [1, 200, 256, 257, 1000, 5120])
def test_a_draw_reads_at_most_one_chunk_more_than_it_fills(root: Path, n_points: int) -> None:
    field = "volume_velocity"
    lengths = chunk_bytes(root, field)
    index_bytes = 16 * N_CHUNKS + 4
    n_allowed = -(-n_points // CHUNK_POINTS) + 1
    # zarr-python reads the index for each of the two runs of chunks that a draw may have.
    allowed = sum(sorted(lengths)[-n_allowed:]) + 2 * index_bytes
    # Otherwise a reader of the whole shard would pass.
    assert allowed < shard_path(root, field).stat().st_size

    reader, traffic = counted(root)
    reader.read_arrays("run_1", {"volume": 1}, 0, [field])
    for seed in range(25):
        before = traffic.n_bytes
        reader.read_arrays("run_1", {"volume": n_points}, seed, [field])
        assert 0 < traffic.n_bytes - before <= allowed


def test_scattered_chunks_cost_no_more_than_consecutive_ones(root: Path) -> None:
    field, n_points = "volume_velocity", 3 * CHUNK_POINTS
    reader, traffic = counted(root, "scattered")
    reader.read_arrays("run_1", {"volume": 1}, 0, [field])
    allowed = sum(sorted(chunk_bytes(root, field))[-4:]) + 4 * (16 * N_CHUNKS + 4)
    for seed in range(25):
        before = traffic.n_bytes
        reader.read_arrays("run_1", {"volume": n_points}, seed, [field])
        assert traffic.n_bytes - before <= allowed


def test_the_metadata_of_a_sample_is_read_once(root: Path) -> None:
    reader, traffic = counted(root)
    for seed in range(3):
        reader.read_arrays("run_1", {"volume": 10}, seed)
    assert [key for key in traffic.keys if key.endswith(".json")] == ["zarr.json"]


def test_a_whole_read_fetches_every_byte_of_a_field_once(root: Path) -> None:
    reader, traffic = counted(root)
    reader.read_arrays("run_1", fields=["volume_vorticity"])
    metadata_bytes = (root / "run_1.zarr/zarr.json").stat().st_size
    assert traffic.n_bytes == metadata_bytes + shard_path(root, "volume_vorticity").stat().st_size
    assert traffic.requests == len(traffic.keys)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("volume_velocty", r"field 'volume_velocty' is not in the store; did you mean 'volume_velocity'"),
        ("velocity", r"field 'velocity' is not in the store; did you mean 'volume_velocity'"),
        ("zzz", r"field 'zzz' is not in the store; there are: surface_area, .*\(10 in all\)"),
    ],
)
def test_an_unknown_field_is_refused_by_the_nearest_names(root: Path, field: str, expected: str) -> None:
    reader, traffic = counted(root)
    with pytest.raises(UnknownNameError, match=expected) as caught:
        reader.read_arrays("run_1", fields=["volume_sdf", field])
    assert isinstance(caught.value, KeyError)
    assert traffic.requests == 0


def test_an_unknown_sample_is_refused_by_the_nearest_names(root: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"sample 'run_7' is not in the store; did you mean 'run_1'\?"):
        ZarrChunkReader(root).read_arrays("run_7")
    with pytest.raises(UnknownNameError, match="sample 'x' is not in the store; there are: run_1, volume_only"):
        ZarrChunkReader(root).attributes("x")


@pytest.mark.parametrize("fields", ["volume_velocity", ""], ids=repr)
def test_a_str_is_refused_as_fields(root: Path, fields: str) -> None:
    expected = rf"fields: expected a list of names, got the str '{fields}'; write \['{fields}'\]"
    with pytest.raises(ArgumentError, match=expected):
        ZarrChunkReader(root).read_arrays("run_1", fields=fields)


def test_a_sample_without_a_domain_reads_what_it_has(root: Path) -> None:
    reader = ZarrChunkReader(root)
    assert list(reader.read_arrays("volume_only", {"surface": 5, "volume": 7}, 0)) == FIELDS["volume"]


def test_num_points_of_a_domain_that_the_sample_lacks_are_ignored(root: Path) -> None:
    reader, num_points = ZarrChunkReader(root), {"surface": 5, "volume": 7}
    arrays = reader.read_arrays("volume_only", num_points, 0)
    assert {field: len(rows) for field, rows in arrays.items()} == dict.fromkeys(FIELDS["volume"], 7)
    assert reader.cost("volume_only", num_points).points == {"volume": 7}


def test_a_field_of_a_domain_that_the_sample_lacks_is_refused(root: Path) -> None:
    reader = ZarrChunkReader(root)
    expected = "sample 'volume_only' has no field 'surface_{}': of the store's domains it has only volume; leave the "
    with pytest.raises(UnknownNameError, match=expected.format("area")):
        reader.read_arrays("volume_only", fields=["surface_area", "volume_sdf"])
    with pytest.raises(UnknownNameError, match=expected.format("position")):
        reader.read_coords("volume_only", "surface", 5, 0)


def test_fields_come_in_the_order_of_the_store(root: Path) -> None:
    fields = ["surface_position", "volume_position", "volume_sdf"]
    for order in itertools.permutations(fields):
        assert list(ZarrChunkReader(root).read_arrays("run_1", {"surface": 1, "volume": 1}, 0, order)) == fields
