"""Different dtypes by field: positions in float64, and all other fields in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.reading import ResultDtype
from noether.data.zarr_store.sampling import DrawPlanner, PlannedRead
from support.ahmed import RUNS, Arrays, load_run
from support.reading import FIELDS, write_samples

# Coordinates of a map, where float32 has a resolution of half a metre.
FAR = np.array([500_000.0, 5_800_000.0, 0.0])
ALL_FIELDS = FIELDS["surface"] + FIELDS["volume"]
NUM_POINTS = {"surface": 333, "volume": 1001}
POSITIONS: ResultDtype = {"surface_position": "float64", "volume_position": np.float64}


def far_run(name: str) -> Arrays:
    return {field: values + FAR if field.endswith("position") else values for field, values in load_run(name).items()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = {run: far_run(run) for run in RUNS[:2]}
    return write_samples(tmp_path_factory.mktemp("dtypes") / "store", samples, chunk_points=256, coords_dtype="float64")


@pytest.fixture
def reader(root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(root)


def dtype_of(field: str) -> str:
    return "float64" if field.endswith("position") else "float32"


def plan(reader: ZarrChunkReader, num_points: dict[str, int]) -> list[list[PlannedRead]]:
    planner = DrawPlanner(reader.manifest.domains, num_points)
    runs = RUNS[:2]
    return [[one.planned for one in planner.plan(run, reader.entry(run), 0)] for run in runs]


def test_fields_have_requested_dtypes_and_others_are_float32(reader: ZarrChunkReader) -> None:
    stored = reader.read_arrays("run_1", NUM_POINTS, 3, dtype=None)
    arrays = reader.read_arrays("run_1", NUM_POINTS, 3, dtype=POSITIONS)
    tensors = reader.read_sample("run_1", NUM_POINTS, 3, dtype=POSITIONS)
    for field in ALL_FIELDS:
        assert arrays[field].dtype == dtype_of(field)
        np.testing.assert_array_equal(arrays[field], stored[field].astype(dtype_of(field)))
        np.testing.assert_array_equal(tensors[field].numpy(), arrays[field], strict=True)


def test_positions_in_float64_are_those_of_the_source_bit_for_bit(reader: ZarrChunkReader) -> None:
    """In float32, they are not."""
    source, field = far_run("run_1")["volume_position"], "volume_position"
    read = reader.read_arrays("run_1", fields=[field], order="original", dtype={field: "float64"})[field]
    assert read.tobytes() == source.tobytes()
    rounded = reader.read_arrays("run_1", fields=[field], order="original")[field]
    assert np.abs(rounded - source).max() > 0.1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_field_can_have_any_floating_dtype(reader: ZarrChunkReader, dtype: str) -> None:
    stored = reader.read_arrays("run_1", NUM_POINTS, 3, dtype=None)
    values = [field for field in FIELDS["surface"] if field != "surface_position"]  # which is too large for float16
    arrays = reader.read_arrays("run_1", NUM_POINTS, 3, dtype=dict.fromkeys(values, dtype))
    for field in ALL_FIELDS:
        expected = stored[field].astype(dtype if field in values else "float32")
        np.testing.assert_array_equal(arrays[field], expected, strict=True)


def test_the_dtype_of_a_field_that_is_not_read_changes_nothing(reader: ZarrChunkReader) -> None:
    read = reader.read_arrays("run_1", NUM_POINTS, 3, ["volume_pressure"], dtype=POSITIONS)
    assert {field: values.dtype.name for field, values in read.items()} == {"volume_pressure": "float32"}


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ({"volume_positions": "float64"}, UnknownNameError, r"dtype: field 'volume_positions' is not in .* 'volume_p"),
        ({3: "float64"}, UnknownNameError, r"dtype: field 3 is not in the store"),
        (
            {"volume_position": "int64"},
            ArgumentError,
            r"dtype\['volume_position'\]: expected one of float16, .* got 'int",
        ),
        ({"volume_position": None}, ArgumentError, r"dtype\['volume_position'\]: expected one of float16, .* got None"),
    ],
    ids=["unknown", "no name", "integers", "none"],
)
def test_dtypes_of_unknown_fields_and_other_kinds_are_refused(
    reader: ZarrChunkReader, dtype: Any, error: type[Exception], message: str
) -> None:
    for read in (
        lambda: reader.read_arrays("run_1", NUM_POINTS, dtype=dtype),
        lambda: reader.read_sample("run_1", NUM_POINTS, dtype=dtype),
        lambda: reader.read_planned(plan(reader, NUM_POINTS), dtype=dtype),
    ):
        with pytest.raises(error, match=message):
            read()


class OneBlock:
    """Return memory as in a worker: contiguous pieces of one block, each aligned to 64 bytes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
        self.sizes = list(sizes)
        starts = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)]).tolist()
        block = np.empty(starts[-1] + 64, np.uint8)
        first = -block.ctypes.data % 64
        self.block = block[first : first + starts[-1]]
        return [self.block[start : start + size] for start, size in zip(starts[:-1], sizes, strict=True)]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", None, POSITIONS, {"volume_pressure": "f8", "volume_sdf": "f2"}]
)
def test_planned_reads_fill_given_memory_in_their_dtypes(reader: ZarrChunkReader, dtype: ResultDtype) -> None:
    """Odd numbers of points make fields whose bytes are no multiple of eight."""
    planned, allocate = plan(reader, NUM_POINTS), OneBlock()
    placed, alone = reader.read_planned(planned, allocate, dtype), reader.read_planned(planned, dtype=dtype)
    of_fields: dict[str, list[NDArray[Any]]] = {}
    for of_sample, expected in zip(placed, alone, strict=True):
        for arrays, others in zip(of_sample, expected, strict=True):
            for field, values in arrays.items():
                np.testing.assert_array_equal(values, others[field], strict=True)
                assert np.may_share_memory(values, allocate.block)
                assert values.flags.aligned
                of_fields.setdefault(field, []).append(values)
    for first, second in of_fields.values():
        assert first.ctypes.data + first.nbytes == second.ctypes.data
    assert sorted(allocate.sizes) == sorted(sum(one.nbytes for one in arrays) for arrays in of_fields.values())


def test_a_planned_read_is_float32_by_default(reader: ZarrChunkReader) -> None:
    for of_sample in reader.read_planned(plan(reader, NUM_POINTS)):
        assert {values.dtype.name for arrays in of_sample for values in arrays.values()} == {"float32"}
