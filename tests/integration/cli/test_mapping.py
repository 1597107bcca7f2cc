"""``noether-zarr convert --mapping``: from the files of a solver to a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.sources import MappedSource, find_mapping
from support.lanes import few_fast
from support.meshes import ENSIGHT, MESHES, VTK, copy_case, load_cut
from support.trees import call

EXTRA = """
name = "with-extra"
id = "{case}"
[attributes]
solver = "OpenFOAM"
[domains.surface]
file = "{case}/surface.vtp"
association = "cell"
[domains.surface.fields]
pressure = "p"
tau = { array = "wallShearStress", width = 3, units = "m2/s2" }
[domains.volume]
file = "{case}/volume.vtu"
association = "cell"
[domains.volume.fields]
row = { array = "row" }
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(EXTRA)
    return path


@pytest.mark.parametrize("workers", few_fast([0, 2]))
def test_fields_of_a_mapping_are_stored_by_any_number_of_processes(tmp_path: Path, mapping: Path, workers: int) -> None:
    ran = call(
        "convert", VTK, tmp_path / "store", "--mapping", mapping, "--workers", workers, "--values-dtype", "float32"
    )
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert reader.manifest.dataset_name == "with-extra"
    expected = load_cut("vtk")
    stored = reader.read_arrays("run_1", order="original")
    assert stored.keys() == {"surface_position", "surface_pressure", "surface_tau", "volume_position", "volume_row"}
    np.testing.assert_array_equal(stored["surface_tau"], expected["surface_friction"])
    np.testing.assert_array_equal(stored["volume_row"], expected["volume_row"])
    assert reader.attributes("run_1") == {"solver": "OpenFOAM", "units": {"surface_tau": "m2/s2"}}


@pytest.mark.parametrize(("kind", "root"), [("openfoam-vtk", VTK), ("openfoam-ensight", ENSIGHT)])
def test_a_mapping_that_comes_with_the_library_is_found_by_name(tmp_path: Path, kind: str, root: Path) -> None:
    ran = call("convert", root, tmp_path / "store", "--mapping", kind, "--workers", 0)
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert reader.manifest.dataset_name == kind
    assert reader.read_arrays("run_1", fields=["volume_sdf"])["volume_sdf"].shape == (1976,)


@pytest.mark.parametrize(
    ("name", "files", "sample_id"),
    [
        ("ahmedml-raw", ["run_12/boundary_12.vtp", "run_12/volume_12.vtu"], "run_12"),
        ("drivaerml-raw", ["run_3/boundary_3.vtp", *(f"run_3/volume_3.vtu.0{i}.part" for i in (0, 1))], "run_3"),
        ("drivaerstar-raw", ["case_E/0042/case/E_0042.case", "case_E/0042/case/E_0042.geo"], "E_0042"),
        (
            "shapenet-car-raw",
            [f"param0/6f0a/{file}" for file in ("quadpress_smpl.vtk", "press.npy", "hexvelo_smpl.vtk", "velo.npy")],
            "param0/6f0a",
        ),
    ],
)
def test_the_files_of_a_public_dataset_are_found(tmp_path: Path, name: str, files: list[str], sample_id: str) -> None:
    for file in [*files, "README.md"]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    source = MappedSource(tmp_path, find_mapping(name))
    assert (source.sample_ids(), source.notices) == ([sample_id], [])


def test_a_sample_without_an_array_fails_alone(tmp_path: Path, mapping: Path) -> None:
    """The array is named, and the other samples are converted."""
    copy_case("vtk", tmp_path / "source")
    copy_case("vtk", tmp_path / "more").rename(tmp_path / "source" / "run_2")
    surface = tmp_path / "source" / "run_2" / "surface.vtp"
    surface.write_text(surface.read_text().replace('"wallShearStress"', '"wallShear"'))
    ran = call("convert", tmp_path / "source", tmp_path / "store", "--mapping", mapping, "--workers", 0)
    assert ran.code == 3
    assert (
        "field surface_tau: run_2/surface.vtp has no array 'wallShearStress' in its cell data (it has cell data: "
        in ran.stderr
    )
    assert "did you mean 'wallShear'?" in ran.stderr
    assert list(ZarrChunkReader(tmp_path / "store").manifest.samples) == ["run_1"]


def test_missing_domains_are_noted_before_the_conversion(tmp_path: Path, mapping: Path) -> None:
    (copy_case("vtk", tmp_path / "source") / "volume.vtu").unlink()
    ran = call("convert", tmp_path / "source", tmp_path / "store", "--mapping", mapping, "--workers", 0)
    assert ran.code == 0, ran.output
    assert "note: 1 of 1 samples, such as 'run_1', lack the domain volume" in ran.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--mapping", "none.toml"], "mapping none.toml cannot be read", id="no file"),
        pytest.param(["--mapping", "openfoam"], "did you mean 'openfoam-vtk'", id="unknown name"),
        pytest.param(["--mapping", "openfoam-vtk", "--preset", "ahmedml"], "got --preset and --mapping", id="two"),
    ],
)
def test_a_wrong_mapping_is_wrong_usage(tmp_path: Path, options: list[str], message: str) -> None:
    ran = call("convert", MESHES, tmp_path / "store", *options)
    assert ran.code == 2
    assert ran.stderr.startswith("error: ")
    assert message in ran.stderr
    assert not (tmp_path / "store").exists()
