"""Samples that the writer refuses. Neither a refusal nor a failure leaves a trace."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.errors import (
    ArgumentError,
    NonFiniteError,
    SampleDataError,
    SampleIdError,
    StorageError,
    StoreError,
    ValueOverflowError,
)
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.places import Place, local_place
from support.workers import processes, write_run_with_small_files

NAN_AND_TOO_LARGE = np.full(2041, 1e6, "float32")
NAN_AND_TOO_LARGE[5] = np.nan


def with_one(values: Any) -> Any:
    pressure = load_run("run_1")["surface_pressure"].copy()
    pressure[7] = values
    return pressure


def deep_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# Changes of the surface of run_1 (None leaves the field out), and the error and message for each.
BAD_FIELDS: dict[str, tuple[dict[str, Any], type[StoreError], str]] = {
    "point counts that disagree": (
        {"surface_pressure": np.ones(2040)},
        SampleDataError,
        r"domain 'surface' have different numbers of points .*surface_position 2,041, surface_pressure 2,040",
    ),
    "a domain without its position": (
        {"surface_position": None},
        SampleDataError,
        r"domain 'surface' lacks surface_position, .*leave out the whole domain",
    ),
    "a domain with a field missing": (
        {"surface_area": None, "surface_normals": None},
        SampleDataError,
        r"lacks surface_normals, surface_area, .*needs all its fields; add the missing",
    ),
    "an unknown field": (
        {"surface_presure": np.ones(2041)},
        SampleDataError,
        r"unknown field 'surface_presure'; did you mean 'surface_pressure'",
    ),
    "too many components": (
        {"surface_pressure": np.ones((2041, 3))},
        SampleDataError,
        r"surface_pressure: expected shape \(n_points, 1\) or \(n_points,\), got \(2041, 3\)",
    ),
    "too few components": (
        {"surface_position": np.ones((2041, 2))},
        SampleDataError,
        r"surface_position: expected shape \(n_points, 3\), got \(2041, 2\)",
    ),
    "a vector without an axis": (
        {"surface_position": np.ones(2041)},
        SampleDataError,
        r"surface_position: expected shape \(n_points, 3\), got \(2041,\)",
    ),
    "an axis too many": ({"surface_pressure": np.ones((1, 2041, 1))}, SampleDataError, r"got \(1, 2041, 1\)"),
    "a number": ({"surface_pressure": 1.0}, SampleDataError, r"surface_pressure: expected shape .*, got \(\)"),
    "no points": (
        {"surface_pressure": np.ones(0)},
        SampleDataError,
        "surface_pressure: it has no points; leave out the empty domain",
    ),
    "text": ({"surface_pressure": np.full(2041, "a")}, SampleDataError, r"floating dtype, got <U1; convert it"),
    "booleans": ({"surface_pressure": np.full(2041, True)}, SampleDataError, r"floating dtype, got bool"),
    "complex numbers": ({"surface_pressure": np.full(2041, 1j)}, SampleDataError, r"floating dtype, got complex128"),
    "dates": ({"surface_pressure": np.full(2041, "2026", "M8[D]")}, SampleDataError, r"got datetime64\[D\]"),
    "objects": ({"surface_pressure": [{}] * 2041}, SampleDataError, "floating dtype, got object"),
    "None": ({"surface_pressure": [None] * 2041}, SampleDataError, "floating dtype, got object"),
    "a ragged list": ({"surface_pressure": [[1.0], [1.0, 2.0]]}, SampleDataError, "cannot be read as an array"),
    "a tensor with gradient": (
        {"surface_pressure": torch.ones(2041, requires_grad=True)},
        SampleDataError,
        "Tensor cannot be read as an array .*CPU tensor without gradient",
    ),
    "a value that overflows float16": (
        {"surface_pressure": with_one(70000.0)},
        ValueOverflowError,
        r"magnitude 70000 does not fit float16, whose limit is 65504; .*field_dtypes={'surface_pressure': 'float32'}",
    ),
    "an integer that overflows float16": (
        {"surface_pressure": np.full(2041, 2**62)},
        ValueOverflowError,
        r"4\.6\d+e\+18 does not fit float16",
    ),
    "a value that overflows float32": (
        {"surface_position": np.full((2041, 3), 1e300)},
        ValueOverflowError,
        r"1e\+300 does not fit float32, .*field_dtypes={'surface_position': 'float64'}",
    ),
    "a value that overflows beside NaN": (
        {"surface_pressure": NAN_AND_TOO_LARGE},
        ValueOverflowError,
        r"magnitude 1e\+06 does not fit float16",
    ),
    "NaN": ({"surface_pressure": with_one(np.nan)}, NonFiniteError, "got 1 of 2,041 that are NaN .*first in row 7"),
    "infinity": ({"surface_pressure": with_one(-np.inf)}, NonFiniteError, "got 1 of 2,041 that are NaN or infinite"),
}

BAD_IDS = {
    "empty": "",
    "parent": "../run",
    "parent inside": "a/../../run",
    "absolute": "/run",
    "hidden": ".run",
    "drive": "C:run",
    "backslash": "a\\b",
    "NUL": "a\0b",
    "newline": "a\nb",
    "empty part": "a//b",
    "slash at the end": "a/",
    "blank at the end": "a ",
    "inside a group": "run_1.zarr/surface",
    "too long": "a" * 201,
    "lone surrogate": "a\ud800",
    "number": 7,
    "path": Path("run"),
}

BAD_ATTRIBUTES: dict[str, tuple[Any, str]] = {
    "NaN": ({"speed": float("nan")}, "attribute 'speed': it cannot be written as JSON"),
    "object": ({"speed": object()}, "attribute 'speed': it cannot be written as JSON .*object is not a JSON value"),
    "lone surrogate": ({"name": "a\ud800"}, "attribute 'name': it cannot be written as JSON"),
    "lone surrogate in a key": ({"a\ud800": 1}, ".* it cannot be written as JSON"),
    "lists in lists without end": ({"deep": deep_list(5000)}, "attribute 'deep': it cannot be written as JSON"),
    "key": ({1: 2}, "attribute 1: expected a str as key, got int"),
}

BAD_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"{name} {value!r}": ({name: value}, f"^{name}: expected a whole number of at least 1, got")
        for name in ("chunk_points", "shard_points")
        for value in (0, -1, 2.0, "4096", True)
    },
    "chunk_points None": ({"chunk_points": None}, "^chunk_points: expected a whole number of at least 1, got None"),
    **{
        f"{name} {value!r}": ({name: value}, f"^{name}: expected one of float16, float32, float64, got {value!r}")
        for name in ("coords_dtype", "values_dtype")
        for value in ("int32", "float8", None, "complex64")
    },
    "field_dtypes dtype": ({"field_dtypes": {"volume_sdf": "i4"}}, r"^field_dtypes\['volume_sdf'\]: .*got 'int32'"),
    "field_dtypes field": (
        {"field_dtypes": {"volume_sdff": "f4"}},
        "^field_dtypes: unknown field 'volume_sdff'; did you mean 'volume_sdf'",
    ),
    **{
        f"compression_level {value!r}": ({"compression_level": value}, "^compression_level: .*from 0 to 9, got")
        for value in (-1, 10, 5.0, True, "5", None)
    },
    "non_finite": ({"non_finite": "ignore"}, "^non_finite: expected one of raise, allow, got 'ignore'"),
    "shuffle_seed": ({"shuffle_seed": 0.5}, "^shuffle_seed: expected a whole number, got 0.5"),
    "dataset_name": (
        {"dataset_name": ""},
        "^dataset_name: expected a non-empty str of printable characters, got ''",
    ),
    "store_root": ({"store_root": ""}, "^store root: expected a path or URL, got an empty string"),
    "no field": ({"filemap": FileMap()}, "^file map: it names no field; set at least one <domain>_position"),
    "no position": (
        {"filemap": FileMap(surface_pressure="p")},
        "^file map: domain 'surface' has no position, only surface_pressure; set surface_position",
    ),
}


@pytest.fixture(scope="module")
def surface(run_1: Arrays) -> Arrays:
    return {field: values for field, values in run_1.items() if field.startswith("surface_")}


@pytest.fixture
def new(tmp_path: Path) -> ZarrStoreWriter:
    """A writer of a store that does not exist."""
    return ZarrStoreWriter(tmp_path / "new", AHMED_FILEMAP, "ahmed")


@pytest.fixture
def old(tmp_path: Path, surface: Arrays) -> Place:
    """A store with a sample."""
    place = local_place(tmp_path / "old")
    writer = ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed")
    writer.write_sample("run_1", surface)
    writer.save_manifest()
    return place


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_fields_are_refused_and_leave_no_trace(
    new: ZarrStoreWriter, old: Place, surface: Arrays, case: str
) -> None:
    changes, error, message = BAD_FIELDS[case]
    arrays = {field: values for field, values in (surface | changes).items() if values is not None}
    before = old.files()
    for writer in (new, ZarrStoreWriter(old.root, AHMED_FILEMAP, "ahmed")):
        with pytest.raises(error, match=rf"^sample 'run_1'.*{message}") as caught:
            writer.write_sample("run_1", arrays)
        assert isinstance(caught.value, ValueError)
    assert not Path(new.store_root).exists()
    assert new.manifest.samples == {}
    assert old.files() == before


def test_an_overflow_beside_nan_is_refused_where_nan_is_allowed(tmp_path: Path, surface: Arrays) -> None:
    writer = ZarrStoreWriter(tmp_path / "store", AHMED_FILEMAP, "ahmed", non_finite="allow")
    with pytest.raises(ValueOverflowError, match="field surface_pressure"):
        writer.write_group("run_1", surface | {"surface_pressure": NAN_AND_TOO_LARGE})
    assert not (tmp_path / "store").exists()


def test_a_fault_in_the_last_field_is_found_before_the_first_is_written(new: ZarrStoreWriter, run_1: Arrays) -> None:
    with pytest.raises(NonFiniteError, match="field volume_sdf"):
        new.write_group("run_1", run_1 | {"volume_sdf": np.full(18219, np.nan)})
    assert not Path(new.store_root).exists()


def test_a_sample_without_a_field_is_refused(new: ZarrStoreWriter) -> None:
    with pytest.raises(SampleDataError, match=r"'run_1': it has no field; .*at least one domain of surface, volume"):
        new.write_sample("run_1", {})
    assert not Path(new.store_root).exists()


@pytest.mark.parametrize("sample_id", BAD_IDS.values(), ids=BAD_IDS)
def test_unsafe_sample_ids_are_refused_and_leave_no_trace(
    new: ZarrStoreWriter, surface: Arrays, tmp_path: Path, sample_id: Any
) -> None:
    entry = ZarrStoreWriter("memory://ids", AHMED_FILEMAP, "ahmed").write_group("run_1", surface)
    acts: list[Callable[[], object]] = [
        lambda: new.write_group(sample_id, surface),
        lambda: new.write_sample(sample_id, surface),
        lambda: new.record(sample_id, entry),
        lambda: new.find_group(sample_id),
    ]
    for act in acts:
        with pytest.raises(SampleIdError, match=r"^sample id") as caught:
            act()
        assert isinstance(caught.value, ValueError)
    assert list(tmp_path.iterdir()) == []
    assert new.manifest.samples == {}


@pytest.mark.parametrize("case", BAD_ATTRIBUTES)
def test_bad_attributes_are_refused_and_leave_no_trace(new: ZarrStoreWriter, surface: Arrays, case: str) -> None:
    attributes, message = BAD_ATTRIBUTES[case]
    with pytest.raises(SampleDataError, match=f"^sample 'run_1', {message}"):
        new.write_sample("run_1", surface, attributes=attributes)
    assert not Path(new.store_root).exists()


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters_are_refused_and_leave_no_trace(tmp_path: Path, case: str) -> None:
    changes, message = BAD_PARAMETERS[case]
    parameters: dict[str, Any] = {
        "store_root": tmp_path / "store",
        "filemap": AHMED_FILEMAP,
        "dataset_name": "ahmed",
    } | changes
    with pytest.raises(ArgumentError, match=message) as caught:
        ZarrStoreWriter(**parameters)
    assert isinstance(caught.value, ValueError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_full_disk_keeps_the_former_sample(old: Place) -> None:
    """Nothing of the new sample is left."""
    writer = ZarrStoreWriter(old.root, AHMED_FILEMAP, "ahmed")
    before = old.files()
    with processes(1) as pool:
        for sample_id in ("run_1", "run_2"):
            job = pool.submit(write_run_with_small_files, pickle.dumps(writer.to_init_kwargs()), sample_id, 20_000)
            with pytest.raises(StorageError, match=rf"cannot write .*/{sample_id}\.zarr: File too large"):
                job.result()
    assert old.files() == before
    assert {path.name for path in Path(old.path).iterdir()} == {"manifest.json", ".manifest.json.lock", "run_1.zarr"}


@pytest.mark.parametrize("protocol", ["smalldisk", "smallmemory"])
@pytest.mark.parametrize("budget", [0, 700, 20_000, 30_000])
def test_full_fsspec_file_system_keeps_the_other_samples(
    tmp_path: Path, surface: Arrays, protocol: str, budget: int
) -> None:
    """Nothing of the new sample is left."""
    fs = LocalFileSystem() if protocol == "smalldisk" else MemoryFileSystem()
    place = Place(f"{'local' if protocol == 'smalldisk' else 'memory'}://{tmp_path}", None, fs, str(tmp_path))
    ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed").write_group("run_1", surface)
    before = place.files()
    writer = ZarrStoreWriter(f"{protocol}://{tmp_path}", AHMED_FILEMAP, "ahmed", storage_options={"budget": budget})
    with pytest.raises(StorageError, match=r"cannot write .*/run_2\.zarr/.*No space left on device"):
        writer.write_sample("run_2", surface)
    assert place.files() == before
    assert writer.manifest.samples == {}
