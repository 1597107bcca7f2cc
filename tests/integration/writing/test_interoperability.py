"""Other readers read what we write, and we read what other writers wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
import zarrs
from numpy.typing import NDArray
from zarr.codecs import GzipCodec, ZstdCodec

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import CorruptDataError, OriginalOrderError
from noether.data.zarr_store.reading import write_chunk_index
from support.ahmed import Arrays
from support.lanes import few_fast
from support.reading import FIELDS, N_POINTS, as_stored, source_rows, write_runs

SETTINGS: dict[str, dict[str, Any]] = {
    "whole shards": {"chunk_points": 4096},
    "capped shards": {"chunk_points": 500, "shard_points": 1500},
    "no short last chunk": {"chunk_points": 157},
    "one point a chunk short": {"chunk_points": 18218, "shard_points": 18218},
    "no checksum": {"chunk_points": 1024, "shard_points": 5000, "checksum": False},
    "float64": {"chunk_points": 2048, "coords_dtype": "float64", "values_dtype": "float64"},
}
"""2,041 surface points are 13 chunks of 157; 18,219 volume points are 18,218 and one."""

# The arrays have the stored dtype, so that this library does not cast them.
ReadAll = Callable[[Path], Arrays]


def arrays_of(group: Path) -> Iterator[tuple[str, str]]:
    """Yield the field and path of each array of a group."""
    for domain, fields in FIELDS.items():
        for field in fields:
            yield field, f"{domain}/{field.removeprefix(f'{domain}_')}"


def with_zarr_python(group: Path) -> Arrays:
    opened = zarr.open_group(group, mode="r")
    return {field: np.asarray(array_at(opened, path)[:]) for field, path in arrays_of(group)}


def array_at(group: zarr.Group, path: str) -> zarr.Array[Any]:
    array = group[path]
    assert isinstance(array, zarr.Array)
    return array


def with_zarrs(group: Path) -> Arrays:
    # Strict: a codec that zarrs does not support is an error. By default, zarr-python would decode it.
    pipeline = f"{zarrs.ZarrsCodecPipeline.__module__}.{zarrs.ZarrsCodecPipeline.__qualname__}"
    with zarr.config.set({"codec_pipeline": {"path": pipeline, "strict": True}}):
        return with_zarr_python(group)


def with_tensorstore(group: Path) -> Arrays:
    def read(path: str) -> NDArray[Any]:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / path)}}
        return np.asarray(tensorstore.open(spec, read=True).result().read().result())

    return {field: read(path) for field, path in arrays_of(group)}


def with_xarray(group: Path) -> Arrays:
    arrays = {}
    for domain, fields in FIELDS.items():
        with xarray.open_zarr(group, group=domain, chunks=None) as opened:
            assert opened.sizes["point"] == N_POINTS[domain]
            for field in fields:
                name = field.removeprefix(f"{domain}_")
                assert opened[name].dims == ("point", f"{name}_component")
                arrays[field] = opened[name].to_numpy()
    return arrays


@pytest.fixture(scope="module", params=few_fast(SETTINGS, 2), ids=lambda name: name.replace(" ", "_"))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("store") / "store", "run_1", **SETTINGS[request.param])


@pytest.mark.parametrize("read_all", [with_zarr_python, with_zarrs, with_tensorstore, with_xarray])
def test_other_readers_return_the_same_values(store: Path, read_all: ReadAll) -> None:
    ours = ZarrChunkReader(store).read_arrays("run_1", dtype=None)
    theirs = read_all(store / "run_1.zarr")
    assert theirs.keys() == ours.keys()
    for field, array in ours.items():
        np.testing.assert_array_equal(theirs[field].reshape(array.shape), array, err_msg=field, strict=True)


def test_plain_zarr_reader_reads_our_store(store: Path, run_1: Arrays) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    arrays = {}
    for domain, grid in manifest["samples"]["run_1"]["domains"].items():
        group = zarr.open_group(store / manifest["samples"]["run_1"]["relpath"], mode="r")
        for field, layout in manifest["domains"][domain]["arrays"].items():
            stored = array_at(group, layout["array_name"])
            assert stored.shape == (grid["n_points"], layout["dim"])
            assert stored.chunks == (grid["chunk_points"], layout["dim"])
            assert stored.shards == (grid["shard_points"], layout["dim"])
            assert stored.dtype == layout["dtype"]
            assert layout["array_name"] == field.replace("_", "/", 1)
            assert layout["field"] == field
            arrays[field] = np.concatenate(
                [stored[i * grid["chunk_points"] : (i + 1) * grid["chunk_points"]] for i in range(grid["n_chunks"])]
            )
    for domain, layout in manifest["domains"].items():
        rows = source_rows(arrays[layout["position"]].astype(np.float32), run_1[layout["position"]])
        assert sorted(rows) == list(range(N_POINTS[domain]))
        for field, array in arrays.items():
            if field.startswith(domain):
                expected = run_1[field][rows].astype(array.dtype).reshape(array.shape)
                np.testing.assert_array_equal(array, expected, err_msg=field)


FOREIGN: dict[str, dict[str, Any]] = {
    "sharded, no checksum": {"shards": True},
    "unsharded": {"shards": False},
    "gzip": {"shards": True, "compressors": GzipCodec()},
    "unsharded zstd": {"shards": False, "compressors": ZstdCodec(checksum=True)},
    "not compressed": {"shards": True, "compressors": None},
    "big endian": {"shards": False, "serializer": zarr.codecs.BytesCodec(endian="big")},
    "keys with dots": {"shards": False, "chunk_key_encoding": {"name": "default", "separator": "."}},
    "consolidated": {"shards": True, "consolidate": True},
}


def write_elsewhere(
    root: Path, run_1: Arrays, *, shards: bool = True, consolidate: bool = False, **settings: Any
) -> Path:
    """Write a store as another library would: with zarr-python, its own shuffle, and only the required keys."""
    rng = np.random.default_rng(99)
    chunk_points, domains, grids = 600, {}, {}
    group = zarr.create_group(root / "elsewhere.zarr")
    for domain, fields in FIELDS.items():
        n_points = N_POINTS[domain]
        n_chunks = -(-n_points // chunk_points)
        order, arrays = rng.permutation(n_points), {}
        for field in fields:
            name = field.removeprefix(f"{domain}_")
            values = run_1[field][order].reshape(n_points, -1).astype("float32" if name == "position" else "float16")
            shard = (n_chunks * chunk_points, values.shape[1]) if shards else None
            chunks = (chunk_points, values.shape[1])
            group.create_array(f"{domain}/{name}", data=values, chunks=chunks, shards=shard, **settings)
            # A path, as other libraries write it, or a name, as this library wrote it before.
            array_name = f"{domain}/{name}" if domain == "surface" else name
            arrays[field] = {
                "array_name": array_name,
                "field": field,
                "dtype": values.dtype.name,
                "dim": values.shape[1],
            }
        domains[domain] = {"position": f"{domain}_position", "arrays": arrays}
        grid = {"n_points": n_points, "chunk_points": chunk_points}
        grids[domain] = {**grid, "shard_points": n_chunks * chunk_points if shards else chunk_points}
        grids[domain]["n_chunks"] = n_chunks
    if consolidate:
        zarr.consolidate_metadata(root / "elsewhere.zarr")
    manifest = {
        "dataset_name": "elsewhere",
        "format_version": 1,
        "shuffle_seed": 99,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "compressor": "blosc-zstd-1",
        "domains": domains,
        "samples": {"run_1": {"relpath": "elsewhere.zarr", "domains": grids}},
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
@pytest.mark.parametrize("settings", few_fast(FOREIGN.values(), 3), ids=FOREIGN.keys())
def test_a_store_that_another_library_wrote_is_read(tmp_path: Path, run_1: Arrays, settings: dict[str, Any]) -> None:
    reader = ZarrChunkReader(write_elsewhere(tmp_path, run_1, **settings))
    for num_points in (None, {"surface": 450, "volume": 1300}):
        read = reader.read_arrays("run_1", num_points, 4)
        for domain, fields in FIELDS.items():
            rows = source_rows(read[f"{domain}_position"], run_1[f"{domain}_position"])
            assert len(set(rows)) == len(rows) == (num_points or N_POINTS)[domain]
            for field in fields[1:]:
                np.testing.assert_array_equal(read[field], as_stored(run_1[field][rows]), err_msg=field)
        kept = reader.read_arrays("run_1", num_points, 4, dtype=None)
        assert {array.dtype for array in kept.values()} == {np.dtype("float16"), np.dtype("float32")}


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
@pytest.mark.parametrize("settings", few_fast(FOREIGN.values()), ids=FOREIGN.keys())
def test_foreign_store_reads_the_same_with_a_chunk_index(
    tmp_path: Path, run_1: Arrays, settings: dict[str, Any]
) -> None:
    root = write_elsewhere(tmp_path, run_1, **settings)
    before = ZarrChunkReader(root)
    assert (root / write_chunk_index(root)).is_file()
    reader = ZarrChunkReader(root)
    for num_points in (None, {"surface": 450, "volume": 1300}):
        expected = before.read_arrays("run_1", num_points, 4)
        for field, values in reader.read_arrays("run_1", num_points, 4).items():
            np.testing.assert_array_equal(values, expected[field], err_msg=field)


def test_original_order_of_a_foreign_shuffle_is_an_error(tmp_path: Path, run_1: Arrays) -> None:
    """Another library shuffled the store, so the order of the source is unknown."""
    reader = ZarrChunkReader(write_elsewhere(tmp_path, run_1))
    assert reader.attributes("run_1") == {}
    with pytest.raises(OriginalOrderError, match=r"the manifest names no shuffle algorithm.*order='stored'"):
        reader.read_arrays("run_1", order="original")


def test_chunks_that_another_library_left_out_are_zeros(tmp_path: Path, run_1: Arrays) -> None:
    zeros = {field: values * 0 if field == "volume_sdf" else values for field, values in run_1.items()}
    root = write_elsewhere(tmp_path, zeros)
    assert not (root / "elsewhere.zarr/volume/sdf/c").exists()
    assert not ZarrChunkReader(root).read_arrays("run_1")["volume_sdf"].any()


@pytest.mark.slow
@pytest.mark.parametrize("codec", [GzipCodec(), ZstdCodec(checksum=True)], ids=["gzip", "zstd"])
@pytest.mark.parametrize("at", few_fast([200, 0, -3]), ids=["middle", "header", "end"])
def test_a_flipped_byte_under_another_codec_is_corrupt_data(
    tmp_path: Path, run_1: Arrays, codec: GzipCodec | ZstdCodec, at: int
) -> None:
    root = write_elsewhere(tmp_path, run_1, shards=False, compressors=codec)
    path = root / "elsewhere.zarr/volume/velocity/c/3/0"
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="sample 'run_1', field volume_velocity: its bytes cannot be decoded"):
        ZarrChunkReader(root).read_arrays("run_1")


@pytest.mark.slow
@pytest.mark.parametrize("codec", [GzipCodec(), ZstdCodec()], ids=["gzip", "zstd"])
def test_a_truncated_chunk_under_another_codec_is_corrupt_data(
    tmp_path: Path, run_1: Arrays, codec: GzipCodec | ZstdCodec
) -> None:
    root = write_elsewhere(tmp_path, run_1, shards=False, compressors=codec)
    path = root / "elsewhere.zarr/volume/velocity/c/3/0"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptDataError, match="sample 'run_1', field volume_velocity: its bytes cannot be decoded"):
        ZarrChunkReader(root).read_arrays("run_1")
