"""Copies of stores, and of some of their samples, fields and points."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.cli import app
from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.errors import (
    ArgumentError,
    CorruptDataError,
    ManifestConflictError,
    OriginalOrderError,
    UnknownNameError,
)
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import open_storage
from noether.data.zarr_store.stores.local import LocalStorage
from noether.data.zarr_store.upkeep.copying import copy_store, leading_grid
from support.counting_proxy import counting_proxy
from support.lanes import few_fast
from support.reading import write_runs
from support.s3_server import S3Server

CHUNK_POINTS = 256
RUNS = ("run_1", "run_2")


@pytest.fixture(scope="module", params=few_fast([4 * CHUNK_POINTS, None]), ids=["capped shards", "one shard"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "store"
    root = write_runs(directory, *RUNS, chunk_points=CHUNK_POINTS, shard_points=request.param)
    write_chunk_index(root)
    return root


def objects_of(root: Path) -> dict[str, bytes]:
    return {key.key: (root / key.key).read_bytes() for key in LocalStorage(str(root)).objects()}


def test_a_copy_of_a_whole_store_has_the_same_objects_to_the_byte(root: Path, tmp_path: Path) -> None:
    report = copy_store(str(root), str(tmp_path / "copy"))
    assert objects_of(tmp_path / "copy") == objects_of(root)
    assert (report.copied, report.skipped) == (2, 0)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5])
def test_a_fraction_has_the_first_chunks_of_every_field(root: Path, tmp_path: Path, fraction: float) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=fraction)
    whole, part = ZarrChunkReader(root), ZarrChunkReader(tmp_path / "copy")
    for run in RUNS:
        grids = {name: domain.grid for name, domain in whole.manifest.sample(run).domains.items()}
        expected, given_arrays = whole.read_arrays(run), part.read_arrays(run)
        assert given_arrays.keys() == expected.keys()
        for field, values in given_arrays.items():
            n_points = -(-int(fraction * 1000) * grids[field.split("_")[0]].n_chunks // 1000) * CHUNK_POINTS
            np.testing.assert_array_equal(values, expected[field][:n_points], field)


def test_zarr_python_reads_the_same_fraction(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.3)
    array = zarr.open_group(tmp_path / "copy" / "run_1.zarr", mode="r", use_consolidated=True)["volume/velocity"]
    assert isinstance(array, zarr.Array)
    ours = ZarrChunkReader(tmp_path / "copy").read_arrays("run_1", dtype=None)["volume_velocity"]
    np.testing.assert_array_equal(np.asarray(array[:]), ours)


def test_the_manifest_names_the_origin_of_a_fraction(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.3)
    document = json.loads((tmp_path / "copy" / "manifest.json").read_bytes())
    assert document["copied_from"] == {"store_root": str(root), "fraction": 0.3}
    assert document["shuffle_algorithm"] == "hash-v1-leading"


def test_the_order_of_the_source_is_refused_for_a_fraction(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.3)
    with pytest.raises(OriginalOrderError, match=r"has a fraction of 0\.3 of the points of .*store.*order='stored'"):
        ZarrChunkReader(tmp_path / "copy").read_arrays("run_1", order="original")


def test_draws_of_a_copy_use_its_chunk_index(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.5)
    reader = ZarrChunkReader(tmp_path / "copy")
    assert reader.manifest.index_name is not None
    cost = reader.cost("run_1", {"volume": CHUNK_POINTS}, ["volume_velocity"], generator=0)
    assert (cost.total_requests, cost.points["volume"]) == (1, CHUNK_POINTS)


def test_a_tenth_reads_a_tenth_of_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=64)
    total = sum(shard.size for shard in LocalStorage(str(root)).objects("run_1.zarr/volume") if "/c/" in shard.key)
    read: list[int] = []
    read_range = LocalStorage.read_range

    def spy(self: LocalStorage, key: str, start: int, length: int) -> Any:
        read.append(length)
        return read_range(self, key, start, length)

    monkeypatch.setattr(LocalStorage, "read_range", spy)
    volume = [field for field in ZarrChunkReader(root).read_arrays("run_1") if field.startswith("volume")]
    read.clear()
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.1, fields=volume)
    assert 0.09 * total < sum(read) < 0.11 * total


@pytest.mark.s3
def test_a_tenth_of_a_remote_store_needs_a_tenth_of_its_bytes(
    tmp_path: Path, s3_root: str, s3_server: S3Server
) -> None:
    filemap = FileMap(volume_position="x.npy", volume_velocity="u.npy")
    writer = ZarrStoreWriter(s3_root, filemap, "n", chunk_points=1024, storage_options=s3_server.obstore_options)
    rng = np.random.default_rng(0)
    for run in RUNS:
        writer.write_sample(run, {field: rng.normal(size=(500_000, 3)) for field in writer.layouts["volume"].arrays})
    writer.save_manifest()
    write_chunk_index(s3_root, storage_options=s3_server.obstore_options)
    total = sum(item.size for item in open_storage(s3_root, s3_server.obstore_options).objects())
    with counting_proxy(s3_server.endpoint) as proxy:
        options = replace(s3_server, endpoint=proxy.endpoint).obstore_options
        copy_store(s3_root, str(tmp_path / "copy"), fraction=0.1, storage_options=options)
    # Including manifest, metadata, chunk index and listings.
    assert 0.1 * total < sum(n_bytes for _, n_bytes in proxy.handled) < 0.11 * total
    assert len(ZarrChunkReader(tmp_path / "copy").read_arrays("run_1")["volume_velocity"]) == 49 * 1024


def test_fields_are_copied_with_their_positions(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fields=["volume_pressure"])
    arrays = ZarrChunkReader(tmp_path / "copy").read_arrays("run_1")
    assert list(arrays) == ["volume_position", "volume_pressure"]


def test_a_split_is_copied_alone_and_kept(root: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(root, tmp_path / "source"))
    splits = {"train": ["run_2"], "test": ["run_1"]}
    StoreManifest.update(str(source), lambda manifest: manifest.model_copy(update={"splits": splits}))
    copy_store(str(source), str(tmp_path / "copy"), split="train")
    manifest = StoreManifest.load(str(tmp_path / "copy"))
    assert (list(manifest.samples), manifest.splits) == (["run_2"], {"train": ["run_2"]})


@pytest.mark.slow
def test_an_interrupted_copy_resumes(root: Path, tmp_path: Path) -> None:
    """Only the missing samples are copied."""

    def interrupt(sample_id: str, n_bytes: int | None) -> None:
        raise KeyboardInterrupt(sample_id, n_bytes)

    target = str(tmp_path / "copy")
    with pytest.raises(KeyboardInterrupt):
        copy_store(str(root), target, workers=1, on_sample=interrupt)
    report = copy_store(str(root), target)
    assert report.skipped >= 1
    assert objects_of(tmp_path / "copy") == objects_of(root)


def test_a_damaged_chunk_is_not_copied(root: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(root, tmp_path / "source"))
    shard = source / "run_1.zarr" / "volume" / "velocity" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptDataError, match=r"sample 'run_1', field volume_velocity: chunk 0, in shard 0,"):
        copy_store(str(source), str(tmp_path / "copy"))
    assert not (tmp_path / "copy" / "run_1.zarr").exists()


def test_another_fraction_is_refused_in_the_same_destination(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.5)
    with pytest.raises(ManifestConflictError, match="copied_from"):
        copy_store(str(root), str(tmp_path / "copy"), fraction=0.25)


@pytest.mark.s3
def test_a_copy_goes_to_object_storage_and_back(root: Path, s3_root: str, s3_server: S3Server, tmp_path: Path) -> None:
    options = s3_server.obstore_options
    copy_store(str(root), s3_root, destination_options=options)
    copy_store(s3_root, str(tmp_path / "copy"), storage_options=options)
    assert objects_of(tmp_path / "copy") == objects_of(root)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        pytest.param({"fraction": 0}, ArgumentError, "fraction: expected a number above 0 and at most 1", id="nothing"),
        pytest.param({"fraction": 1.5}, ArgumentError, "fraction: expected a number above 0", id="more than all"),
        pytest.param({"split": "trian"}, UnknownNameError, "split 'trian' is not in the store", id="split"),
        pytest.param({"sample_ids": ["run_9"]}, UnknownNameError, "'run_9'.*run_1", id="sample"),
        pytest.param({"fields": ["volume_velocty"]}, UnknownNameError, "volume_velocity", id="field"),
        pytest.param({"fields": []}, ArgumentError, "fields: expected at least one", id="no field"),
        pytest.param({"workers": 0}, ArgumentError, "workers", id="workers"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    root: Path, tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        copy_store(str(root), str(tmp_path / "copy"), **settings)
    assert not (tmp_path / "copy").exists()


@given(st.integers(1, 10_000), st.integers(1, 300), st.none() | st.integers(1, 900), st.fractions(Fraction(1, 50), 1))
def test_a_leading_grid_has_the_fraction_of_chunks_rounded_up(
    n_points: int, chunk_points: int, shard_points: int | None, fraction: Fraction
) -> None:
    grid = Grid.fit(n_points, chunk_points, shard_points)
    part = leading_grid(grid, fraction)
    assert 0 <= part.n_chunks - fraction * grid.n_chunks < 1
    assert part.chunk_points == grid.chunk_points
    assert part.n_points == min(part.n_chunks * grid.chunk_points, grid.n_points)
    # A shard of the copy has chunks of the same shard of the store.
    assert part.shard_points == grid.shard_points or part.n_shards == 1


def test_the_command_prints_copied_and_skipped_samples(root: Path, tmp_path: Path) -> None:
    arguments = ["copy", str(root), str(tmp_path / "copy"), "--fraction", "0.25", "--sample", "run_1"]
    first, second = (CliRunner().invoke(app, arguments) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "1 copied" in first.output
    assert "run_1: complete before" in second.output
    assert "0 copied (0 bytes), 1 complete before" in second.output
