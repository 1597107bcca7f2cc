"""The command `convert`: every option reaches the store, and every wrong one is refused in a line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.sources import TreeSource
from support.s3_server import S3Server
from support.trees import (
    N_POINTS,
    TREE_FILEMAP,
    assert_same_arrays,
    call,
    expected_fields,
    save_array,
    save_run,
    save_runs,
)

# What is no matter of processes is done in this one, which is there already.
PRESET = ("--preset", "ahmedml", "--workers", "0")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def manifest_after(tree: Path | str, store: Path, *options: object) -> StoreManifest:
    ran = call("convert", tree, store, *options)
    assert ran.code == 0, ran.output
    return StoreManifest.load(str(store))


def pressure(store: Path) -> Any:
    """The metadata of one array, as zarr-python reads it."""
    array = zarr.open_array(store / "run_1.zarr" / "surface" / "pressure", mode="r")
    return array.metadata.to_dict()


def test_a_preset_converts_the_samples_of_a_tree(tree: Path, store: Path) -> None:
    ran = call("convert", tree, store, *PRESET)
    assert ran.code == 0
    first, *_, last = ran.stdout.splitlines()
    assert first == "note: not in this source: surface_stl_position, surface_stl_resampled_position"
    assert last == f"2 converted, 0 complete before, 0 failed; store: {store}"
    manifest = StoreManifest.load(str(store))
    assert (manifest.dataset_name, list(manifest.samples)) == ("ahmedml", ["run_1", "run_2"])


def test_without_options_the_settings_are_those_of_the_writer(tree: Path, store: Path) -> None:
    manifest = manifest_after(tree, store, *PRESET)
    dtypes = {field.dtype for domain in manifest.domains.values() for field in domain.arrays.values()}
    assert (manifest.shuffle_seed, manifest.compressor, manifest.checksum) == (0, "blosc-zstd-5", True)
    assert (manifest.coords_dtype, manifest.values_dtype, dtypes) == ("float32", "float16", {"float32", "float16"})
    grid = manifest.sample("run_1").domains["surface"]
    assert (grid.n_points, grid.chunk_points, grid.shard_points) == (150, 150, 150)


def test_chunk_points_and_shard_points_reach_the_grid(tree: Path, store: Path) -> None:
    manifest = manifest_after(tree, store, *PRESET, "--chunk-points", 32, "--shard-points", 70)
    grid = manifest.sample("run_1").domains["surface"]
    assert (grid.chunk_points, grid.shard_points, grid.n_chunks) == (32, 64, 5)
    assert pressure(store)["chunk_grid"]["configuration"]["chunk_shape"] == (64, 1)


def test_dtypes_reach_the_arrays(tree: Path, store: Path) -> None:
    manifest = manifest_after(
        tree, store, *PRESET, "--coords-dtype", "float64", "--values-dtype", "float32",
        "--field-dtype", "surface_pressure=float16", "--field-dtype", "volume_sdf=float64",
    )  # fmt: skip
    dtypes = {field: array.dtype for domain in manifest.domains.values() for field, array in domain.arrays.items()}
    assert dtypes["surface_position"] == dtypes["volume_position"] == dtypes["volume_sdf"] == "float64"
    assert dtypes["surface_pressure"] == "float16"
    assert dtypes["volume_velocity"] == "float32"
    assert pressure(store)["data_type"] == "float16"


def test_the_seed_reaches_the_shuffle(tree: Path, store: Path) -> None:
    seeded = manifest_after(tree, store, *PRESET, "--seed", 7)
    assert seeded.shuffle_seed == 7
    manifest_after(tree, store.with_name("unseeded"), *PRESET)
    first, second = (
        ZarrChunkReader(root).read_arrays("run_1", fields=["surface_position"])["surface_position"]
        for root in (store, store.with_name("unseeded"))
    )
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))


def test_the_compression_level_and_checksum_reach_the_codecs(tree: Path, store: Path) -> None:
    manifest = manifest_after(tree, store, *PRESET, "--compression-level", 7, "--no-checksum")
    assert (manifest.compressor, manifest.checksum) == ("blosc-zstd-7", False)
    codecs = pressure(store)["codecs"][0]["configuration"]["codecs"]
    assert [codec["name"] for codec in codecs] == ["bytes", "blosc"]
    assert codecs[1]["configuration"]["clevel"] == 7


def test_non_finite_values_are_stored_only_on_request(tree: Path, store: Path) -> None:
    values = expected_fields()["surface_pressure"]
    values[3] = np.nan
    save_array(tree / "run_1" / "surface_pressure.npy", values)
    refused = call("convert", tree, store, *PRESET)
    assert refused.code == 3
    assert "got 1 of 150 that are NaN or infinite" in refused.stderr
    assert call("convert", tree, store, *PRESET, "--non-finite", "allow").code == 0
    stored = ZarrChunkReader(store).read_arrays("run_1", fields=["surface_pressure"])["surface_pressure"]
    assert np.isnan(stored).sum() == 1


def test_limit_converts_the_first_samples_only(tree: Path, store: Path) -> None:
    assert list(manifest_after(tree, store, *PRESET, "--limit", 1).samples) == ["run_1"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one by default", "two"])
def test_workers_are_other_processes(
    tree: Path, store: Path, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    def refuse(source: TreeSource, sample_id: str) -> None:
        raise RuntimeError("loaded in this process")

    monkeypatch.setattr(TreeSource, "load", refuse)
    assert list(manifest_after(tree, store, "--preset", "ahmedml", *workers).samples) == ["run_1", "run_2"]


def test_chunk_points_may_differ_by_domain(tree: Path, store: Path) -> None:
    domains = manifest_after(tree, store, *PRESET, "--chunk-points", "surface=32,volume=50").sample("run_1").domains
    assert (domains["surface"].chunk_points, domains["volume"].chunk_points) == (32, 50)


def test_parts_are_converted_by_separate_commands(tree: Path, store: Path) -> None:
    first = call("convert", tree, store, *PRESET, "--part", "2/2")
    assert (first.code, list(StoreManifest.load(str(store)).samples)) == (0, ["run_2"])
    assert "note: other parts are missing; when all parts are converted, use noether-zarr merge STORE" in first.stdout
    second = call("convert", tree, store, *PRESET, "--part", "1/2")
    assert (second.code, list(StoreManifest.load(str(store)).samples)) == (0, ["run_1", "run_2"])
    assert "note: other parts" not in second.stdout


def test_a_merge_that_makes_a_manifest_says_that_splits_are_lost(tree: Path, store: Path) -> None:
    manifest_after(tree, store, *PRESET)
    assert "splits" not in call("merge", store).stdout
    (store / "manifest.json").unlink()
    assert "note: there was no manifest, so the new one has no splits; set them with" in call("merge", store).stdout


def test_a_merge_that_refuses_all_groups_makes_no_manifest_and_names_none(tree: Path, store: Path) -> None:
    manifest_after(tree, store, *PRESET)
    (store / "manifest.json").unlink()
    for metadata in store.glob("*.zarr/zarr.json"):
        metadata.write_text("{")
    ran = call("merge", store)
    assert "refused: " in ran.stderr
    assert "splits" not in ran.stdout
    assert not (store / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "summary"),
    [
        ([], "1 converted, 1 complete before, 0 failed"),
        (["--resume"], "1 converted, 1 complete before, 0 failed"),
        (["--retry-failed"], "1 converted, 0 complete before, 0 failed"),
        (["--overwrite"], "2 converted, 0 complete before, 0 failed"),
    ],
    ids=lambda value: " ".join(value) or "default" if isinstance(value, list) else "",
)
def test_a_second_conversion_takes_the_chosen_samples(tree: Path, store: Path, option: list[str], summary: str) -> None:
    kept = (tree / "run_2" / "surface_pressure.npy").read_bytes()
    (tree / "run_2" / "surface_pressure.npy").write_bytes(b"broken")
    assert call("convert", tree, store, *PRESET).code == 3
    (tree / "run_2" / "surface_pressure.npy").write_bytes(kept)
    ran = call("convert", tree, store, *PRESET, *option)
    assert (ran.code, ran.stdout.splitlines()[-1].partition(";")[0]) == (0, summary)


def test_the_table_at_the_end_sums_up_what_was_done(tree: Path, store: Path) -> None:
    (tree / "run_2" / "surface_pressure.npy").write_bytes(b"broken")
    ran = call("convert", tree, store, *PRESET)
    rows = [line.replace("│", " ").split() for line in ran.stdout.splitlines() if line.startswith("│")]
    (name, samples, _, _, sample, *figures), failed = rows
    assert (name, samples, sample) == ("converted", "1", "(run_1)")
    assert figures[:2] == ["13.2", "kB"]  # 150 points of 11 float32 in each of two domains
    assert failed[:2] == ["failed", "1"]


def test_a_json_file_map_names_the_files(tree: Path, store: Path) -> None:
    """The dataset has the name of the source."""
    filemap = store.with_name("filemap.json")
    filemap.write_text(TREE_FILEMAP.model_dump_json(exclude_none=True))
    manifest = manifest_after(f"{tree}/", store, "--filemap", filemap, "--workers", 0)
    assert manifest.dataset_name == "tree"
    assert manifest.sample("run_1").attributes.keys() == {"design_parameters"}


@pytest.mark.slow
def test_a_file_map_in_json_may_have_canonical_names(tree: Path, store: Path) -> None:
    filemap = store.with_name("filemap.json")
    filemap.write_text('{"volume_position": "volume_cell_position.pt", "volume_sdf": "volume_cell_sdf.pt"}')
    manifest = manifest_after(tree, store, "--filemap", filemap)
    assert list(manifest.domains["volume"].arrays) == ["volume_position", "volume_sdf"]
    assert call("verify", store, "--source", tree).code == 0  # with the file map that the conversion recorded


def test_a_file_map_names_fields_of_its_own_with_their_widths(tree: Path, store: Path) -> None:
    filemap = store.with_name("filemap.json")
    own = '"volume_two": {"file": "volume_two.npy", "width": 2}, "volume_one": {"file": "volume_one.npy"}'
    filemap.write_text(f'{{"volume_position": "volume_cell_position.npy", {own}}}')
    for run in ("run_1", "run_2"):
        np.save(tree / run / "volume_two.npy", np.ones((N_POINTS, 2)))
        np.save(tree / run / "volume_one.npy", np.ones(N_POINTS))
    arrays = manifest_after(tree, store, "--filemap", filemap, "--workers", 0).domains["volume"].arrays
    assert {field: array.dim for field, array in arrays.items()} == {
        "volume_position": 3,
        "volume_two": 2,
        "volume_one": 1,
    }


@pytest.mark.parametrize(("options", "name"), [([], "run_1"), (["--name", "mine"], "mine")])
def test_the_current_directory_is_a_source_with_a_name(
    tree: Path, store: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], name: str
) -> None:
    (tree / "filemap.json").write_text('{"surface_position": "surface_position_vtp.pt"}')
    monkeypatch.chdir(tree / "run_1")
    manifest = manifest_after(".", store, "--filemap", "../filemap.json", "--workers", 0, *options)
    assert (manifest.dataset_name, list(manifest.samples)) == (name, ["run_1"])


@pytest.mark.s3
def test_storage_and_source_options_reach_their_file_systems(
    tree: Path, store: Path, s3_server: S3Server, s3_root: str
) -> None:
    options = {"--storage-option": s3_server.obstore_options, "--source-option": s3_server.s3fs_options}
    flags = {flag: [f"{flag}={key}={value}" for key, value in pairs.items()] for flag, pairs in options.items()}
    client = {key: value for key, value in s3_server.s3fs_options.items() if key != "driver"}
    fsspec.filesystem("s3", **client).put(str(tree), f"{s3_root}/tree", recursive=True)
    ran = call(
        "convert", f"{s3_root}/tree", f"{s3_root}/store", *PRESET, "--values-dtype", "float32",
        *flags["--storage-option"], *flags["--source-option"],
    )  # fmt: skip
    assert (ran.code, ran.stdout.splitlines()[-1]) == (
        0, f"2 converted, 0 complete before, 0 failed; store: {s3_root}/store",
    )  # fmt: skip
    reader = ZarrChunkReader(f"{s3_root}/store", storage_options=s3_server.obstore_options)
    assert_same_arrays(
        reader.read_arrays("run_2", order="original"),
        {field: values.astype("float32") for field, values in expected_fields("run_2").items()},
    )


@pytest.mark.s3
def test_options_in_json_keep_their_types(tree: Path, s3_server: S3Server, s3_root: str) -> None:
    options = {**s3_server.obstore_options, "client_options": json.dumps({"allow_http": True, "timeout": "20s"})}
    options["virtual_hosted_style_request"] = "false"
    flags = [f"--storage-option={key}={value}" for key, value in options.items()]
    assert call("convert", tree, s3_root, *PRESET, *flags).code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "expected one of --preset, --filemap and --mapping, got none", id="no preset"),
        pytest.param([*PRESET, "--filemap", "x"], "and --mapping, got --preset and --filemap", id="both"),
        pytest.param(["--preset", "ahmed"], "preset 'ahmed' is not known; did you mean 'ahmedml'", id="unknown preset"),
        pytest.param([*PRESET, "--chunk-points", "0"], "chunk_points: expected .* at least 1, got 0", id="no points"),
        pytest.param(
            [*PRESET, "--chunk-points", "many"], "expected N, or DOMAIN=N,… such as .* 'many'", id="no number"
        ),
        pytest.param(
            [*PRESET, "--chunk-points", "surface=x"],
            "expected N, or DOMAIN=N,… such as .* 'surface=x'",
            id="no number of a domain",
        ),
        pytest.param([*PRESET, "--chunk-points", "face=9"], "unknown domain 'face'; did you mean 'surf", id="domain"),
        pytest.param(
            [*PRESET, "--chunk-points", "volume=0"], r"\['volume'\]: expected .* got 0", id="none of a domain"
        ),
        pytest.param([*PRESET, "--part", "3"], "--part: expected K/N such as 3/16, got '3'", id="part form"),
        pytest.param([*PRESET, "--part", "3/2"], "part: expected a number from 1 to 2, got 3", id="no such part"),
        pytest.param(
            [*PRESET, "--timeout", "5"],
            "timeout: expected worker processes, because only these can be stopped",
            id="timeout",
        ),
        pytest.param(
            [*PRESET, "--dask", "x"],
            "--workers: expected no value with --dask, got 0; set it on",
            id="dask with workers",
        ),
        pytest.param(
            [*PRESET[:2], "--dask", "x", "--timeout", "5"],
            "--timeout: expected no value with --dask, got 5.0; set it on",
            id="dask with a timeout",
        ),
        pytest.param([*PRESET, "--retry-failed"], "in conversion.json, got no such file", id="no report"),
        pytest.param([*PRESET, "--overwrite", "--resume"], "expected one of --resume, --retry-f", id="two modes"),
        pytest.param([*PRESET, "--shard-points", "-1"], "shard_points: expected .* got -1", id="negative shard"),
        pytest.param([*PRESET, "--coords-dtype", "int8"], "coords_dtype: expected one of float16", id="dtype"),
        pytest.param([*PRESET, "--field-dtype", "p"], "--field-dtype: expected FIELD=DTYPE, got 'p'", id="no equals"),
        pytest.param([*PRESET, "--field-dtype", "p=float32"], "unknown field 'p'", id="unknown field"),
        pytest.param([*PRESET, "--field-dtype", "volume_sdf=int"], r"\['volume_sdf'\]: expected one", id="field dtype"),
        pytest.param([*PRESET, "--compression-level", "10"], "from 0 to 9, got 10", id="level"),
        pytest.param([*PRESET, "--non-finite", "skip"], "expected one of raise, allow, got 'skip'", id="non-finite"),
        pytest.param([*PRESET, "--limit", "0"], "limit: expected .* at least 1, got 0", id="limit"),
        pytest.param([*PRESET, "--workers", "-1"], "workers: expected .* at least 1, got -1", id="workers"),
        pytest.param([*PRESET, "--name", ""], "dataset_name: expected a non-empty str", id="empty name"),
        pytest.param([*PRESET, "--colour", "red"], "No such option: --colour", id="unknown option"),
        pytest.param(
            [*PRESET, "--storage-option", "a=b"], "a local path takes no options", id="option of a local path"
        ),
        pytest.param([*PRESET, "--storage-option", "a"], "--storage-option: expected KEY=VALUE", id="option form"),
        pytest.param([*PRESET, "--source-option", "a={b"], "--source-option: a: expected JSON", id="option JSON"),
    ],
)
def test_wrong_usage_ends_with_2_a_line_and_no_store(tree: Path, store: Path, options: list[str], message: str) -> None:
    ran = call("convert", tree, store, *options)
    assert ran.code == 2
    assert message_in(ran.stderr, message), ran.stderr
    assert "Traceback" not in ran.output
    assert not (store / "manifest.json").exists()


def message_in(text: str, pattern: str) -> bool:
    """Whether a message is in a text, in the frame that typer draws around some and breaks lines in."""
    return re.search(pattern, " ".join(text.replace("│", " ").split())) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "Invalid JSON", id="no JSON"),
        pytest.param("[]", "should be an object", id="a list"),
        pytest.param('{"surface_position": 3}', "surface_position: Input should be a valid string", id="a number"),
        pytest.param(
            '{"surface_positon": "p.npy"}',
            "unknown field 'surface_positon'; did you mean 'surface_position'",
            id="a field misspelt",
        ),
        pytest.param(
            '{"volume_sdf": "d.npy", "volume_distance_to_surface": "d.npy"}',
            "volume_sdf and volume_distance_to_surface are two names of the same field",
            id="a field twice",
        ),
        pytest.param(None, "cannot be read \\(No such file", id="no file"),
        pytest.param("{}", "names no field", id="no field"),
        pytest.param('{"volume_cp": {"width": 1}}', "volume_cp: file: Field required", id="no file of an own field"),
        pytest.param(
            '{"volume_cp": {"file": "c.npy", "width": 0}}', "volume_cp: width: .* greater than 0", id="no width"
        ),
        pytest.param('{"cp": {"file": "c.npy"}}', "'cp': expected a name of the form <domain>_<name>", id="no domain"),
        pytest.param(
            '{"volume_velocity": {"file": "u.npy", "width": 2}}',
            "volume_velocity: expected width 3, got 2; write",
            id="a width",
        ),
        pytest.param('{"surface_position": "p.vtp"}', r"ends in \.pt or \.npy or \.npz, got 'p\.vtp'", id="a mesh"),
    ],
)
def test_a_bad_file_map_is_refused_with_what_is_wrong(tree: Path, store: Path, text: str | None, message: str) -> None:
    filemap = store.with_name("filemap.json")
    if text is not None:
        filemap.write_text(text)
    ran = call("convert", tree, store, "--filemap", filemap)
    assert ran.code == 2
    assert message_in(ran.stderr, f"^error: .*file ?map.*{message}"), ran.stderr


def test_a_run_with_failures_names_them_at_the_end(tree: Path, store: Path) -> None:
    save_run(tree / "run_3")
    (tree / "run_1" / "surface_pressure.npy").unlink()
    (tree / "run_3" / "volume_cell_velocity.npy").write_text("u v w")
    ran = call("convert", tree, store, *PRESET)
    assert ran.code == 3
    assert ran.stdout.splitlines()[-1] == f"1 converted, 0 complete before, 2 failed; store: {store}"
    first, second = ran.stderr.splitlines()[-2:]
    assert first.startswith("failed: sample 'run_1': domain 'surface' lacks the file surface_pressure.pt")
    assert second.startswith("failed: sample 'run_3', field volume_velocity: run_3/volume_cell_velocity.npy cannot")
    assert "Traceback" not in ran.output
    assert "Traceback" in call("convert", tree, store, *PRESET, "--debug").stderr


def test_a_command_without_success_ends_with_1(tree: Path, store: Path) -> None:
    for run in ("run_1", "run_2"):
        (tree / run / "surface_pressure.npy").unlink()
    ran = call("convert", tree, store, *PRESET)
    assert (ran.code, ran.stderr.count("failed: sample")) == (1, 2)


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
def test_a_missing_source_is_named_and_ends_with_1(tmp_path: Path, store: Path, debug: list[str]) -> None:
    ran = call("convert", tmp_path / "nowhere", store, *PRESET, *debug)
    assert ran.code == 1
    assert f"{tmp_path / 'nowhere'} does not exist; check the path" in ran.stderr
    assert ("Traceback" in ran.stderr) == bool(debug)
    assert not store.exists()
