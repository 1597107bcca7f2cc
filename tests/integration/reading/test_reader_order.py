"""Reads in the order of the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, OriginalOrderError, UnknownNameError
from support.ahmed import RUNS, load_run
from support.reading import as_stored, write_runs


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ZarrChunkReader:
    root = tmp_path_factory.mktemp("order") / "store"
    return ZarrChunkReader(write_runs(root, *RUNS, chunk_points=700, shard_points=2800, shuffle_seed=7))


@pytest.mark.parametrize("run", RUNS)
def test_the_original_order_restores_the_source(reader: ZarrChunkReader, run: str) -> None:
    restored = reader.read_arrays(run, order="original")
    for field, source in load_run(run).items():
        expected = source if field.endswith("position") else as_stored(source)
        np.testing.assert_array_equal(restored[field], expected, err_msg=field, strict=True)


def test_the_stored_order_differs_from_the_source(reader: ZarrChunkReader) -> None:
    source = load_run("run_1")
    for domain in ("surface", "volume"):
        stored = reader.read_arrays("run_1", fields=[f"{domain}_position"])[f"{domain}_position"]
        moved = (stored != source[f"{domain}_position"]).any(axis=1)
        assert moved.mean() > 0.95


def test_the_permutation_brings_rows_in_stored_order_back_to_the_source(reader: ZarrChunkReader) -> None:
    stored = reader.read_arrays("run_2", fields=["volume_position"])["volume_position"]
    restored = np.empty_like(stored)
    restored[reader.permutation("run_2", "volume")] = stored
    np.testing.assert_array_equal(restored, load_run("run_2")["volume_position"])


def test_the_permutation_of_a_missing_domain_is_refused(reader: ZarrChunkReader) -> None:
    with pytest.raises(UnknownNameError, match="sample 'run_2' has no domain 'volumes'; did you mean 'volume'"):
        reader.permutation("run_2", "volumes")


def test_original_order_does_not_depend_on_the_fields_read(reader: ZarrChunkReader) -> None:
    fields = ["volume_sdf", "surface_friction"]
    some = reader.read_arrays("run_3", fields=fields, order="original")
    whole = reader.read_arrays("run_3", order="original")
    assert set(some) == set(fields)
    for field in fields:
        np.testing.assert_array_equal(some[field], whole[field])


def test_original_order_works_if_num_points_exceeds_the_domain(reader: ZarrChunkReader) -> None:
    restored = reader.read_arrays("run_1", {"surface": 2041, "volume": 10**9}, order="original")
    np.testing.assert_array_equal(restored["volume_position"], load_run("run_1")["volume_position"])


def test_the_original_order_is_refused_for_a_draw(reader: ZarrChunkReader) -> None:
    expected = r"got a draw of 18,218 of 18,219 points of domain 'volume'; leave the domain out of num_points"
    with pytest.raises(OriginalOrderError, match=expected):
        reader.read_arrays("run_1", {"volume": 18218}, order="original")


def test_num_points_of_a_domain_that_is_not_read_is_ignored(reader: ZarrChunkReader) -> None:
    restored = reader.read_arrays("run_1", {"volume": 10}, fields=["surface_area"], order="original")
    np.testing.assert_array_equal(restored["surface_area"], as_stored(load_run("run_1")["surface_area"]))


@pytest.mark.parametrize(
    ("algorithm", "named"), [(None, "no shuffle algorithm"), ("philox-v9", "philox-v9")], ids=["none", "unknown"]
)
def test_the_original_order_is_refused_where_the_shuffle_is_not_known(
    reader: ZarrChunkReader, algorithm: str | None, named: str
) -> None:
    manifest = reader.manifest.model_copy(update={"shuffle_algorithm": algorithm})
    foreign = ZarrChunkReader(reader.store_root, manifest)
    with pytest.raises(
        OriginalOrderError,
        match=f"one of the shuffle algorithms hash-v1, mt19937-v1, .*names {named}; .*order='stored'",
    ):
        foreign.read_arrays("run_1", order="original")
    np.testing.assert_array_equal(foreign.read_arrays("run_1")["volume_sdf"], reader.read_arrays("run_1")["volume_sdf"])


def test_an_order_that_does_not_exist_is_refused(reader: ZarrChunkReader) -> None:
    with pytest.raises(ArgumentError, match="order: expected 'stored' or 'original', got 'source'"):
        reader.read_arrays("run_1", order="source")  # type: ignore[arg-type]  # the wrong value is the point


def test_the_store_is_found_by_path_and_by_file_url(reader: ZarrChunkReader) -> None:
    by_url = ZarrChunkReader(Path(reader.store_root).as_uri())
    assert by_url.store_root == reader.store_root
    np.testing.assert_array_equal(
        by_url.read_arrays("run_2")["surface_area"], reader.read_arrays("run_2")["surface_area"]
    )
