"""Sources of a subset of the fields: other fields are not read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource, SelectiveSource, TreeSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.meshes import VTK, cut_mapping, load_cut
from support.trees import TREE_FILEMAP, assert_same_arrays, save_runs

MAPPING = """
name = "arrays"
id = "{n}"
[attributes]
inflow = { file = "{n}/inflow.npy" }
[domains.volume.fields]
position = { file = "{n}/x.npy" }
pressure = { file = "{n}/p.npy", units = "Pa" }
cp = { file = "{n}/cp.npy", units = "1" }
[domains.surface.fields]
position = { file = "{n}/s.npy" }
pressure = { file = "{n}/sp.npy" }
sdf = { derive = "distance", to = "volume", method = "positions" }
"""


def mapped(root: Path) -> MappedSource:
    for name in ("x", "s"):
        (root / "1").mkdir(parents=True, exist_ok=True)
        np.save(root / "1" / f"{name}.npy", np.random.default_rng(len(name)).random((4, 3)))
    for name in ("p", "cp", "sp", "inflow"):
        np.save(root / "1" / f"{name}.npy", np.arange(4.0))
    return MappedSource(root, parse_mapping(MAPPING, "mapping"))


def test_a_tree_selects_fields_and_their_positions(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path), TREE_FILEMAP)
    assert isinstance(source, SelectiveSource)
    whole = source.load("run_2").fields
    for file in ("surface_wallshearstress", "volume_cell_position", "design_parameters"):
        (tmp_path / "run_2" / f"{file}.npy").unlink()
    sample = pickle.loads(pickle.dumps(source.only(["surface_pressure"]))).load("run_2")
    assert_same_arrays(sample.fields, {field: whole[field] for field in ("surface_position", "surface_pressure")})
    assert sample.attributes == {}


def test_a_selected_tree_has_the_samples_with_its_domains(tmp_path: Path) -> None:
    save_runs(tmp_path)
    for file in (tmp_path / "run_1").glob("volume*"):
        file.unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP)
    assert source.only(["volume_velocity"]).sample_ids() == ["run_2"]
    assert source.sample_ids() == ["run_1", "run_2"]


@pytest.mark.parametrize(("file", "is_same"), [("surface_pressure", True), ("surface_area_vtp", False)])
def test_a_selected_tree_changes_only_with_its_files(tmp_path: Path, file: str, is_same: bool) -> None:
    before = TreeSource(save_runs(tmp_path), TREE_FILEMAP).only(["surface_area"])
    (tmp_path / "run_1" / f"{file}.npy").write_bytes(b"other")
    after = TreeSource(tmp_path, TREE_FILEMAP).only(["surface_area"])
    assert (before.fingerprint("run_1") == after.fingerprint("run_1")) == is_same


def test_a_mapping_selects_fields_and_their_positions(tmp_path: Path) -> None:
    source = mapped(tmp_path)
    assert isinstance(source, SelectiveSource)
    whole = source.load("1").fields
    for file in ("p", "s", "sp", "inflow"):
        (tmp_path / "1" / f"{file}.npy").unlink()
    narrowed = pickle.loads(pickle.dumps(source.only(["volume_cp"])))
    sample = narrowed.load("1")
    assert_same_arrays(sample.fields, {field: whole[field] for field in ("volume_position", "volume_cp")})
    assert sample.attributes == {"units": {"volume_cp": "1"}}
    assert narrowed.field_attributes == {"volume_cp": {"units": "1"}}


def test_a_selected_distance_includes_its_target_domain(tmp_path: Path) -> None:
    source = mapped(tmp_path)
    whole = source.load("1").fields["surface_sdf"]
    for file in ("p", "cp", "sp"):
        (tmp_path / "1" / f"{file}.npy").write_bytes(b"broken")
    np.testing.assert_array_equal(source.only(["surface_sdf"]).load("1").fields["surface_sdf"], whole)


def test_unselected_arrays_of_a_mesh_are_not_loaded() -> None:
    sample = MappedSource(VTK, cut_mapping("vtk")).only(["volume_velocity"]).load("run_1")
    assert sample.fields.keys() == {"volume_position", "volume_velocity"}
    np.testing.assert_array_equal(sample.fields["volume_velocity"], load_cut("vtk")["volume_velocity"])


def test_a_file_that_a_selected_field_lacks_is_named(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path), TREE_FILEMAP).only(["surface_pressure"])
    (tmp_path / "run_1" / "surface_pressure.npy").unlink()
    narrowed = TreeSource(tmp_path, TREE_FILEMAP).only(["surface_pressure"])
    assert narrowed.sample_ids() == source.sample_ids()
    with pytest.raises(SourceError, match=r"sample 'run_1': domain 'surface' lacks the file surface_pressure\.npy"):
        narrowed.load("run_1")


@pytest.mark.parametrize("field", ["surface_area", "volume_sdf", "volume_vorticity"])
def test_the_association_is_derived_from_all_arrays(field: str) -> None:
    """The mapping has no association, and the selected field is computed or in a domain that other arrays decide."""
    changes = [
        ('association = "cell"\n', ""),
        ('association = "cell"\n', ""),
        ('vorticity = "vorticity"', 'vorticity = "vorticity"\nsdf = { derive = "distance", to = "surface" }'),
    ]
    source = MappedSource(VTK, cut_mapping("vtk", *changes))
    whole = source.load("run_1").fields
    sample = source.only([field]).load("run_1").fields
    for name in (field, field.partition("_")[0] + "_position"):
        np.testing.assert_array_equal(sample[name], whole[name])
