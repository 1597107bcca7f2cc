"""Fields of a source, added to samples that were converted without them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import (
    AdditionReport,
    add_fields,
    convert,
    map_fields,
    open_field_writer,
    open_writer,
)
from noether.data.zarr_store.convert.executors import DaskExecutor
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import ArgumentError, OriginalOrderError, UnknownNameError
from noether.data.zarr_store.sources import SourceSample, TreeSource
from noether.data.zarr_store.upkeep import copy_store
from support.bad_sources import HostileSource, RaisingSource
from support.field_functions import doubled
from support.places import PLACES, make_place
from support.trees import TREE_FILEMAP, expected_fields, identities, save_array, save_runs, visible_files

IDS = ["part/run_1", "run_2", "run_3"]
LATER = {"surface_area": None, "volume_velocity": None}
BASE = TREE_FILEMAP.model_copy(update=LATER)
FIELDS = ["surface_area", "volume_velocity"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tmp_path: Path, tree: Path) -> Path:
    """A store of the tree that lacks two of its fields."""
    convert(TreeSource(tree, BASE), new_writer(tmp_path / "store", BASE))
    return tmp_path / "store"


def new_writer(root: Path | str, filemap: FileMap, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, filemap, "ahmed", **{"chunk_points": 64, **settings})


def add(source: TreeSource, store: Path | str, *fields: str, options: Any = None, **settings: Any) -> AdditionReport:
    writer = open_field_writer(store, source.filemap, fields=fields or None, storage_options=options)
    return add_fields(source, writer, **settings)


def outcomes(report: AdditionReport) -> dict[str, str]:
    return {result.sample_id: result.outcome for result in report.results}


def arrays_of(store: Path) -> dict[str, bytes]:
    """The objects of all arrays, without roots and the files beside them."""
    return {path: data for path, data in visible_files(store).items() if path.count("/") > path.count(".zarr") + 1}


def test_added_fields_have_the_bytes_of_a_conversion(tmp_path: Path, tree: Path, store: Path) -> None:
    before = identities(store, "*.zarr/*/*/**/*")
    convert(TreeSource(tree, TREE_FILEMAP), new_writer(tmp_path / "at_once", TREE_FILEMAP))
    report = add(TreeSource(tree, TREE_FILEMAP), store)
    assert outcomes(report) == dict.fromkeys(IDS, "converted")
    assert (sorted(report.joined), report.pending) == (FIELDS, [])
    assert arrays_of(store) == arrays_of(tmp_path / "at_once")
    assert before.items() <= identities(store, "*.zarr/*/*/**/*").items()  # no other array was touched


@pytest.mark.parametrize("kind", PLACES)
def test_fields_are_added_in_every_kind_of_storage(request: pytest.FixtureRequest, kind: str, tree: Path) -> None:
    place = make_place(kind, request)
    convert(TreeSource(tree, BASE), new_writer(place.root, BASE, storage_options=place.options, values_dtype="float32"))
    report = add(TreeSource(tree, TREE_FILEMAP), str(place.root), options=place.options)
    assert outcomes(report) == dict.fromkeys(IDS, "converted")
    reader = ZarrChunkReader(place.root, storage_options=place.options)
    for number, sample_id in enumerate(IDS, start=1):
        given = reader.read_arrays(sample_id, order="original", fields=FIELDS)
        for field in FIELDS:
            np.testing.assert_array_equal(given[field], expected_fields(f"run_{number}")[field].squeeze())


def test_only_named_fields_are_added(tree: Path, store: Path) -> None:
    assert add(TreeSource(tree, TREE_FILEMAP), store, "volume_velocity").joined == ["volume_velocity"]
    assert "surface_area" not in StoreManifest.load(str(store)).domains["surface"].arrays


def test_only_files_of_the_fields_and_positions_are_opened(tree: Path, store: Path) -> None:
    for file in (*tree.rglob("surface_pressure.npy"), *tree.rglob("volume*.npy")):
        file.write_bytes(b"broken")
    assert outcomes(add(TreeSource(tree, TREE_FILEMAP), store, "surface_area")) == dict.fromkeys(IDS, "converted")


def test_samples_that_have_the_fields_are_skipped_and_no_file_changes(tree: Path, store: Path) -> None:
    add(TreeSource(tree, TREE_FILEMAP), store)
    before = identities(store)
    again = add(TreeSource(tree, TREE_FILEMAP), store)
    assert outcomes(again) == dict.fromkeys(IDS, "skipped")
    assert sorted(again.joined) == FIELDS
    assert {path: one for path, one in identities(store).items() if path != "manifest.json"} == {
        path: one for path, one in before.items() if path != "manifest.json"
    }


def test_a_field_of_some_samples_is_pending_until_the_others_have_it(tree: Path, store: Path) -> None:
    first = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area", limit=2)
    assert [(one.field, one.lacking, one.n_samples) for one in first.pending] == [("surface_area", ("run_3",), 3)]
    assert first.joined == []
    with pytest.raises(UnknownNameError, match="surface_area"):
        ZarrChunkReader(store).read_arrays("run_2", fields=["surface_area"])
    second = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area")
    assert outcomes(second) == {"part/run_1": "skipped", "run_2": "skipped", "run_3": "converted"}
    assert (second.joined, second.pending) == (["surface_area"], [])


def test_samples_that_the_source_lacks_stay_pending(tmp_path: Path, store: Path) -> None:
    other = TreeSource(save_runs(tmp_path / "other", [*IDS[:2], "run_9"]), TREE_FILEMAP)
    report = add(other, store, "surface_area")
    assert outcomes(report) == {"part/run_1": "converted", "run_2": "converted"}
    assert [one.lacking for one in report.pending] == [("run_3",)]
    assert "run_9" not in StoreManifest.load(str(store)).samples


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values[::-1], "sample 'run_2', field surface_position: the points or their order differ"),
        (lambda values: values[:-1], "sample 'run_2'.* expected 150"),
    ],
    ids=["another order", "fewer points"],
)
def test_a_sample_with_other_points_fails_alone(tree: Path, store: Path, change: Any, message: str) -> None:
    for name in ("surface_position_vtp", "surface_area_vtp"):
        file = tree / "run_2" / f"{name}.npy"
        save_array(file, change(np.load(file)))
    before = identities(store / "run_2.zarr")
    report = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area")
    [failed] = report.having("failed")
    assert failed.sample_id == "run_2"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(failed.reason)
    assert identities(store / "run_2.zarr") == before
    assert [one.lacking for one in report.pending] == [("run_2",)]


def test_a_retry_visits_only_failed_samples(tree: Path, store: Path) -> None:
    add(RaisingSource(tree, TREE_FILEMAP, {"run_3": OSError(5, "I/O")}), store, "surface_area")
    report = ReportFile.load(str(store))
    assert (report.failed(), report.failed("add-fields")) == (set(), {"run_3"})
    assert [run.kind for run in report.runs] == ["convert", "add-fields"]
    again = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area", mode="retry-failed")
    assert outcomes(again) == {"run_3": "converted"}
    assert again.joined == ["surface_area"]


def test_a_retry_needs_an_earlier_addition(tree: Path, store: Path) -> None:
    with pytest.raises(ArgumentError, match=r"record of add-fields in conversion\.json, got only records of other c"):
        add(TreeSource(tree, TREE_FILEMAP), store, mode="retry-failed")


def test_a_conversion_ignores_added_fields(tree: Path, store: Path) -> None:
    add(TreeSource(tree, TREE_FILEMAP), store)
    before = visible_files(store)
    writer = open_writer(store, BASE, "ahmed")
    assert {result.outcome for result in convert(TreeSource(tree, BASE), writer).results} == {"skipped"}
    assert visible_files(store) == before


def test_a_new_sample_makes_the_fields_pending_again(tree: Path, store: Path) -> None:
    """A conversion adds the sample without the fields."""
    add(TreeSource(tree, TREE_FILEMAP), store, "surface_area")
    save_runs(tree, [*IDS, "run_4"])
    convert(TreeSource(tree, BASE), open_writer(store, BASE, "ahmed"))
    assert "surface_area" in StoreManifest.load(str(store)).pending_fields["surface"]
    report = add(TreeSource(tree, TREE_FILEMAP), store)
    assert outcomes(report)["run_4"] == "converted"
    assert sorted(report.joined) == FIELDS


def test_a_running_conversion_is_not_affected(tree: Path, tmp_path: Path) -> None:
    """Its writer was opened before the field was added, and saves afterwards."""
    store = tmp_path / "store"
    convert(TreeSource(tree, BASE), new_writer(store, BASE), limit=2)
    under_way = open_writer(store, BASE, "ahmed")
    assert add(TreeSource(tree, TREE_FILEMAP), store, "surface_area").joined == ["surface_area"]
    report = convert(TreeSource(tree, BASE), under_way)
    assert [result.sample_id for result in report.having("converted")] == ["run_3"]
    manifest = StoreManifest.load(str(store))
    assert manifest.sample("run_2").added_fields == ("surface_area",)
    assert "surface_area" in manifest.pending_fields["surface"]
    again = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area")
    assert (outcomes(again)["run_3"], again.joined) == ("converted", ["surface_area"])


@pytest.mark.slow
def test_worker_processes_add_the_bytes_of_one_process(tmp_path: Path, tree: Path, store: Path) -> None:
    other = tmp_path / "other"
    convert(TreeSource(tree, BASE), new_writer(other, BASE))
    add(TreeSource(tree, TREE_FILEMAP), other)
    assert outcomes(add(TreeSource(tree, TREE_FILEMAP), store, workers=2)) == dict.fromkeys(IDS, "converted")
    assert visible_files(store) == visible_files(other)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor])
def test_any_executor_can_be_used(tree: Path, store: Path, kind: Callable[[int], Executor]) -> None:
    with kind(2) as executor:
        report = add(TreeSource(tree, TREE_FILEMAP), store, executor=executor)
    assert outcomes(report) == dict.fromkeys(IDS, "converted")


@pytest.mark.slow
def test_a_dask_cluster_adds_the_bytes_of_one_process(tmp_path: Path, tree: Path, store: Path) -> None:
    other = tmp_path / "other"
    convert(TreeSource(tree, BASE), new_writer(other, BASE))
    add(TreeSource(tree, TREE_FILEMAP), other)
    map_fields(other, doubled, reads=["surface_pressure"], writes="surface_twice")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        DaskExecutor(cluster.scheduler_address) as executor,
    ):
        report = add(TreeSource(tree, TREE_FILEMAP), store, executor=executor)
        map_fields(store, doubled, reads=["surface_pressure"], writes="surface_twice", executor=executor)
    assert outcomes(report) == dict.fromkeys(IDS, "converted")
    assert visible_files(store) == visible_files(other)


@pytest.mark.slow
def test_a_sample_that_kills_its_process_fails_alone_and_leaves_nothing(tree: Path, store: Path) -> None:
    report = add(HostileSource(tree, TREE_FILEMAP, {"run_2": "killed"}), store, "surface_area", workers=2)
    assert outcomes(report) == {"part/run_1": "converted", "run_2": "failed", "run_3": "converted"}
    assert "SIGKILL" in report.having("failed")[0].reason
    again = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area", mode="retry-failed")
    assert again.joined == ["surface_area"]


@pytest.mark.faults
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_writer_leaves_nothing_of_a_field(tmp_path: Path, workers: int) -> None:
    """Neither hidden files beside the arrays, nor any change of existing files."""
    tree, store = save_runs(tmp_path / "tree", IDS, n_points=2000), tmp_path / "store"
    convert(TreeSource(tree, BASE), new_writer(store, BASE))
    before = visible_files(store / "run_2.zarr")
    report = add(HostileSource(tree, TREE_FILEMAP, {"run_2": "killed_while_writing"}), store, workers=workers)
    assert "SIGXFSZ" in report.having("failed")[0].reason
    after = visible_files(store / "run_2.zarr")
    assert [path for path in after if "/." in f"/{path}"] == []
    assert before.items() <= after.items()


def test_parts_together_add_to_all_samples(tree: Path, store: Path) -> None:
    for number in (1, 2):
        report = add(TreeSource(tree, TREE_FILEMAP), store, "surface_area", part=(number, 2))
    assert report.joined == ["surface_area"]


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        (["surface_pressure"], ArgumentError, "surface_pressure.*expected a field that .* lack, but they were"),
        (["surface_position"], ArgumentError, "surface_position' is a position"),
        (["surface_areas"], ArgumentError, "'surface_areas' is not in the source; did you mean 'surface_area'"),
    ],
    ids=["converted", "a position", "unknown"],
)
def test_fields_that_cannot_be_added_are_refused_at_once(
    tree: Path, store: Path, fields: list[str], kind: type[Exception], message: str
) -> None:
    before = visible_files(store)
    with pytest.raises(kind, match=message):
        add(TreeSource(tree, TREE_FILEMAP), store, *fields)
    assert visible_files(store) == before


def test_a_source_without_other_fields_is_refused(tree: Path, store: Path) -> None:
    with pytest.raises(ArgumentError, match="no field to add: the samples were converted with all"):
        add(TreeSource(tree, BASE), store)


def test_a_domain_that_the_store_lacks_takes_no_fields(tmp_path: Path, tree: Path) -> None:
    surface = FileMap(surface_position=TREE_FILEMAP.surface_position, surface_pressure=TREE_FILEMAP.surface_pressure)
    convert(TreeSource(tree, surface), new_writer(tmp_path / "store", surface))
    with pytest.raises(ArgumentError, match="volume_velocity': expected a field of surface, got a field of 'volume'"):
        add(TreeSource(tree, TREE_FILEMAP), tmp_path / "store", "volume_velocity")
    assert add(TreeSource(tree, TREE_FILEMAP), tmp_path / "store", "surface_area").joined == ["surface_area"]


def test_a_copy_of_a_fraction_takes_no_fields(tmp_path: Path, tree: Path, store: Path) -> None:
    copy_store(str(store), str(tmp_path / "copy"), fraction=0.5)
    with pytest.raises(OriginalOrderError, match=r"0\.5 of the points"):
        add(TreeSource(tree, TREE_FILEMAP), tmp_path / "copy")


def test_a_writer_of_samples_adds_no_fields(tree: Path, store: Path) -> None:
    with pytest.raises(ArgumentError, match="writer: expected a writer that adds fields"):
        add_fields(TreeSource(tree, TREE_FILEMAP), open_writer(store, BASE, "ahmed"))


N_MANY = (1 << 18) + 2 * (1 << 16)  # more points than are compared


class ManyPoints:
    """A source of one sample in memory, whose positions can be changed."""

    filemap = FileMap(surface_position="x.npy", surface_pressure="p.npy")

    def __init__(self, moved: Any = ()) -> None:
        self.notices: list[str] = []
        self.moved = np.asarray(moved, dtype=np.int64)

    def sample_ids(self) -> list[str]:
        return ["many"]

    def load(self, sample_id: str) -> SourceSample:
        assert sample_id == "many"
        positions = np.arange(3 * N_MANY, dtype=np.float32).reshape(N_MANY, 3)
        positions[self.moved] += 1
        return SourceSample({"surface_position": positions, "surface_pressure": np.ones(N_MANY, np.float32)})


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("many") / "store"
    filemap = FileMap(surface_position="x.npy")
    writer = ZarrStoreWriter(store, filemap, "many", chunk_points=1 << 14, compression_level=0)
    writer.write_sample("many", {"surface_position": ManyPoints().load("many").fields["surface_position"]})
    writer.save_manifest()
    return store


@pytest.mark.parametrize("compare", ["some", "all"])
@pytest.mark.parametrize(
    ("rows", "found_by"),
    [
        (slice(None, None, 5000), {"some", "all"}),
        (slice((1 << 18) - 1, 1 << 18), {"some", "all"}),
        (slice((1 << 18) + 100, None), {"all"}),
    ],
    ids=["some all over", "one that is compared", "all others"],
)
def test_some_or_all_positions_are_compared(
    tmp_path: Path, many: Path, compare: Any, rows: slice, found_by: set[str]
) -> None:
    """The order of the store determines these points."""
    store = shutil.copytree(many, tmp_path / "store")
    moved = ZarrChunkReader(store).permutation("many", "surface")[rows]
    source = ManyPoints(moved)
    report = add_fields(source, open_field_writer(store, source.filemap), compare=compare)
    assert [result.outcome for result in report.results] == ["failed" if compare in found_by else "converted"]


def test_an_unknown_comparison_is_refused(tree: Path, store: Path) -> None:
    with pytest.raises(ArgumentError, match="compare: expected one of all, some, got 'few'"):
        add(TreeSource(tree, TREE_FILEMAP), store, compare="few")
