"""Formats that are known but not read: errors name the format and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import pyvista

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.trees import call

FORMATS = {
    "flow.foam": ("an OpenFOAM case", "foamToVTK"),
    "flow.cas": ("a Fluent file", "EnSight Case Gold"),
    "flow.dat": ("a Fluent or Tecplot file", "EnSight Case Gold"),
    "flow.cas.gz": ("a Fluent file", "EnSight Case Gold"),
    "flow.cas.h5": ("a Fluent file", "EnSight Case Gold"),
    "flow.DAT.H5": ("a Fluent file", "EnSight Case Gold"),
    "flow.pvd": ("a list of time steps", "the .vtu file of the last step"),
    "flow.exo": ("an Exodus file", "ParaView"),
    "flow.e": ("an Exodus file", "ParaView"),
}
MAPPING = """
name = "unread"
id = "{{case}}"
[domains.volume]
file = "{{case}}/{file}"
[domains.volume.fields]
position = "points"
"""


def save(path: Path) -> None:
    """Write a file of a format by its suffix; HDF5 files hold arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() != ".h5":
        path.write_bytes(b"")
        return
    with h5py.File(path, "w") as file:
        file["meshes/1/nodes/coords/1"] = np.eye(4, 3)


@pytest.mark.parametrize("as_directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("name", FORMATS)
def test_inspect_names_the_format_and_the_remedy(tmp_path: Path, name: str, as_directory: bool) -> None:
    save(tmp_path / "run_1" / name)
    ran = call("inspect", tmp_path if as_directory else tmp_path / "run_1" / name)
    what, way = FORMATS[name]
    assert ran.code == 1
    assert f"{name} is {what}, which is not read; " in ran.stderr
    assert way in ran.stderr


@pytest.mark.parametrize("name", FORMATS)
def test_convert_names_the_format_of_a_file_in_the_mapping(tmp_path: Path, name: str) -> None:
    save(tmp_path / "in" / "run_1" / name)
    (tmp_path / "m.toml").write_text(MAPPING.format(file=name))
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml")
    what, way = FORMATS[name]
    assert ran.code == 2
    assert f"mapping: domain 'volume': '{{case}}/{name}' is {what}, which is not read; " in ran.stderr
    assert way in ran.stderr


@pytest.mark.parametrize("arguments", [("--mapping", "openfoam-vtk"), ("--preset", "ahmedml")], ids=["mapping", "tree"])
def test_a_source_without_samples_reports_unread_files(tmp_path: Path, arguments: tuple[str, str]) -> None:
    save(tmp_path / "in" / "run_1" / "run_1.foam")
    ran = call("convert", tmp_path / "in", tmp_path / "store", *arguments)
    assert ran.code == 1
    assert re.search(r"no sample found among 1 files, .*run_1/run_1\.foam is an OpenFOAM case, .*foamToVTK", ran.stderr)


def test_a_matched_fluent_file_is_not_read_as_hdf5_arrays(tmp_path: Path) -> None:
    save(tmp_path / "run_1" / "flow.cas.h5")
    source = MappedSource(tmp_path, parse_mapping(MAPPING.format(file="*.h5"), "mapping"))
    for use in (source.load, source.describe):
        with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/flow\.cas\.h5 is a Fluent file, which is not"):
            use("run_1")


def test_inspect_shows_read_and_unread_files(tmp_path: Path) -> None:
    save(tmp_path / "run_1" / "flow.foam")
    save(tmp_path / "run_1" / "forces.dat")
    pyvista.Sphere().save(tmp_path / "run_1" / "body.vtp")
    found = inspect(tmp_path)
    assert [file.key for file in found.files] == ["run_1/body.vtp"]
    [notice] = found.notices
    ran = call("inspect", tmp_path)
    assert f"not read: {notice}" in ran.output
    assert notice.startswith("run_1/flow.foam is an OpenFOAM case, which is not read; run foamToVTK")
