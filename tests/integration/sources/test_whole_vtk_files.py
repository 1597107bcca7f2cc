"""VTK files that only VTK reads, whole: which files these are, and the warnings for them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import vtk

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import WholeFileWarning
from noether.data.zarr_store.sources import MappedSource, streamed_files
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_files import open_streamed
from support.bad_sources import WarningSource
from support.trees import TREE_FILEMAP, save_runs
from support.vtk_bytes import cube_arrays, vtu_bytes

MAPPING = (
    'name = "v"\nid = "{case}"\n[domains.volume]\nfile = "{case}/volume.vtu"\nassociation = "cell"\n'
    '[domains.volume.fields]\npressure = "p"\n'
)
OLD_GHOSTS = "vtkGhostLevels"


def save(root: Path, other: str, sample: str = "run_1") -> MappedSource:
    """Write a grid with pressure as cell data, and another array of zeros: of bits if its name is ``"bits"``."""
    grid = pv.ImageData(dimensions=(4, 4, 4)).cast_to_unstructured_grid()
    grid.cell_data["p"] = np.arange(27, dtype=np.float32)
    array = vtk.vtkBitArray() if other == "bits" else vtk.vtkUnsignedCharArray()
    array.SetName(other)
    array.SetNumberOfTuples(27)
    for cell in range(27):
        array.SetTuple1(cell, 0)
    grid.GetCellData().AddArray(array)
    path = root / sample / "volume.vtu"
    path.parent.mkdir(parents=True)
    grid.save(path)
    return MappedSource(root, parse_mapping(MAPPING, "mapping test.toml"))


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_files, "_LARGE_BYTES", 0)


@pytest.mark.usefixtures("all_large")
def test_an_array_of_bits_that_is_not_mapped_is_skipped(tmp_path: Path) -> None:
    source = save(tmp_path, "bits")  # a WholeFileWarning would be an error
    np.testing.assert_array_equal(source.load("run_1").fields["volume_pressure"], np.arange(27))
    described = source.describe("run_1")
    assert described is not None
    assert described["volume_pressure"].dtype == np.float32
    mesh = open_streamed(tmp_path / "run_1" / "volume.vtu", "here", "")
    assert "bits" in mesh.names["cell"]
    with pytest.raises(NotStreamedError, match="array 'bits'"):
        mesh.read({"cell": ["bits"], "point": []})


@pytest.mark.usefixtures("all_large")
def test_a_large_file_that_is_read_whole_warns_once(tmp_path: Path) -> None:
    source = save(tmp_path, OLD_GHOSTS)
    save(tmp_path, OLD_GHOSTS, "run_2")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for sample_id in source.sample_ids():
            np.testing.assert_array_equal(source.load(sample_id).fields["volume_pressure"], np.arange(27))
    [warning] = caught
    assert warning.category is WholeFileWarning
    assert str(warning.message).startswith(
        "{case}/volume.vtu: VTK reads the whole file into memory, because its ghosts"
    )


def test_a_small_file_is_read_whole_without_a_warning(tmp_path: Path) -> None:
    save(tmp_path, OLD_GHOSTS).load("run_1")


def test_a_plan_counts_the_memory_of_a_whole_file(tmp_path: Path) -> None:
    parts = cube_arrays(40)
    parts.arrays["CellData"]["q"] = parts.arrays["CellData"]["p"]
    path = tmp_path / "run_1" / "volume.vtu"
    path.parent.mkdir()
    path.write_bytes(vtu_bytes(parts).replace(b'Name="q"', b'Name="p"'))  # two arrays of one name
    described = MappedSource(tmp_path, parse_mapping(MAPPING, "mapping test.toml")).describe("run_1")
    assert described is not None
    assert described["volume_position"].in_memory
    assert described["volume_position"].loading_bytes == 40 * 150


def test_a_worker_prints_a_warning_as_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = WarningSource(save_runs(tmp_path / "in"), TREE_FILEMAP)
    report = convert(source, ZarrStoreWriter(tmp_path / "out", source.filemap, "v"), workers=1)
    assert not report.having("failed")
    assert "warning: this file is large\n" in capfd.readouterr().err
