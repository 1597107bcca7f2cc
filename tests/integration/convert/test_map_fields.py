"""Fields computed from other fields of a store."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import AdditionReport, convert, map_fields
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from noether.data.zarr_store.sources import TreeSource
from support.field_functions import doubled, fails_at_high_speed, kills_at_high_speed, pairs, scaled
from support.places import PLACES, make_place
from support.trees import TREE_FILEMAP, expected_fields, identities, save_runs, visible_files

IDS = ["run_1", "run_2", "run_3"]  # 40, 30 and 50 m/s
EXACT = {"values_dtype": "float64", "coords_dtype": "float64"}
PRESSURE = ["surface_pressure"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tmp_path: Path, tree: Path) -> Path:
    return new_store(tmp_path / "store", tree)


def new_store(root: Path, tree: Path, **settings: Any) -> Path:
    writer = ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=64, shard_points=128, **{**EXACT, **settings})
    convert(TreeSource(tree, TREE_FILEMAP), writer)
    return root


def outcomes(report: AdditionReport) -> list[str]:
    return [result.outcome for result in sorted(report.results, key=lambda result: result.sample_id)]


@pytest.mark.parametrize("order", ["stored", "original"])
def test_a_field_is_computed_point_by_point(store: Path, order: Any) -> None:
    report = map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", read_dtype="float64")
    assert (outcomes(report), report.joined, report.pending) == (["converted"] * 3, ["surface_twice"], [])
    reader = ZarrChunkReader(store)
    for sample_id in IDS:
        arrays = reader.read_arrays(sample_id, order=order, dtype=None)
        np.testing.assert_array_equal(arrays["surface_twice"], 2 * arrays["surface_pressure"])


def test_a_draw_has_the_new_field_at_the_same_points(store: Path) -> None:
    map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", read_dtype="float64")
    drawn = ZarrChunkReader(store).read_arrays("run_2", {"surface": 37}, 0, dtype=None)
    np.testing.assert_array_equal(drawn["surface_twice"], 2 * drawn["surface_pressure"])


def test_a_function_sees_the_attributes_of_its_sample(store: Path, tree: Path) -> None:
    map_fields(store, scaled, reads=PRESSURE, writes="surface_cp", read_dtype="float64")
    for sample_id in IDS:
        speed = np.load(tree / sample_id / "design_parameters.npy")[3]
        given = ZarrChunkReader(store).read_arrays(sample_id, order="original", dtype=None)["surface_cp"]
        expected = expected_fields(sample_id)["surface_pressure"].squeeze().astype("float64") / (0.5 * speed**2)
        np.testing.assert_array_equal(given, expected)


def test_a_field_may_have_components_a_dtype_and_a_meaning(store: Path) -> None:
    map_fields(
        store,
        pairs,
        reads=["surface_position", "surface_pressure"],
        writes="surface_pair",
        width=2,
        dtype="float32",
        units="1",
        long_name="a pair",
    )
    array = zarr.open_array(store / "run_1.zarr" / "surface" / "pair", mode="r")
    assert (array.shape, array.chunks, array.shards) == ((150, 2), (64, 2), (128, 2))
    assert array.dtype == np.float32
    assert (array.attrs["units"], array.attrs["long_name"]) == ("1", "a pair")
    assert StoreManifest.load(str(store)).domains["surface"].arrays["surface_pair"].dim == 2


def test_a_field_of_the_file_map_has_its_width(tmp_path: Path, tree: Path) -> None:
    filemap = TREE_FILEMAP.model_copy(update={"surface_area": None})
    writer = ZarrStoreWriter(tmp_path / "store", filemap, "ahmed", chunk_points=64)
    convert(TreeSource(tree, filemap), writer)
    map_fields(tmp_path / "store", doubled, reads=PRESSURE, writes="surface_area")
    assert StoreManifest.load(str(tmp_path / "store")).domains["surface"].arrays["surface_area"].dim == 1


@pytest.mark.parametrize("kind", PLACES)
def test_fields_are_computed_in_every_kind_of_storage(request: pytest.FixtureRequest, kind: str, tree: Path) -> None:
    place = make_place(kind, request)
    writer = ZarrStoreWriter(place.root, TREE_FILEMAP, "ahmed", chunk_points=64, storage_options=place.options)
    convert(TreeSource(tree, TREE_FILEMAP), writer)
    map_fields(place.root, doubled, reads=PRESSURE, writes="surface_twice", storage_options=place.options)
    arrays = ZarrChunkReader(place.root, storage_options=place.options).read_arrays("run_3")
    np.testing.assert_array_equal(arrays["surface_twice"], 2 * arrays["surface_pressure"])


@pytest.mark.slow
def test_worker_processes_make_the_bytes_of_one_process(tmp_path: Path, tree: Path, store: Path) -> None:
    other = new_store(tmp_path / "other", tree)
    map_fields(other, doubled, reads=PRESSURE, writes="surface_twice")
    map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", workers=2)
    assert visible_files(store) == visible_files(other)


def test_any_executor_can_be_used(store: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        report = map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", executor=executor)
    assert report.joined == ["surface_twice"]


def test_a_function_that_fails_for_a_sample_leaves_the_field_pending(store: Path) -> None:
    report = map_fields(store, fails_at_high_speed, reads=PRESSURE, writes="surface_twice")
    assert outcomes(report) == ["converted", "converted", "failed"]
    assert report.having("failed")[0].reason == "sample 'run_3': ZeroDivisionError: too fast"
    assert [one.lacking for one in report.pending] == [("run_3",)]
    before = identities(store / "run_1.zarr")
    again = map_fields(store, doubled, reads=PRESSURE, writes="surface_twice")
    assert outcomes(again) == ["skipped", "skipped", "converted"]
    assert again.joined == ["surface_twice"]
    assert identities(store / "run_1.zarr") == before


@pytest.mark.slow
def test_a_function_that_kills_its_process_fails_alone(store: Path) -> None:
    report = map_fields(store, kills_at_high_speed, reads=PRESSURE, writes="surface_twice", workers=2)
    assert outcomes(report) == ["converted", "converted", "failed"]
    assert map_fields(store, doubled, reads=PRESSURE, writes="surface_twice").joined == ["surface_twice"]


def test_the_report_names_the_function_and_the_fields(store: Path) -> None:
    map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", limit=2)
    run = ReportFile.load(str(store)).runs[-1]
    assert run.kind == "map-fields"
    assert {"function": "doubled", "reads": PRESSURE, "writes": "surface_twice"}.items() <= run.settings.items()
    assert list(ReportFile.load(str(store)).additions) == ["run_1", "run_2"]
    json.loads((store / "conversion.json").read_bytes())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda fields, _: fields["surface_pressure"][:-1],
            "'run_1', field surface_new: expected 150 points.* got 149",
        ),
        (lambda fields, _: fields["surface_pressure"].astype(complex), "'run_1'.*surface_new.*complex"),
        (lambda fields, _: fields["surface_pressure"] * np.nan, "'run_1'.*surface_new.* finite"),
        (lambda *_: np.ones((150, 2)), r"'run_1'.*surface_new.*\(150, 2\)"),
        (lambda *_: None, "'run_1'.*surface_new"),
    ],
    ids=["points", "dtype", "not finite", "width", "nothing"],
)
def test_values_that_cannot_be_stored_fail_their_sample(store: Path, function: Any, message: str) -> None:
    before = visible_files(store / "run_1.zarr")
    report = map_fields(store, function, reads=PRESSURE, writes="surface_new", limit=1)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.having("failed")[0].reason)
    assert visible_files(store / "run_1.zarr") == before


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"reads": []}, ArgumentError, "reads: expected at least one field"),
        ({"reads": "surface_pressure"}, ArgumentError, "reads: expected a list of names"),
        ({"reads": ["surface_presure"]}, UnknownNameError, "did you mean 'surface_pressure'"),
        ({"writes": "surface_pressure"}, ArgumentError, "surface_pressure.* converted with it"),
        ({"writes": "surface_position"}, ArgumentError, "is a position"),
        ({"writes": "cp"}, ArgumentError, "writes: expected a name of the form <domain>_<name>"),
        ({"writes": "face_cp"}, UnknownNameError, "domain 'face' is not in the store; did you mean 'surface'"),
        ({"writes": "surface_new", "width": 0}, ArgumentError, "width: expected .* at least 1"),
        ({"writes": "surface_new", "dtype": "int8"}, ArgumentError, "expected one of float16"),
        ({"limit": 0}, ArgumentError, "limit: expected"),
        ({"workers": 1}, ArgumentError, "function: <function .*lambda.* cannot be sent to worker processes"),
    ],
)
def test_wrong_parameters_are_refused_at_once(
    store: Path, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    before = visible_files(store)
    wanted: dict[str, Any] = {"reads": PRESSURE, "writes": "surface_new", **settings}
    with pytest.raises(kind, match=message):
        map_fields(store, lambda fields, _: fields["surface_pressure"], **wanted)
    assert visible_files(store) == before


def test_a_function_that_cannot_be_pickled_is_refused_at_once(store: Path) -> None:
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(ArgumentError, match=r"function: .* cannot be sent to worker"),
    ):
        map_fields(store, lambda fields, _: fields, reads=PRESSURE, writes="surface_new", executor=executor)


def test_a_field_that_is_pending_cannot_be_read(store: Path) -> None:
    map_fields(store, doubled, reads=PRESSURE, writes="surface_twice", limit=2)
    with pytest.raises(UnknownNameError, match=r"surface_twice.*pending: 1 of 3 samples lack it \('run_3'\)"):
        map_fields(store, doubled, reads=["surface_twice"], writes="surface_new")
