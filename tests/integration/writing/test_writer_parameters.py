"""The effect of each parameter of the writer on the files and for zarr-python."""

from __future__ import annotations

import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import zarr
from hypothesis import given

from noether.data.schemas import FileMap, Scalar
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, NonFiniteError
from support.ahmed import AHMED_FILEMAP, Arrays
from support.places import local_place

POINTS = 2041  # of the surface of run_1


class WarmFileMap(FileMap):
    surface_temperature: Scalar = None


@pytest.fixture(scope="module")
def surface(run_1: Arrays) -> Arrays:
    return {field: values for field, values in run_1.items() if field.startswith("surface_")}


def write(root: Path, arrays: Arrays, **parameters: Any) -> zarr.Group:
    ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", **parameters).write_group("run_1", arrays)
    return zarr.open_group(root / "run_1.zarr", mode="r")


def array_of(group: zarr.Group, path: str) -> zarr.Array[Any]:
    array = group[path]
    assert isinstance(array, zarr.Array)
    return array


@pytest.mark.parametrize(
    ("chunk_points", "shard_points", "chunk", "shard", "n_shards"),
    [
        pytest.param(4096, None, POINTS, POINTS, 1, id="smaller than a chunk: one of its own size"),
        pytest.param(500, None, 500, 2500, 1, id="no cap: one shard holds the array"),
        pytest.param(500, 1499, 500, 1000, 3, id="a cap is rounded down to whole chunks"),
        pytest.param(500, 1000, 500, 1000, 3, id="a cap of whole chunks is kept"),
        pytest.param(500, 499, 500, 500, 5, id="a cap below a chunk: one chunk"),
        pytest.param(500, 10**12, 500, 2500, 1, id="a cap beyond the array"),
        pytest.param(POINTS, 1, POINTS, POINTS, 1, id="as many as a chunk"),
        pytest.param(1000, 2000, 1000, 2000, 2, id="a short last chunk in a shard of its own"),
    ],
)
def test_chunk_points_and_shard_points_shape_the_objects_on_disk(
    tmp_path: Path,
    surface: Arrays,
    chunk_points: int,
    shard_points: int | None,
    chunk: int,
    shard: int,
    n_shards: int,
) -> None:
    group = write(tmp_path, surface, chunk_points=chunk_points, shard_points=shard_points)
    for name, width in (("position", 3), ("pressure", 1)):
        array = array_of(group, f"surface/{name}")
        assert array.chunks == (chunk, width)
        assert array.shards == (shard, width)
        shards = [key for key in local_place(tmp_path).files() if f"/{name}/c/" in key]
        assert shards == [f"run_1.zarr/surface/{name}/c/{i}/0" for i in range(n_shards)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({}, {"position": "float32", "pressure": "float16", "friction": "float16"}, id="defaults"),
        pytest.param({"coords_dtype": "float64"}, {"position": "float64", "pressure": "float16"}, id="coords"),
        pytest.param({"values_dtype": np.float32}, {"position": "float32", "pressure": "float32"}, id="values"),
        pytest.param(
            {"field_dtypes": {"surface_position": np.dtype("float16"), "surface_pressure": "float64"}},
            {"position": "float16", "pressure": "float64", "friction": "float16"},
            id="fields over both",
        ),
    ],
)
def test_dtypes_on_disk_and_in_the_manifest_are_as_requested(
    tmp_path: Path, surface: Arrays, parameters: dict[str, Any], expected: dict[str, str]
) -> None:
    group = write(tmp_path, surface, **parameters)
    layouts = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", **parameters).manifest.domains["surface"].arrays
    for name, dtype in expected.items():
        stored = array_of(group, f"surface/{name}")
        assert stored.dtype == np.dtype(dtype)
        assert layouts[f"surface_{name}"].dtype == dtype


def test_the_compression_level_is_in_the_metadata_and_in_the_manifest(tmp_path: Path, surface: Arrays) -> None:
    sizes = []
    for level in range(10):
        root = tmp_path / str(level)
        writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", compression_level=level)
        writer.write_sample("run_1", surface)
        writer.save_manifest()
        document = json.loads((root / "run_1.zarr" / "surface" / "position" / "zarr.json").read_bytes())
        assert document["codecs"][0]["configuration"]["codecs"][1]["configuration"]["clevel"] == level
        assert StoreManifest.load(str(root)).compressor == f"blosc-zstd-{level}"
        sizes.append((root / "run_1.zarr" / "surface" / "position" / "c" / "0" / "0").stat().st_size)
    assert sizes[9] < sizes[1] < sizes[0]


@pytest.mark.parametrize("checksum", [True, False])
def test_the_manifest_says_whether_chunks_carry_a_checksum(tmp_path: Path, surface: Arrays, checksum: bool) -> None:
    ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", checksum=checksum).save_manifest()
    assert json.loads((tmp_path / "manifest.json").read_bytes())["checksum"] is checksum


@pytest.fixture(scope="module")
def with_checksum(surface: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("with_checksum")
    write(root, surface, chunk_points=500, shard_points=1000)
    return root / "run_1.zarr"


@given(data=st.data())
def test_with_checksums_zarr_python_finds_any_byte_that_changed(with_checksum: Path, data: st.DataObject) -> None:
    shard = with_checksum / "surface" / "friction" / "c" / "1" / "0"
    intact = shard.read_bytes()
    offset = data.draw(st.integers(0, len(intact) - 1))
    changed = bytearray(intact)
    changed[offset] ^= data.draw(st.integers(1, 255))
    try:
        shard.write_bytes(changed)
        with pytest.raises(Exception, match=r"checksum|crc32c|CRC32C"):
            array_of(zarr.open_group(with_checksum, mode="r"), "surface/friction")[:]
    finally:
        shard.write_bytes(intact)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_allowed_non_finite_values_are_stored_unchanged(tmp_path: Path, surface: Arrays, bad: float) -> None:
    arrays = surface | {"surface_pressure": surface["surface_pressure"].copy()}
    arrays["surface_pressure"][[3, 2000]] = bad
    with pytest.raises(
        NonFiniteError, match=r"'run_1', field surface_pressure: .* got 2 of 2,041 .*row 3; .*non_finite=\"allow\""
    ):
        write(tmp_path, arrays)
    stored = np.asarray(array_of(write(tmp_path, arrays, non_finite="allow"), "surface/pressure")[:])
    np.testing.assert_array_equal(np.sort(stored[~np.isfinite(stored)]), np.full(2, bad, stored.dtype))


def test_attributes_are_in_group_and_manifest(tmp_path: Path, surface: Arrays) -> None:
    given_attributes = {
        "speed": np.float32(40.5),
        "angles": np.arange(3),
        "name": "Ahmed é",
        "nested": {"a": [1, None, True]},
        "none": None,
    }
    expected = {"speed": 40.5, "angles": [0, 1, 2], "name": "Ahmed é", "nested": {"a": [1, None, True]}, "none": None}
    writer = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed")
    writer.write_sample("run_1", surface, attributes=given_attributes)
    writer.save_manifest()
    assert zarr.open_group(tmp_path / "run_1.zarr", mode="r").attrs["attributes"] == expected
    assert StoreManifest.load(str(tmp_path)).sample("run_1").attributes == expected


def test_a_subclass_of_the_file_map_adds_a_field(tmp_path: Path, surface: Arrays) -> None:
    filemap = WarmFileMap(surface_position="p", surface_temperature="t")
    arrays = {"surface_position": surface["surface_position"], "surface_temperature": surface["surface_pressure"]}
    ZarrStoreWriter(tmp_path, filemap, "warm").write_group("run_1", arrays)
    stored = array_of(zarr.open_group(tmp_path / "run_1.zarr", mode="r"), "surface/temperature")
    assert stored.shape == (POINTS, 1)


def test_a_new_writer_shows_its_parameters_as_attributes(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(
        tmp_path, AHMED_FILEMAP, "ahmed", 3, 100, 250, np.float64, "f4", {"surface_area": float}, 9
    )
    assert writer.store_root == str(tmp_path)
    assert writer.filemap is AHMED_FILEMAP
    assert (writer.dataset_name, writer.shuffle_seed) == ("ahmed", 3)
    assert (writer.chunk_points, writer.shard_points, writer.compression_level) == (100, 250, 9)
    assert (writer.coords_dtype, writer.values_dtype) == ("float64", "float32")
    assert writer.field_dtypes == {"surface_area": "float64"}
    assert list(writer.layouts) == ["surface", "volume"]
    assert writer.manifest.samples == {}


def test_chunk_points_can_differ_by_domain(tmp_path: Path, run_1: Arrays) -> None:
    """Domains that are not in the mapping get 4096."""
    writer = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", chunk_points={"surface": 100})
    entry = writer.write_group("run_1", run_1)
    assert {domain: one.chunk_points for domain, one in entry.domains.items()} == {"surface": 100, "volume": 4096}
    rebuilt = ZarrStoreWriter(**pickle.loads(pickle.dumps(writer.to_init_kwargs())))
    assert rebuilt.chunk_points == writer.chunk_points == {"surface": 100}
    assert rebuilt.write_group("run_1", run_1) == entry


@pytest.mark.parametrize(
    ("chunk_points", "message"),
    [
        ({"surface": 0}, r"chunk_points\['surface'\]: expected a whole number of at least 1, got 0"),
        ({"volume": "many"}, r"chunk_points\['volume'\]: expected a whole number of at least 1, got 'many'"),
        ({"surfaces": 9}, "chunk_points: unknown domain 'surfaces'; did you mean 'surface'"),
    ],
)
def test_chunk_points_of_a_domain_are_refused_by_its_name(
    tmp_path: Path, chunk_points: dict[str, int], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", chunk_points=chunk_points)


def test_fingerprint_is_in_group_and_manifest(tmp_path: Path, surface: Arrays) -> None:
    writer = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed")
    writer.record("run_1", writer.write_group("run_1", surface, fingerprint="0f"))
    writer.save_manifest()
    assert StoreManifest.load(str(tmp_path)).sample("run_1").fingerprint == "0f"
    found = writer.find_group("run_1")
    assert found is not None
    assert found.fingerprint == "0f"


def test_a_new_writer_writes_nothing(tmp_path: Path) -> None:
    ZarrStoreWriter(tmp_path / "store", AHMED_FILEMAP, "ahmed")
    assert list(tmp_path.iterdir()) == []


def test_a_rebuilt_writer_has_every_parameter_of_the_first(tmp_path: Path) -> None:
    different: dict[str, Any] = {
        "store_root": "memory://parameters",
        "filemap": AHMED_FILEMAP,
        "dataset_name": "other",
        "shuffle_seed": 11,
        "chunk_points": 100,
        "shard_points": 300,
        "coords_dtype": "float64",
        "values_dtype": "float32",
        "field_dtypes": {"surface_area": "float64"},
        "compression_level": 4,
        "checksum": False,
        "non_finite": "allow",
        "storage_options": {"driver": "fsspec"},
        "threads": 3,
        "field_attributes": {"surface_area": {"units": "m2"}},
        "origin": (1.5, -2e6, 0.0),
        "adds_fields": True,
    }
    assert different.keys() == inspect.signature(ZarrStoreWriter).parameters.keys()
    keywords = ZarrStoreWriter(**different).to_init_kwargs()
    assert keywords == different
    assert ZarrStoreWriter(**pickle.loads(pickle.dumps(keywords))).to_init_kwargs() == different


def test_the_keywords_of_a_writer_with_defaults_are_the_published_ones(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed")
    assert writer.to_init_kwargs() == {
        "store_root": str(tmp_path),
        "filemap": AHMED_FILEMAP,
        "dataset_name": "ahmed",
        "shuffle_seed": 0,
        "chunk_points": 4096,
        "shard_points": None,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "field_dtypes": None,
        "compression_level": 5,
    }
    assert writer.field_dtypes is None


def test_a_rebuilt_writer_of_a_relative_root_writes_to_the_same_place(
    tmp_path: Path, surface: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keywords: dict[str, Any] = ZarrStoreWriter("store", AHMED_FILEMAP, "ahmed").to_init_kwargs()
    monkeypatch.chdir("/")
    ZarrStoreWriter(**keywords).write_group("run_1", surface)
    assert "run_1.zarr/zarr.json" in local_place(tmp_path / "store").files()
