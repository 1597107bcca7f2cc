"""Trees of files as sources: their samples, and the arrays of these."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store.core.memory import map_again
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.sources.presets import find_preset
from support.ahmed import AHMED, RUNS, load_run
from support.lanes import few_fast
from support.s3_server import S3Server
from support.trees import (
    OPTIONAL,
    TREE_FILEMAP,
    assert_same_arrays,
    expected_fields,
    save_array,
    save_run,
    save_runs,
)

AHMEDML = find_preset("ahmedml")


def test_the_bundled_simulations_are_a_source() -> None:
    source = TreeSource(AHMED, AHMEDML.filemap, AHMEDML.optional)
    assert source.sample_ids() == list(RUNS)
    assert_same_arrays(source.load("run_4").fields, load_run("run_4"))


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param({"run_2": "run_2", "run_1": "run_1"}, id="sorted"),
        pytest.param({"param1/6f0a": "param1/6f0a", "param0/6f0a": "param0/6f0a"}, id="nested"),
        pytest.param({"preprocessed/param1/6f0a": "param1/6f0a"}, id="preprocessed is left out"),
        pytest.param({"preprocessed/a": "preprocessed/a", "b": "b"}, id="unless a sample lies elsewhere"),
        pytest.param({"preprocessed_v2/a": "preprocessed_v2/a"}, id="or it is only part of a name"),
        pytest.param({"": "tree"}, id="a root that is a sample is called by its own name"),
    ],
)
def test_a_sample_is_named_by_its_directory(tmp_path: Path, ids: dict[str, str]) -> None:
    save_runs(tmp_path / "tree", ids)
    source = TreeSource(tmp_path / "tree", TREE_FILEMAP)
    assert source.sample_ids() == sorted(ids.values())
    for number, sample_id in enumerate(ids.values(), start=1):
        assert_same_arrays(source.load(sample_id).fields, expected_fields(f"run_{number}"))


def test_directories_and_files_of_other_kinds_are_no_samples(tmp_path: Path) -> None:
    save_run(tmp_path / "run_1")
    for name in ("run_1/notes.txt", "run_1/surface_pressure.vtp", "logs/solver.log", "run_9/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("-")
    save_array(tmp_path / "parameters_only" / "design_parameters.npy", np.ones(3))
    source = TreeSource(tmp_path, TREE_FILEMAP)
    assert source.sample_ids() == ["run_1"]
    assert_same_arrays(source.load("run_1").fields, expected_fields())


@pytest.mark.parametrize("there", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("named", [".npy", ".npz", ".pt"])
def test_each_format_is_read_for_any_suffix_in_the_file_map(tmp_path: Path, named: str, there: str) -> None:
    save_run(tmp_path / "run_1", suffix=there)
    names = {key: name.removesuffix(".npy") + named for key, name in TREE_FILEMAP.model_dump(exclude_none=True).items()}
    source = TreeSource(tmp_path, FileMap(**names))
    assert_same_arrays(source.load("run_1").fields, expected_fields())


@pytest.mark.parametrize("kind", ["npy", "pt", "pt of the older format"])
def test_a_large_file_is_mapped_and_not_loaded(disk_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("noether.data.zarr_store.sources.mapped_files._MAP_BYTES", 100_000)
    points, pressure = np.random.default_rng(0).normal(size=(10_000, 3)), np.zeros(10_000, np.float32)
    (disk_path / "run_1").mkdir()
    arrays: dict[str, NDArray[Any]] = {"points": points, "pressure": pressure}
    for name, values in arrays.items():
        path = disk_path / "run_1" / f"{name}.{kind[:3].strip()}"
        if kind == "npy":
            np.save(path, values)
        else:
            torch.save(torch.from_numpy(values), path, _use_new_zipfile_serialization=kind == "pt")
    source = TreeSource(disk_path, FileMap(surface_position="points.pt", surface_pressure="pressure.pt"))
    fields, described = source.load("run_1").fields, source.describe("run_1")
    assert_same_arrays(fields, {"surface_position": points, "surface_pressure": pressure})
    mapped = {name for name, values in fields.items() if map_again(values) is not None}
    assert mapped == {name for name, one in described.items() if not one.in_memory}
    assert mapped == ({"surface_position"} if kind in ("npy", "pt") else set())


@pytest.mark.parametrize(("named", "other"), [(".npy", ".pt"), (".pt", ".npy")])
def test_the_named_file_comes_before_the_other_format(tmp_path: Path, named: str, other: str) -> None:
    save_array(tmp_path / "run_1" / f"points{named}", np.full((4, 3), 1.0))
    save_array(tmp_path / "run_1" / f"points{other}", np.full((4, 3), 2.0))
    source = TreeSource(tmp_path, FileMap(surface_position=f"points{named}"))
    assert (source.load("run_1").fields["surface_position"] == 1.0).all()


def test_two_fields_can_differ_only_in_the_suffix(tmp_path: Path) -> None:
    save_array(tmp_path / "run_1" / "points.npy", np.full((4, 3), 1.0))
    save_array(tmp_path / "run_1" / "points.pt", np.full((5, 3), 2.0))
    source = TreeSource(tmp_path, FileMap(surface_position="points.npy", volume_position="points.pt"))
    fields = source.load("run_1").fields
    assert (fields["surface_position"] == 1.0).all()
    assert (fields["volume_position"] == 2.0).all()


def test_optional_fields_that_all_samples_have_are_kept(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path), TREE_FILEMAP, OPTIONAL)
    assert source.notices == []
    assert source.filemap == TREE_FILEMAP


def test_a_notice_counts_the_samples_that_have_the_domain(tmp_path: Path) -> None:
    """A sample without a surface does not lack a field of the surface."""
    save_runs(tmp_path)
    for file in (tmp_path / "run_1").glob("surface_*"):
        file.unlink()
    shutil.copytree(tmp_path / "run_2", tmp_path / "run_3")
    (tmp_path / "run_2" / "surface_area_vtp.npy").unlink()
    notices = TreeSource(tmp_path, TREE_FILEMAP, OPTIONAL).notices
    assert notices == ["surface_area is left out: 1 of 2 samples lack surface_area_vtp.npy"]


def test_an_optional_field_that_a_sample_lacks_is_left_out(tmp_path: Path) -> None:
    """It is left out of all samples, with a notice."""
    save_runs(tmp_path)
    (tmp_path / "run_2" / "surface_area_vtp.npy").unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP, OPTIONAL)
    assert source.notices == ["surface_area is left out: 1 of 2 samples lack surface_area_vtp.npy"]
    assert source.filemap == TREE_FILEMAP.model_copy(update={"surface_area": None})
    for run in ("run_1", "run_2"):
        expected = expected_fields(run)
        del expected["surface_area"]
        assert_same_arrays(source.load(run).fields, expected)


def test_optional_fields_that_no_sample_has_are_left_out_with_one_notice() -> None:
    source = TreeSource(AHMED, AHMEDML.filemap, AHMEDML.optional)
    assert source.notices == ["not in this source: surface_stl_position, surface_stl_resampled_position"]
    assert source.filemap.surface_position_stl is None


def test_a_sample_can_lack_a_whole_domain(tmp_path: Path) -> None:
    save_runs(tmp_path)
    for file in (tmp_path / "run_2").glob("volume_*"):
        file.unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP)
    assert {field.partition("_")[0] for field in source.load("run_2").fields} == {"surface"}
    assert_same_arrays(source.load("run_1").fields, expected_fields())


def test_a_sample_without_a_domain_keeps_optional_fields_of_others(tmp_path: Path) -> None:
    save_runs(tmp_path)
    for path in (tmp_path / "run_2").glob("volume_*"):
        path.unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP, OPTIONAL)
    assert source.notices == []
    assert "volume_sdf" in source.load("run_1").fields


def test_links_to_directories_are_followed_but_circles_and_dead_links_are_not(tmp_path: Path) -> None:
    save_run(tmp_path / "elsewhere" / "run_1")
    root = tmp_path / "tree"
    root.mkdir()
    (root / "run_1").symlink_to("../elsewhere/run_1")
    (root / "circle").symlink_to(".")
    (root / "dead").symlink_to("nowhere")
    source = TreeSource(root, TREE_FILEMAP)
    assert source.sample_ids() == ["run_1"]
    assert_same_arrays(source.load("run_1").fields, expected_fields("run_1"))


def test_design_parameters_in_an_array_become_an_attribute(tmp_path: Path) -> None:
    save_run(tmp_path / "run_1")
    attributes = TreeSource(tmp_path, TREE_FILEMAP).load("run_1").attributes
    assert list(attributes) == ["design_parameters"]
    np.testing.assert_array_equal(attributes["design_parameters"], np.load(AHMED / "run_1" / "design_parameters.npy"))


def test_design_parameters_in_a_dict_become_an_attribute(tmp_path: Path) -> None:
    save_run(tmp_path / "run_1", suffix=".pt")
    torch.save({"angle": torch.tensor(25.0), "shape": "fastback"}, tmp_path / "run_1" / "design_parameters.pt")
    attributes = TreeSource(tmp_path, TREE_FILEMAP).load("run_1").attributes
    assert attributes == {"design_parameters": {"angle": 25.0, "shape": "fastback"}}


@pytest.mark.parametrize("optional", [frozenset(), OPTIONAL], ids=["required", "optional"])
def test_missing_design_parameters_are_an_error_unless_optional(tmp_path: Path, optional: frozenset[str]) -> None:
    save_run(tmp_path / "run_1")
    (tmp_path / "run_1" / "design_parameters.npy").unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP, optional)
    if optional:
        assert source.load("run_1").attributes == {}
    else:
        with pytest.raises(SourceError, match=r"sample 'run_1': the file design_parameters\.npy is missing; add it"):
            source.load("run_1")


def memory_copy(request: pytest.FixtureRequest, tree: Path) -> tuple[str, dict[str, Any]]:
    root = f"memory://{tree.parent.name}/tree"
    fsspec.filesystem("memory").put(str(tree), root, recursive=True)
    return root, {}


def s3_copy(request: pytest.FixtureRequest, tree: Path) -> tuple[str, dict[str, Any]]:
    server: S3Server = request.getfixturevalue("s3_server")
    root: str = request.getfixturevalue("s3_root")
    client = {key: value for key, value in server.s3fs_options.items() if key != "driver"}
    fsspec.filesystem("s3", **client).put(str(tree), root, recursive=True)
    return root, server.obstore_options


def s3_copy_by_s3fs(request: pytest.FixtureRequest, tree: Path) -> tuple[str, dict[str, Any]]:
    root, _ = s3_copy(request, tree)
    server: S3Server = request.getfixturevalue("s3_server")
    return root, server.s3fs_options


@pytest.mark.parametrize("copy", few_fast([memory_copy, s3_copy, s3_copy_by_s3fs], others=pytest.mark.s3))
def test_a_remote_tree_equals_the_local_one(request: pytest.FixtureRequest, tmp_path: Path, copy: Any) -> None:
    save_run(tmp_path / "tree" / "preprocessed" / "part" / "run_1")
    save_run(tmp_path / "tree" / "preprocessed" / "run_2", "run_2", suffix=".pt")
    root, options = copy(request, tmp_path / "tree")
    source = TreeSource(root, TREE_FILEMAP, storage_options=options)
    assert source.sample_ids() == ["part/run_1", "run_2"]
    assert_same_arrays(source.load("part/run_1").fields, expected_fields("run_1"))
    assert_same_arrays(source.load("run_2").fields, expected_fields("run_2"))


def test_a_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path), TREE_FILEMAP, OPTIONAL)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.sample_ids() == source.sample_ids()
    assert copy.filemap == source.filemap
    assert_same_arrays(copy.load("run_2").fields, expected_fields("run_2"))


@pytest.mark.parametrize(
    ("filemap", "message"),
    [
        pytest.param(FileMap(), "names no field; set at least one <domain>_position", id="no field"),
        pytest.param(FileMap(surface_pressure="p.npy"), "domain 'surface' has no position", id="no position"),
        pytest.param(
            FileMap(surface_position="a.npy", volume_position="a.npy"),
            r"got 'a\.npy' for both surface_position and volume_position",
            id="one file for two fields",
        ),
        pytest.param(
            FileMap(surface_position="a.vtp"),
            r"surface_position: .* ends in \.pt or \.npy or \.npz, got 'a\.vtp'",
            id="vtp",
        ),
        pytest.param(
            FileMap(surface_position="mesh/a.npy"),
            r"got 'mesh/a\.npy'; name a file in each sample's directory, without a path",
            id="a path",
        ),
    ],
)
def test_an_impossible_file_map_is_refused(tmp_path: Path, filemap: FileMap, message: str) -> None:
    save_run(tmp_path / "run_1")
    with pytest.raises(ArgumentError, match=f"^file map: .*{message}"):
        TreeSource(tmp_path, filemap)
