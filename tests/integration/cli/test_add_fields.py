"""``noether-zarr add-fields``: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from support.s3_server import S3Server
from support.trees import call, save_runs, visible_files

# What is no matter of processes is done in this one, which is there already.
HERE = ("--workers", "0")
FIELDS = {"surface_position": "surface_position_vtp.npy", "surface_cp": {"file": "cp.npy", "width": 1}}
MAPPING = """
name = "later"
id = "{run}"
[domains.surface.fields]
position = { file = "{run}/surface_position_vtp.npy" }
cp = { file = "{run}/cp.npy", units = "1", long_name = "pressure coefficient" }
stress = { file = "{run}/surface_wallshearstress.npy", width = 3 }
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return with_cp(save_runs(tmp_path / "tree", ["run_1", "run_2", "run_3"]))


def with_cp(tree: Path) -> Path:
    for file in tree.rglob("surface_pressure.npy"):
        np.save(file.with_name("cp.npy"), np.load(file) / 800)
    return tree


@pytest.fixture
def store(tmp_path: Path, tree: Path) -> Path:
    assert call("convert", tree, tmp_path / "store", "--preset", "ahmedml", *HERE).code == 0
    return tmp_path / "store"


@pytest.fixture
def filemap(tmp_path: Path) -> Path:
    (tmp_path / "later.json").write_text(json.dumps(FIELDS))
    return tmp_path / "later.json"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    (tmp_path / "later.toml").write_text(MAPPING)
    return tmp_path / "later.toml"


def test_a_file_map_names_the_field_and_the_positions(store: Path, tree: Path, filemap: Path) -> None:
    ran = call("add-fields", store, tree, "--filemap", filemap, *HERE)
    assert ran.code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0] == "adding surface_cp to 3 samples, 0 complete before"
    assert lines[-2:] == [f"3 added, 0 complete before, 0 failed; store: {store}", "all samples have surface_cp"]
    given = ZarrChunkReader(store).read_arrays("run_2", order="original", fields=["surface_cp"])["surface_cp"]
    np.testing.assert_array_equal(given, np.load(tree / "run_2" / "cp.npy").squeeze().astype("float16"))


def test_a_mapping_names_fields_with_units_and_widths(store: Path, tree: Path, mapping: Path) -> None:
    ran = call("add-fields", store, tree, "--mapping", mapping, *HERE, "--field-dtype", "surface_cp=float32")
    assert ran.code == 0, ran.output
    arrays = StoreManifest.load(str(store)).domains["surface"].arrays
    assert [(arrays[field].dtype, arrays[field].dim) for field in ("surface_cp", "surface_stress")] == [
        ("float32", 1),
        ("float16", 3),
    ]
    document = json.loads((store / "run_1.zarr" / "surface" / "cp" / "zarr.json").read_bytes())
    assert document["attributes"] == {"units": "1", "long_name": "pressure coefficient"}


def test_only_named_fields_are_added(store: Path, tree: Path, mapping: Path) -> None:
    assert call("add-fields", store, tree, "--mapping", mapping, *HERE, "--field", "surface_stress").code == 0
    arrays = StoreManifest.load(str(store)).domains["surface"].arrays
    assert ("surface_stress" in arrays, "surface_cp" in arrays) == (True, False)


def test_samples_of_only_one_side_are_named(store: Path, tmp_path: Path, filemap: Path) -> None:
    other = with_cp(save_runs(tmp_path / "other", ["run_1", "run_2", "run_9"]))
    ran = call("add-fields", store, other, "--filemap", filemap, *HERE)
    assert ran.code == 0
    assert "note: 1 sample of the source, not in the store: 'run_9'" in ran.stdout
    assert "note: 1 sample of the store, not in the source; they stay without the fields: 'run_3'" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "surface_cp is pending: 1 of 3 samples lack it: 'run_3'"


def test_a_dry_run_says_what_would_be_added_and_changes_nothing(store: Path, tree: Path, filemap: Path) -> None:
    before = visible_files(store)
    ran = call("add-fields", store, tree, "--filemap", filemap, "--dry-run", "--limit", "2", *HERE)
    assert (ran.code, ran.stdout) == (0, "would add surface_cp to 2 samples, 0 complete before\n")
    assert visible_files(store) == before


def test_the_same_command_again_finds_all_complete(store: Path, tree: Path, filemap: Path) -> None:
    command = ("add-fields", store, tree, "--filemap", filemap, *HERE)
    call(*command)
    ran = call(*command)
    assert ran.code == 0
    assert ran.stdout.splitlines()[0] == "adding surface_cp to 0 samples, 3 complete before"
    assert "0 added, 3 complete before, 0 failed" in ran.stdout


def test_failures_are_named_and_retried_alone(store: Path, tree: Path, filemap: Path) -> None:
    good = np.load(tree / "run_2" / "cp.npy")
    np.save(tree / "run_2" / "cp.npy", good[:-1])
    ran = call("add-fields", store, tree, "--filemap", filemap, *HERE)
    assert ran.code == 3
    assert re.search("failed: sample 'run_2'.*150.*149", ran.stderr)
    assert "surface_cp is pending: 1 of 3 samples lack it: 'run_2'" in ran.stdout
    np.save(tree / "run_2" / "cp.npy", good)
    ran = call("add-fields", store, tree, "--filemap", filemap, *HERE, "--retry-failed")
    assert (ran.code, "1 added, 0 complete before, 0 failed" in ran.stdout) == (0, True)


def test_a_command_without_success_ends_with_1(store: Path, tree: Path, filemap: Path) -> None:
    for file in tree.rglob("cp.npy"):
        file.write_bytes(b"broken")
    assert call("add-fields", store, tree, "--filemap", filemap, *HERE).code == 1


def test_verify_compares_with_the_source_of_the_conversion(store: Path, tree: Path, filemap: Path) -> None:
    """The file map that is recorded of a run that adds fields is not that of the store."""
    call("add-fields", store, tree, "--filemap", filemap, *HERE, "--limit", "1")
    ran = call("verify", store, "--source", tree)
    assert ran.code == 0, ran.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected one of --preset, --filemap and --mapping"),
        (["--preset", "ahmedml"], "no field to add: the samples were converted with all fields"),
        (["--filemap", "FILEMAP", "--field", "surface_p"], "'surface_p' is not in the source"),
        (["--filemap", "FILEMAP", "--field", "surface_position"], "'surface_position' is a position"),
        (
            ["--preset", "ahmedml", "--field", "surface_pressure"],
            "expected a field that the samples lack, but they were",
        ),
        (["--filemap", "FILEMAP", "--part", "3"], "--part: expected K/N"),
        (["--filemap", "FILEMAP", "--limit", "0"], "limit: expected"),
        (["--filemap", "FILEMAP", "--workers", "-1"], "workers: expected"),
        (["--filemap", "FILEMAP", "--field-dtype", "surface_cp=int8"], "expected one of float16"),
        (["--filemap", "FILEMAP", "--retry-failed"], "expected a record of add-fields in conversion.json"),
        (
            ["--filemap", "FILEMAP", "--dask", "x", "--timeout", "5"],
            "--timeout: expected no value with --dask, got 5.0; set it on the Dask cluster",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(
    store: Path, tree: Path, filemap: Path, options: list[str], message: str
) -> None:
    before = visible_files(store)
    ran = call("add-fields", store, tree, *(str(filemap) if one == "FILEMAP" else one for one in options))
    assert ran.code == 2, ran.output
    assert message in " ".join(ran.stderr.split())
    assert visible_files(store) == before


def test_a_place_without_a_store_is_refused(tmp_path: Path, tree: Path, filemap: Path) -> None:
    ran = call("add-fields", tmp_path / "nowhere", tree, "--filemap", filemap, *HERE)
    assert (ran.code, "is no store" in ran.stderr) == (1, True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.s3
def test_source_and_store_may_lie_in_object_storage(
    tree: Path, filemap: Path, s3_server: S3Server, s3_root: str
) -> None:
    options = [f"--storage-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    assert call("convert", tree, s3_root, "--preset", "ahmedml", *HERE, *options).code == 0
    ran = call("add-fields", s3_root, tree, "--filemap", filemap, *options)
    assert (ran.code, "all samples have surface_cp" in ran.stdout) == (0, True), ran.output
