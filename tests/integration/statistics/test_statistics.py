"""The full pass over a store of real samples."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, GzipCodec, ShardingCodec

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, ManifestError, UnknownNameError
from noether.data.zarr_store.statistics import RunningStats, calculate_store_statistics, position_bounds
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.reading import FIELDS, write_runs, write_samples
from support.s3_server import S3Server

RUNS = ("run_1", "run_2", "run_3")
FIGURES = ("mean", "std", "min", "max", "logmean", "logstd")
SETTINGS: dict[str, Any] = {"chunk_points": 512, "shard_points": 2048, "field_dtypes": {"volume_sdf": "float64"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("statistics") / "store", *RUNS, **SETTINGS)
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["splits"] = {"train": ["run_1", "run_3"], "test": ["run_2"], "old": ["run_1", "run_8"], "none": []}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def stored(root: Path, field: str, samples: tuple[str, ...] = RUNS) -> Arrays:
    """Return all points of a field that zarr-python reads, of all samples, in float64."""
    domain, _, name = field.partition("_")
    arrays = [np.asarray(zarr.open_array(root / f"{sample}.zarr" / domain / name, mode="r")[:]) for sample in samples]
    values = np.concatenate(arrays).astype(np.float64)
    return {"values": values, "logs": np.sign(values) * np.log1p(np.abs(values))}


def assert_statistics_of(stats: RunningStats, values: Arrays, tolerance: float = 1e-12) -> None:
    expected = {
        "mean": values["values"].mean(axis=0),
        "std": values["values"].std(axis=0),
        "min": values["values"].min(axis=0),
        "max": values["values"].max(axis=0),
        "logmean": values["logs"].mean(axis=0),
        "logstd": values["logs"].std(axis=0),
    }
    assert stats.count == stats.points_read == len(values["values"])
    for name, figure in expected.items():
        given = getattr(stats, name)
        assert given.dtype == np.float64
        np.testing.assert_allclose(given, figure, rtol=tolerance, atol=tolerance * expected["std"].max(), err_msg=name)


def same(first: RunningStats, second: RunningStats) -> bool:
    """Return whether all figures are equal, bit for bit."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in (*FIGURES, "count"))


def test_every_field_has_the_statistics_of_all_its_stored_values(root: Path) -> None:
    stats = calculate_store_statistics(root)
    assert list(stats) == [*FIELDS["surface"], *FIELDS["volume"]]
    for field, one in stats.items():
        assert_statistics_of(one, stored(root, field))
        assert not one.non_finite.any()
        assert not one.mean_margin.any()


@pytest.mark.parametrize("max_workers", [2, 5])
def test_the_result_is_the_same_bit_for_bit_for_any_number_of_threads(root: Path, max_workers: int) -> None:
    stats, in_threads = (calculate_store_statistics(root, max_workers=workers) for workers in (1, max_workers))
    assert all(same(one, in_threads[field]) for field, one in stats.items())


@pytest.mark.slow
def test_statistics_of_splits_merge_into_those_of_the_store(root: Path) -> None:
    train, test = (calculate_store_statistics(root, split=split) for split in ("train", "test"))
    for field, one in train.items():
        assert_statistics_of(one, stored(root, field, ("run_1", "run_3")))
        assert_statistics_of(one.merge(test[field]), stored(root, field))


@pytest.mark.parametrize(
    ("arguments", "fields", "samples"),
    [
        pytest.param({"fields": ["volume_velocity"]}, ["volume_velocity"], RUNS, id="fields"),
        pytest.param({"exclude_fields": FIELDS["volume"]}, FIELDS["surface"], RUNS, id="excluded"),
        pytest.param(
            {"fields": ["surface_area", "volume_sdf"], "exclude_fields": ["volume_sdf"]},
            ["surface_area"],
            RUNS,
            id="both",
        ),
        pytest.param({"limit": 2, "fields": ["volume_sdf"]}, ["volume_sdf"], RUNS[:2], id="limit"),
        pytest.param(
            {"sample_ids": ["run_3", "run_3"], "fields": ["volume_sdf"]}, ["volume_sdf"], ("run_3",), id="sample"
        ),
        pytest.param(
            {"split": "train", "limit": 1, "fields": ["volume_sdf"]}, ["volume_sdf"], ("run_1",), id="limited-split"
        ),
    ],
)
def test_only_requested_fields_and_samples_count(
    root: Path, arguments: dict[str, Any], fields: list[str], samples: tuple[str, ...]
) -> None:
    stats = calculate_store_statistics(root, **arguments)
    assert list(stats) == fields
    for field, one in stats.items():
        assert_statistics_of(one, stored(root, field, samples))


def test_position_bounds_are_those_of_all_domains(root: Path) -> None:
    stats = calculate_store_statistics(root)
    bounds = position_bounds(stats)
    assert bounds is not None
    everywhere = np.concatenate([stored(root, f"{domain}_position")["values"] for domain in FIELDS])
    np.testing.assert_array_equal(bounds, (everywhere.min(axis=0), everywhere.max(axis=0)))
    assert position_bounds({"volume_sdf": stats["volume_sdf"]}) is None


def test_progress_counts_values_until_all_are_read(root: Path) -> None:
    told: list[tuple[int, int]] = []
    calculate_store_statistics(root, max_workers=3, progress=lambda done, total: told.append((done, total)))
    reader = ZarrChunkReader(root)
    values = sum(array.size for run in RUNS for array in reader.read_arrays(run).values())
    assert {total for _, total in told} == {values}
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == values


def test_the_root_is_a_keyword_too_and_is_called_as_everywhere(root: Path) -> None:
    by_keyword = calculate_store_statistics(store_root=root, fields=["volume_sdf"])
    assert same(by_keyword["volume_sdf"], calculate_store_statistics(root, fields=["volume_sdf"])["volume_sdf"])


@pytest.mark.parametrize(
    ("progress", "shown"),
    [(None, ""), (False, ""), (True, r"(reading \d+ % of [\d,]+ values, \d+:\d\d left\n)+")],
    ids=["default", "no", "yes"],
)
def test_progress_is_shown_on_stderr_where_it_is_wanted(
    root: Path, capsys: pytest.CaptureFixture[str], progress: bool | None, shown: str
) -> None:
    calculate_store_statistics(root, fields=["volume_sdf"], progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(shown, printed.err)


def test_a_domain_that_some_samples_lack_is_read_from_the_others(tmp_path: Path) -> None:
    samples = {run: load_run(run) for run in RUNS[:2]}
    surface = {field: values for field, values in samples["run_2"].items() if field in FIELDS["surface"]}
    root = write_samples(tmp_path / "store", samples | {"run_2": surface})
    assert_statistics_of(calculate_store_statistics(root)["volume_sdf"], stored(root, "volume_sdf", ("run_1",)))
    assert list(calculate_store_statistics(root, sample_ids=["run_2"])) == FIELDS["surface"]
    with pytest.raises(UnknownNameError, match="fields volume_sdf: none of the 1 samples has them; leave them out"):
        calculate_store_statistics(root, sample_ids=["run_2"], fields=["volume_sdf", "surface_area"])


def test_values_that_are_not_finite_are_counted_and_left_out(tmp_path: Path) -> None:
    run = load_run("run_1")
    velocity = run["volume_velocity"].copy()
    velocity[:7, 0], velocity[7:10, 0], velocity[:, 2] = np.nan, -np.inf, np.nan
    root = write_samples(
        tmp_path / "store",
        {"run_1": run | {"volume_velocity": velocity}},
        chunk_points=256,
        non_finite="allow",
        field_dtypes={"volume_velocity": "float32"},
    )
    stats = calculate_store_statistics(root, fields=["volume_velocity"])["volume_velocity"]
    assert (stats.count, stats.non_finite.tolist()) == (len(velocity), [10, 0, len(velocity)])
    finite = velocity[10:, 0].astype(np.float64)
    expected = [finite.mean(), finite.std(), finite.min(), finite.max()]
    np.testing.assert_allclose([stats.mean[0], stats.std[0], stats.min[0], stats.max[0]], expected, rtol=1e-12)
    assert np.isnan([getattr(stats, name)[2] for name in FIGURES]).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_a_field(tmp_path: Path) -> None:
    n_points = 3_000_000
    writer = ZarrStoreWriter(tmp_path, FileMap(volume_position="x.npy"), "large")
    writer.write_sample("run_1", {"volume_position": np.zeros((n_points, 3), np.float32)})
    writer.save_manifest()
    tracemalloc.start()
    try:
        stats = calculate_store_statistics(tmp_path, max_workers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stats["volume_position"].count == n_points
    assert peak < n_points * 3 * 4 / 3


def test_arrays_with_codecs_of_others_have_the_same_statistics(root: Path, tmp_path: Path) -> None:
    there = write_samples(tmp_path / "store", {"run_1": load_run("run_1")}, **SETTINGS)
    array = there / "run_1.zarr" / "surface" / "pressure"
    values = np.asarray(zarr.open_array(array, mode="r")[:])
    codecs = ShardingCodec(chunk_shape=(512, 1), codecs=[BytesCodec(endian="little"), GzipCodec()])
    zarr.create_array(
        array,
        shape=values.shape,
        chunks=(2048, 1),
        dtype="float16",
        serializer=codecs,
        compressors=None,
        overwrite=True,
    )[:] = values
    metadata = there / "run_1.zarr" / "zarr.json"
    document = json.loads(metadata.read_text())
    document["consolidated_metadata"]["metadata"]["surface/pressure"] = json.loads((array / "zarr.json").read_text())
    metadata.write_text(json.dumps(document))
    given, expected = (calculate_store_statistics(store, sample_ids=["run_1"]) for store in (there, root))
    assert same(given["surface_pressure"], expected["surface_pressure"])


@pytest.mark.s3
def test_a_store_in_object_storage_has_the_same_statistics(s3_root: str, s3_server: S3Server, root: Path) -> None:
    options = s3_server.obstore_options
    writer = ZarrStoreWriter(s3_root, AHMED_FILEMAP, "ahmed", storage_options=options, **SETTINGS)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    there = calculate_store_statistics(s3_root, storage_options=options)
    here = calculate_store_statistics(root, sample_ids=["run_1"])
    assert all(same(one, here[field]) for field, one in there.items())


def test_a_damaged_chunk_is_named_with_its_sample_and_field(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=512)
    shard = root / "run_1.zarr" / "volume" / "sdf" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[3000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptDataError, match=r"sample 'run_1', field volume_sdf: chunk \d+, in shard 0, is damaged"):
        calculate_store_statistics(root, max_workers=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "trian"}, UnknownNameError, "split 'trian' is not in the store; did you mean 'train'"),
        ({"split": "old"}, UnknownNameError, "1 of 2 samples of split 'old' are not in the store: 'run_8'"),
        (
            {"split": "none"},
            ArgumentError,
            "split 'none': expected at least one sample, got an empty split",
        ),
        (
            {"split": "train", "sample_ids": ["run_1"]},
            ArgumentError,
            "split, sample_ids: expected one of the two, got both",
        ),
        (
            {"sample_ids": ["run_9"]},
            UnknownNameError,
            "1 of 1 samples are not in the store: 'run_9'; did you mean 'run_",
        ),
        ({"sample_ids": "run_1"}, ArgumentError, r"sample_ids: expected a list of ids, .* write \['run_1'\]"),
        ({"sample_ids": []}, ArgumentError, "sample_ids: expected at least one id, got none"),
        ({"fields": ["volume_sfd"]}, UnknownNameError, "field 'volume_sfd' is not in the store; did you mean 'volume"),
        ({"exclude_fields": ["sdf"]}, UnknownNameError, "field 'sdf' is not in the store"),
        ({"fields": []}, ArgumentError, "no field is left"),
        ({"limit": 0}, ArgumentError, "limit: expected a whole number of at least 1, got 0"),
        ({"max_workers": 0}, ArgumentError, "max_workers: expected a whole number of at least 1, got 0"),
        ({"progress": "yes"}, ArgumentError, "progress: expected True, False or a function of .* got 'yes'"),
        ({"tolerance": 0.0}, ArgumentError, "tolerance: expected a number above 0 and below 1, .* got 0.0"),
        ({"tolerance": 1}, ArgumentError, "tolerance: expected a number above 0 and below 1, .* got 1"),
    ],
)
def test_wrong_parameters_are_refused(
    root: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        calculate_store_statistics(root, **arguments)


def test_an_empty_store_and_none_at_all_are_refused(tmp_path: Path) -> None:
    ZarrStoreWriter(tmp_path / "store", AHMED_FILEMAP, "ahmed").save_manifest()
    refused: list[tuple[Path, type[Exception], str]] = [
        (
            tmp_path / "store",
            ArgumentError,
            "the store has no samples, expected at least one",
        ),
        (tmp_path, ManifestError, "is no store"),
    ]
    for place, error, message in refused:
        with pytest.raises(error, match=message):
            calculate_store_statistics(place)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: RunningStats.of(np.zeros((0, 3))), id="no-points"),
        pytest.param(lambda: RunningStats.of(np.zeros((2, 3, 4))), id="three-dimensions"),
        pytest.param(lambda: RunningStats.of(["a"]), id="text"),
        pytest.param(lambda: RunningStats.of([1.0]).merge(RunningStats.of([[1.0, 2.0]])), id="widths"),
    ],
)
def test_unknown_fields_have_no_statistics(call: Callable[[], RunningStats]) -> None:
    with pytest.raises(ArgumentError, match=r"expected .* got"):
        call()
