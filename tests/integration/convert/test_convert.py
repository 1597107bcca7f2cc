"""Conversions: converted, skipped, adopted and recorded samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import SampleResult, convert
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources import TreeSource
from support.s3_server import S3Server
from support.trees import (
    TREE_FILEMAP,
    assert_same_arrays,
    expected_fields,
    identities,
    save_runs,
    visible_files,
)

IDS = ["part/run_2", "run_1", "run_3"]
EXACT = {"coords_dtype": "float64", "values_dtype": "float64"}


@pytest.fixture
def source(tmp_path: Path) -> TreeSource:
    return TreeSource(save_runs(tmp_path / "tree", IDS), TREE_FILEMAP)


def open_writer(root: Path | str, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=64, **settings)


def recorded(root: Path) -> list[str]:
    return list(StoreManifest.load(str(root)).samples)


def test_all_samples_are_converted_recorded_and_reported(tmp_path: Path, source: TreeSource) -> None:
    seen: list[SampleResult] = []
    report = convert(source, open_writer(tmp_path / "store"), on_result=seen.append)
    assert [(result.sample_id, result.outcome) for result in seen] == [(sample_id, "converted") for sample_id in IDS]
    assert report.results == seen
    manifest = StoreManifest.load(str(tmp_path / "store"))
    assert manifest.samples == {result.sample_id: result.entry for result in seen}


def test_attributes_are_stored_with_the_sample(tmp_path: Path, source: TreeSource) -> None:
    convert(source, open_writer(tmp_path / "store"))
    expected = source.load("run_1").attributes["design_parameters"].tolist()
    assert ZarrChunkReader(tmp_path / "store").attributes("run_1") == {"design_parameters": expected}


def test_a_result_has_the_bytes_of_its_objects(tmp_path: Path, source: TreeSource) -> None:
    store = tmp_path / "store"
    for result in convert(source, open_writer(store)).results:
        files = visible_files(store / f"{result.sample_id}.zarr")
        assert result.stored_bytes == sum(map(len, files.values()))


def test_complete_samples_are_skipped_without_any_write(tmp_path: Path, source: TreeSource) -> None:
    store = tmp_path / "store"
    first = convert(source, open_writer(store))
    before = identities(store)
    again = convert(source, open_writer(store))
    assert [result.sample_id for result in again.having("skipped")] == IDS
    assert {r.sample_id: r.entry for r in again.results} == {r.sample_id: r.entry for r in first.results}
    assert identities(store) == before


def test_a_complete_group_that_the_manifest_lacks_is_adopted_and_not_rewritten(
    tmp_path: Path, source: TreeSource
) -> None:
    store = tmp_path / "store"
    convert(source, open_writer(store))
    manifest = (store / "manifest.json").read_bytes()
    without = json.loads(manifest)
    del without["samples"]["run_1"]
    (store / "manifest.json").write_text(json.dumps(without))
    before = identities(store / "run_1.zarr")
    report = convert(source, open_writer(store))
    assert [result.outcome for result in report.results] == ["skipped"] * 3
    assert identities(store / "run_1.zarr") == before
    assert (store / "manifest.json").read_bytes() == manifest


def test_groups_without_a_manifest_are_adopted(tmp_path: Path, source: TreeSource) -> None:
    store = tmp_path / "store"
    convert(source, open_writer(store))
    manifest = (store / "manifest.json").read_bytes()
    (store / "manifest.json").unlink()
    report = convert(source, open_writer(store))
    assert len(report.having("skipped")) == 3
    assert (store / "manifest.json").read_bytes() == manifest


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run_1.zarr", "run_1.zarr/zarr.json"], ids=["the group", "its root"])
def test_a_listed_sample_without_a_group_is_converted_again(tmp_path: Path, source: TreeSource, what: str) -> None:
    store = tmp_path / "store"
    convert(source, open_writer(store))
    before = visible_files(store)
    lost = store / what
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    report = convert(source, open_writer(store))
    assert [result.sample_id for result in report.having("converted")] == ["run_1"]
    assert visible_files(store) == before


def test_a_limit_converts_only_the_first_samples(tmp_path: Path, source: TreeSource) -> None:
    store = tmp_path / "store"
    convert(source, open_writer(store), limit=2)
    assert recorded(store) == IDS[:2]
    report = convert(source, open_writer(store), limit=7)
    assert [result.sample_id for result in report.having("converted")] == IDS[2:]
    assert recorded(store) == IDS


@pytest.mark.parametrize(
    ("parameter", "value"), [("limit", 0), ("limit", -1), ("limit", 1.5), ("workers", -1), ("workers", 1.5)]
)
def test_workers_and_limit_are_whole_numbers(tmp_path: Path, source: TreeSource, parameter: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"{parameter}: expected a whole number of at least 1, got {value}"):
        convert(source, open_writer(tmp_path / "store"), **{parameter: value})
    assert not (tmp_path / "store").exists()


def to_memory(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return f"memory://{request.getfixturevalue('tmp_path').name}/store", {}


def to_s3(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    server: S3Server = request.getfixturevalue("s3_server")
    return request.getfixturevalue("s3_root"), server.obstore_options


@pytest.mark.parametrize(
    ("place", "workers"), [(to_memory, 0), *(pytest.param(to_s3, workers, marks=pytest.mark.s3) for workers in (0, 2))]
)
def test_a_local_tree_survives_a_remote_store(
    request: pytest.FixtureRequest,
    source: TreeSource,
    place: Callable[[pytest.FixtureRequest], tuple[str, dict[str, Any]]],
    workers: int,
) -> None:
    """The arrays that are read from the remote store equal the files of the tree."""
    root, options = place(request)
    settings = {**EXACT, "storage_options": options}
    report = convert(source, open_writer(root, **settings), workers=workers)
    assert len(report.having("converted")) == 3
    again = convert(source, open_writer(root, **settings))
    assert len(again.having("skipped")) == 3
    reader = ZarrChunkReader(root, storage_options=options)
    for number, sample_id in enumerate(IDS, start=1):
        expected = {field: values.astype("float64") for field, values in expected_fields(f"run_{number}").items()}
        assert_same_arrays(reader.read_arrays(sample_id, order="original", dtype=None), expected)
