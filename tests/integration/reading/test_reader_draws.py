"""The results of reads: shapes, dtypes, and rows of the source."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.sampling.plan import CHUNK_ORDERS, ChunkOrder
from support.ahmed import Arrays
from support.reading import FIELDS, N_POINTS, as_stored, source_rows, write_runs

CHUNK_POINTS = 500


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five and 37 chunks, the last ones short, in shards of three."""
    root = tmp_path_factory.mktemp("draws") / "store"
    return write_runs(root, "run_1", "run_2", chunk_points=CHUNK_POINTS, shard_points=3 * CHUNK_POINTS)


@pytest.fixture(scope="module")
def reader(root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(root)


def test_a_draw_gives_float32_tensors_of_the_size_asked_for(reader: ZarrChunkReader) -> None:
    sample = reader.read_sample("run_1", {"surface": 77, "volume": 1234}, generator=0)

    assert list(sample) == FIELDS["surface"] + FIELDS["volume"]
    scalars = {"surface_pressure", "surface_area", "volume_pressure", "volume_sdf"}
    for field, tensor in sample.items():
        n_points = 77 if field.startswith("surface") else 1234
        assert isinstance(tensor, torch.Tensor)
        assert tensor.dtype == torch.float32
        assert tensor.shape == ((n_points,) if field in scalars else (n_points, 3)), field


@pytest.mark.parametrize("chunk_order", ["consecutive", "scattered"])
@pytest.mark.parametrize(
    "n_points",
    [
        pytest.param(1, id="one point"),
        pytest.param(40, id="fewer than the short chunk has"),
        pytest.param(CHUNK_POINTS, id="a chunk"),
        pytest.param(1777, id="no multiple of a chunk"),
        pytest.param(2040, id="more than the full chunks have"),
    ],
)
def test_every_row_of_a_draw_is_another_row_of_the_source_in_all_fields(
    root: Path, run_1: Arrays, n_points: int, chunk_order: ChunkOrder
) -> None:
    reader = ZarrChunkReader(root, chunk_order=chunk_order)
    for seed in range(5):
        drawn = reader.read_arrays("run_1", {"surface": n_points, "volume": n_points}, seed)

        for domain, fields in FIELDS.items():
            position = f"{domain}_position"
            rows = source_rows(drawn[position], run_1[position])
            assert len(np.unique(rows)) == n_points
            for field in fields[1:]:
                np.testing.assert_array_equal(drawn[field], as_stored(run_1[field][rows]), err_msg=field)


def test_consecutive_chunks_are_neighbours_on_a_ring_and_scattered_ones_are_not(root: Path) -> None:
    stored = ZarrChunkReader(root).read_arrays("run_1", fields=["volume_position"])["volume_position"]
    n_full = len(stored) // CHUNK_POINTS
    are_neighbours: dict[ChunkOrder, list[bool]] = {}
    for chunk_order in CHUNK_ORDERS:
        reader = ZarrChunkReader(root, chunk_order=chunk_order)
        for seed in range(20):
            drawn = reader.read_arrays("run_1", {"volume": 5 * CHUNK_POINTS}, seed, ["volume_position"])
            chunks = {int(row) // CHUNK_POINTS for row in source_rows(drawn["volume_position"], stored)} - {n_full}
            starts = [chunk for chunk in chunks if (chunk - 1) % n_full not in chunks]
            are_neighbours.setdefault(chunk_order, []).append(len(starts) == 1)
    assert all(are_neighbours["consecutive"])
    assert not any(are_neighbours["scattered"])


@pytest.mark.parametrize(
    "num_points",
    [
        pytest.param(None, id="no num_points"),
        pytest.param({}, id="domain missing"),
        pytest.param({"surface": None, "volume": None}, id="None"),
        pytest.param(N_POINTS, id="as many as there are"),
        pytest.param({"surface": 10**9, "volume": np.int64(10**12)}, id="more than there are"),
    ],
)
def test_a_domain_is_read_whole_in_stored_order_with(
    reader: ZarrChunkReader, run_1: Arrays, num_points: dict[str, int | None] | None
) -> None:
    whole = reader.read_arrays("run_1", num_points)

    # The arrays are the same every time: rows come in the stored order, not in a new shuffle.
    for field, array in reader.read_arrays("run_1").items():
        np.testing.assert_array_equal(whole[field], array)
    for domain, n_points in N_POINTS.items():
        rows = source_rows(whole[f"{domain}_position"], run_1[f"{domain}_position"])
        np.testing.assert_array_equal(np.sort(rows), np.arange(n_points))


def test_one_domain_can_be_drawn_and_the_other_read_whole(reader: ZarrChunkReader) -> None:
    sample = reader.read_arrays("run_1", {"volume": 10}, 0)
    assert {len(sample[field]) for field in FIELDS["volume"]} == {10}
    assert {len(sample[field]) for field in FIELDS["surface"]} == {N_POINTS["surface"]}


@pytest.mark.parametrize("n_points", [0, -1, True, 1.0, 1.5, "10", np.float32(8)], ids=repr)
def test_a_number_of_points_is_refused_when_it_is(reader: ZarrChunkReader, n_points: object) -> None:
    with pytest.raises(ArgumentError, match=r"num_points\['volume'\]: expected a whole number of at least 1, got"):
        reader.read_arrays("run_1", {"volume": n_points})  # type: ignore[dict-item]  # the wrong type is the point


@pytest.mark.parametrize("num_points", [0, 100, [("volume", 3)], "volume"], ids=repr)
def test_num_points_that_is_no_mapping_is_refused(reader: ZarrChunkReader, num_points: object) -> None:
    with pytest.raises(ArgumentError, match=r"num_points: expected a mapping such as \{'volume': 16384\}, got"):
        reader.read_arrays("run_1", num_points)  # type: ignore[arg-type]  # the wrong type is the point


def test_points_of_a_domain_that_the_store_lacks_are_refused(reader: ZarrChunkReader) -> None:
    with pytest.raises(UnknownNameError, match=r"domain 'volumes' is not in the store; did you mean 'volume'\?"):
        reader.read_arrays("run_1", {"volumes": 3})


@pytest.mark.parametrize("dtype", ["float16", "float32", np.float64, np.dtype("f8")], ids=str)
def test_the_result_has_the_dtype_asked_for(reader: ZarrChunkReader, dtype: DTypeLike) -> None:
    fields = ["volume_position", "volume_sdf"]
    stored = reader.read_arrays("run_1", {"volume": 600}, 3, fields, dtype=None)
    drawn = reader.read_arrays("run_1", {"volume": 600}, 3, fields, dtype=dtype)
    for field in fields:
        assert drawn[field].dtype == dtype
        np.testing.assert_array_equal(drawn[field], stored[field].astype(dtype))


def test_the_dtype_none_keeps_what_is_stored(reader: ZarrChunkReader) -> None:
    arrays = reader.read_arrays("run_1", {"surface": 5, "volume": 5}, dtype=None)
    assert {field: array.dtype.name for field, array in arrays.items()} == {
        field: "float32" if field.endswith("position") else "float16" for field in arrays
    }


@pytest.mark.parametrize("dtype", ["int32", bool, "complex64", "float31", "longdouble", object], ids=str)
def test_a_dtype_is_refused_when_it_is_not_floating(reader: ZarrChunkReader, dtype: DTypeLike) -> None:
    with pytest.raises(ArgumentError, match=r"dtype: expected one of float16, float32, float64, got"):
        reader.read_arrays("run_1", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", None], ids=str)
def test_tensors_hold_what_the_arrays_hold(reader: ZarrChunkReader, dtype: DTypeLike | None) -> None:
    arrays = reader.read_arrays("run_1", {"volume": 600}, 5, dtype=dtype)
    tensors = reader.read_sample("run_1", {"volume": 600}, 5, dtype=dtype)
    assert list(tensors) == list(arrays)
    for field, tensor in tensors.items():
        assert tensor.numpy().dtype == arrays[field].dtype
        np.testing.assert_array_equal(tensor.numpy(), arrays[field])


def test_writing_to_a_result_does_not_change_a_later_read(reader: ZarrChunkReader) -> None:
    first = reader.read_sample("run_1")
    expected = {field: tensor.clone() for field, tensor in first.items()}
    for tensor in first.values():
        tensor.fill_(-1.0)
    for field, tensor in reader.read_sample("run_1").items():
        assert torch.equal(tensor, expected[field]), field


@pytest.mark.parametrize(("n_points", "expected"), [(300, 300), (None, 2041), (10**6, 2041)])
def test_read_coords_gives_positions_of_the_source(
    reader: ZarrChunkReader, run_1: Arrays, n_points: int | None, expected: int
) -> None:
    coords = reader.read_coords("run_1", "surface", n_points, generator=1)
    assert coords.dtype == torch.float32
    assert coords.shape == (expected, 3)
    assert len(set(source_rows(coords.numpy(), run_1["surface_position"]).tolist())) == expected


def test_read_coords_refuses_a_domain_that_the_store_lacks(reader: ZarrChunkReader) -> None:
    with pytest.raises(UnknownNameError, match=r"domain 'surfaces' is not in the store; did you mean 'surface'\?"):
        reader.read_coords("run_1", "surfaces", 3)


def test_attributes_are_copies_of_the_samples_attributes(reader: ZarrChunkReader) -> None:
    attributes = reader.attributes("run_2")
    assert attributes == {"name": "run_2"}
    attributes["name"] = "changed"
    assert reader.attributes("run_2") == {"name": "run_2"}


@pytest.mark.usefixtures("compiled")
def test_a_field_more_takes_few_steps_of_python(tmp_path: Path) -> None:
    """In a training, most steps have left the caches of the processor: a draw takes as long as it has steps.

    Calls of Python's own library, which differ between versions, are the same for any number of fields.
    """
    reader = ZarrChunkReader(write_runs(tmp_path / "store", "run_1", chunk_points=CHUNK_POINTS))

    def count(fields: list[str]) -> int:
        reader.read_arrays("run_1", {"volume": CHUNK_POINTS}, 1, fields)  # to open files and arrays
        calls: list[str] = []

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                calls.append(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            reader.read_arrays("run_1", {"volume": CHUNK_POINTS}, 1, fields)
        finally:
            sys.setprofile(None)
        return len(calls)

    one, three = count(FIELDS["volume"][:1]), count(FIELDS["volume"][:3])
    assert (three - one) / 2 <= 24
