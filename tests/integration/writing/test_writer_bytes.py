"""The bytes of a sample: the order of rows, the metadata, and reproducibility."""

from __future__ import annotations

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from zarr.storage import MemoryStore

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.layout import ArrayLayout, build_domain_layouts
from noether.data.zarr_store.sampling.shuffle import SHUFFLE_ALGORITHM, permutation
from noether.data.zarr_store.writing import group_encoding
from noether.data.zarr_store.writing.group_encoding import DomainArrays, Encoding, encoded, group_objects
from noether.data.zarr_store.writing.stored_rows import GatheredRows, StoredRows
from support.ahmed import AHMED_FILEMAP, RUNS, Arrays, load_run
from support.archive import hash_order_by_hand
from support.lanes import few_fast
from support.places import local_place
from support.workers import processes, write_run

FLOAT16_WHOLE = 2048  # float16 holds every whole number up to here
SMALL = FileMap(surface_position="p", surface_pressure="c")


def open_writer(root: Path, **parameters: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", **{"chunk_points": 512, **parameters})


def rows_of(group: zarr.Group, path: str) -> np.ndarray[Any, np.dtype[Any]]:
    array = group[path]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[:])


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of all runs, written one after the other."""
    root = tmp_path_factory.mktemp("sequential")
    writer = open_writer(root)
    for run in RUNS:
        writer.write_group(run, load_run(run))
    return local_place(root).files()


def test_stored_rows_are_source_rows_in_the_order_of_the_format(run_1: Arrays, tmp_path: Path) -> None:
    open_writer(tmp_path, shuffle_seed=7).write_group("run_1", run_1)
    group = zarr.open_group(tmp_path / "run_1.zarr", mode="r")
    for field, source in run_1.items():
        domain, _, name = field.partition("_")
        order = hash_order_by_hand("run_1", domain, len(source))
        stored = rows_of(group, f"{domain}/{name}")
        np.testing.assert_array_equal(stored, source.reshape(stored.shape)[order].astype(stored.dtype))


@pytest.mark.slow
@given(
    n_points=st.integers(1, FLOAT16_WHOLE),
    chunk_points=st.integers(1, 600),
    shard_points=st.none() | st.integers(1, 3000),
    seed=st.integers(-(2**70), 2**70),
    sample_id=st.text("abc/é_1", min_size=1),
)
def test_fields_of_a_domain_share_one_permutation(
    n_points: int, chunk_points: int, shard_points: int | None, seed: int, sample_id: str
) -> None:
    """Every field has each source row once, in one order."""
    rows = np.arange(n_points, dtype=np.float32)[:, np.newaxis]
    layout = build_domain_layouts(FileMap(volume_position="p", volume_pressure="c", volume_velocity="v"))["volume"]
    order = permutation(n_points, algorithm=SHUFFLE_ALGORITHM, shuffle_seed=seed, sample_id=sample_id, domain="volume")
    arrays: list[tuple[ArrayLayout, StoredRows]] = [
        (array, GatheredRows(np.repeat(rows, array.dim, axis=1), order, np.dtype(array.dtype)))
        for array in layout.arrays.values()
    ]
    content = DomainArrays(Grid.fit(n_points, max(chunk_points, n_points // 60), shard_points), arrays)
    store = MemoryStore(
        {
            key: zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(b"".join(parts))
            for key, parts in group_objects(
                encoded([("volume", content)], Encoding(1, checksum=True, threads=2)), lambda _: {}
            )
        }
    )
    group = zarr.open_group(store, mode="r")
    position = rows_of(group, "volume/position")
    np.testing.assert_array_equal(np.sort(position[:, 0]), rows[:, 0])
    for name in ("position", "velocity", "pressure"):
        values = rows_of(group, f"volume/{name}")
        np.testing.assert_array_equal(values, np.repeat(position[:, :1], values.shape[1], axis=1))


def test_domains_of_a_sample_are_shuffled_differently(tmp_path: Path) -> None:
    rows = np.repeat(np.arange(2000.0)[:, np.newaxis], 3, axis=1)
    filemap = FileMap(surface_position="s", volume_position="v")
    ZarrStoreWriter(tmp_path, filemap, "two").write_group("run", {"surface_position": rows, "volume_position": rows})
    group = zarr.open_group(tmp_path / "run.zarr", mode="r")
    assert np.mean(rows_of(group, "surface/position") == rows_of(group, "volume/position")) < 0.01


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_order_of_writing(sequential: dict[str, bytes], tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for run in reversed(RUNS):
        writer.write_group(run, load_run(run))
    assert local_place(tmp_path).files() == sequential


@pytest.mark.slow
def test_many_threads_write_the_same_bytes(sequential: dict[str, bytes], tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    with ThreadPoolExecutor(12) as threads:
        # Write each sample twice, so that some samples are replaced during their write.
        list(threads.map(lambda run: writer.write_group(run, load_run(run)), [*RUNS, *RUNS]))
    assert local_place(tmp_path).files() == sequential


@pytest.mark.slow
@pytest.mark.parametrize("threads", few_fast([7, 1, 2]))
def test_bytes_do_not_depend_on_the_number_of_threads(
    threads: int, sequential: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_encoding, "_TASK_BYTES", 1)  # a chunk is a task of its own
    writer = open_writer(tmp_path, threads=threads)
    for run in RUNS:
        writer.write_group(run, load_run(run))
    assert local_place(tmp_path).files() == sequential


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(sequential: dict[str, bytes], tmp_path: Path) -> None:
    keywords = pickle.dumps(open_writer(tmp_path).to_init_kwargs())
    with processes(2) as pool:
        entries = list(pool.map(write_run, [keywords] * len(RUNS), RUNS))
    assert local_place(tmp_path).files() == sequential
    assert entries == [open_writer(tmp_path).find_group(run) for run in RUNS]


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda values: values.astype(values.dtype.newbyteorder(">")), id="big endian"),
        pytest.param(np.asfortranarray, id="Fortran order"),
        pytest.param(lambda values: np.repeat(values, 2, axis=0)[::2], id="strided"),
        pytest.param(
            lambda values: values[:, 0] if values.shape[-1:] == (1,) else values, id="scalars without an axis"
        ),
        pytest.param(torch.from_numpy, id="tensors"),
    ],
)
def test_bytes_do_not_depend_on_the_memory_layout(convert: Any, tmp_path: Path) -> None:
    surface = {
        field: values.reshape(len(values), -1)
        for field, values in load_run("run_1").items()
        if field.startswith("surface")
    }
    open_writer(tmp_path / "plain").write_group("run", surface)
    open_writer(tmp_path / "other").write_group("run", {field: convert(values) for field, values in surface.items()})
    assert local_place(tmp_path / "other").files() == local_place(tmp_path / "plain").files()


def test_consolidated_metadata_matches_zarr_python(run_1: Arrays, tmp_path: Path) -> None:
    open_writer(tmp_path).write_group("run_1", run_1)
    written = zarr.open_group(tmp_path / "run_1.zarr", mode="r", use_consolidated=True)
    copy = shutil.copytree(tmp_path / "run_1.zarr", tmp_path / "copy.zarr")
    document = json.loads((copy / "zarr.json").read_bytes())
    del document["consolidated_metadata"]
    (copy / "zarr.json").write_text(json.dumps(document))
    with pytest.warns(match="Consolidated metadata"):
        oracle = zarr.consolidate_metadata(str(copy))
    assert written.metadata.to_dict() == oracle.metadata.to_dict()


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "no checksum"])
def test_array_metadata_follows_the_format(run_1: Arrays, tmp_path: Path, checksum: bool) -> None:
    writer = open_writer(tmp_path, shard_points=2048, compression_level=3, checksum=checksum)
    writer.write_group("run_1", run_1)
    document = json.loads((tmp_path / "run_1.zarr" / "volume" / "velocity" / "zarr.json").read_bytes())
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": 2, "blocksize": 0}
    crc32c = {"name": "crc32c"}
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {
        "chunk_shape": [512, 3],
        "codecs": [little, {"name": "blosc", "configuration": blosc}, *([crc32c] if checksum else [])],
        "index_codecs": [little, crc32c],
        "index_location": "end",
    }
    assert document == document | {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [18219, 3],
        "data_type": "float16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2048, 3]}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["point", "velocity_component"],
        "fill_value": 0.0,
    }


@pytest.mark.parametrize(("field", "typesize"), [("position", 4), ("pressure", 2)])
def test_blosc_shuffles_by_the_size_of_the_stored_dtype(tmp_path: Path, field: str, typesize: int) -> None:
    arrays = {"surface_position": np.ones((9, 3), "f8"), "surface_pressure": np.ones(9, "f8")}
    ZarrStoreWriter(tmp_path, SMALL, "small").write_group("run", arrays)
    document = json.loads((tmp_path / "run.zarr" / "surface" / field / "zarr.json").read_bytes())
    assert document["codecs"][0]["configuration"]["codecs"][1]["configuration"]["typesize"] == typesize


def test_field_of_zeros_has_its_objects(tmp_path: Path) -> None:
    zeros = {"surface_position": np.zeros((100, 3)), "surface_pressure": np.zeros(100)}
    ZarrStoreWriter(tmp_path, SMALL, "small", chunk_points=10, shard_points=50).write_group("run", zeros)
    shards = {key for key in local_place(tmp_path).files() if "/c/" in key}
    assert shards == {f"run.zarr/surface/{field}/c/{i}/0" for field in ("position", "pressure") for i in (0, 1)}
