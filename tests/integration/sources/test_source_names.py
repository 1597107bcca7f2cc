"""Unusual names of solvers: suffixes in capitals, brackets in names of parts, blanks in names of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista
import torch

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.export.meshes import pick_parts, read_parts
from noether.data.zarr_store.sources import MappedSource, TreeSource
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ensight_files import EnSightPart, write_ensight
from support.meshes import VTK, surface_mapping
from support.trees import call

N_FACES = 2041


def surface() -> Any:
    return pyvista.read(VTK / "run_1" / "surface.vtp")


def save_in_capitals(mesh: Any, path: Path) -> None:
    mesh.save(path.with_suffix(path.suffix.lower()))
    path.with_suffix(path.suffix.lower()).rename(path)


def save_blocks(path: Path) -> None:
    pyvista.MultiBlock({"body": surface()}).save(path.with_suffix(".vtm"))
    path.with_suffix(".vtm").rename(path)


def save_case(path: Path) -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    part = EnSightPart("Body 1[2]", np.eye(4, 3), "tria3", faces, {"p": np.array([1.0, 2.0])})
    write_ensight(path.with_suffix(".case"), [part])
    path.with_suffix(".case").rename(path)


def save_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["surface/points"], file["surface/p"] = np.eye(4, 3), np.arange(4.0)


def save_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, surface_points=np.eye(4, 3), surface_p=np.arange(4.0))


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        (".VTP", lambda path: save_in_capitals(surface(), path)),
        (".VTU", lambda path: save_in_capitals(surface().cast_to_unstructured_grid(), path)),
        (".VTK", lambda path: save_in_capitals(surface(), path)),
        (".STL", lambda path: save_in_capitals(surface().triangulate(), path)),
        (".VTM", save_blocks),
        (".CASE", save_case),
        (".encas", save_case),
        (".ENCAS", save_case),
        (".H5", save_hdf5),
        (".NPZ", save_npz),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_suffix_may_be_in_capitals(tmp_path: Path, suffix: str, save: Callable[[Path], None]) -> None:
    for run in ("run_1", "run_2"):
        (tmp_path / run).mkdir()
        save(tmp_path / run / f"body{suffix}")
    inspection = inspect(tmp_path)
    assert [file.key for file in inspection.files] == [f"run_1/body{suffix}"]
    fields = MappedSource(tmp_path, parse_mapping(inspection.mapping, "mapping")).load("run_2").fields
    assert ("surface_pressure" in fields) == (suffix != ".STL")


def test_a_mapping_finds_other_spellings_of_suffixes(tmp_path: Path) -> None:
    for name, values in {"run_1.VTP": 1.0, "run_2.vtp": 2.0, "run_2.VTP": 3.0}.items():
        mesh = pyvista.Sphere(theta_resolution=5, phi_resolution=5)
        mesh.cell_data["p"] = np.full(mesh.n_cells, values)
        mesh.save(tmp_path / "new.vtp")
        (tmp_path / "new.vtp").rename(tmp_path / name)
    source = MappedSource(tmp_path, surface_mapping(file="{case}.vtp"))
    assert source.sample_ids() == ["run_1", "run_2"]
    found = {name: source.load(name).fields["surface_pressure"].max() for name in source.sample_ids()}
    assert found == {"run_1": 1.0, "run_2": 2.0}, "of two files, the one that is written as in the mapping"


def test_a_tensor_may_have_its_suffix_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    torch.save(torch.rand(5, 3), tmp_path / "run_1" / "x.PT")
    with (tmp_path / "run_1" / "p.NPY").open("wb") as file:
        np.save(file, np.arange(5.0))
    fields = TreeSource(tmp_path, FileMap(surface_position="x.pt", surface_pressure="p.pt")).load("run_1").fields
    assert {name: values.shape for name, values in fields.items()} == {
        "surface_position": (5, 3),
        "surface_pressure": (5,),
    }


def test_a_proposed_mapping_takes_brackets_literally(tmp_path: Path) -> None:
    (tmp_path / "in" / "run_1").mkdir(parents=True)
    boundary = pyvista.MultiBlock({"wall[car]": surface(), "wallc": pyvista.Plane()})
    blocks = pyvista.MultiBlock({"internal": pyvista.ImageData(dimensions=(3, 3, 3)), "boundary [1]": boundary})
    blocks.save(tmp_path / "in" / "run_1" / "flow.vtm")
    ran = call("inspect", tmp_path / "in", "--mapping", tmp_path / "mapping.toml")
    assert ran.code == 0, ran.output
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "mapping.toml", "--workers", 0)
    assert ran.code == 0, ran.output
    entry = ZarrChunkReader(tmp_path / "store").manifest.samples["run_1"]
    assert entry.domains["surface"].n_points == N_FACES


def test_brackets_in_names_of_parts_are_literal(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    blocks = pyvista.MultiBlock({"wall[car]": surface(), "wallc": pyvista.Sphere(), "wall[c]": pyvista.Sphere()})
    blocks.save(tmp_path / "run_1" / "s.vtm")

    def count(parts: str) -> int:
        text = f'name = "s"\nid = "{{case}}"\n[domains.surface]\nfile = "{{case}}/s.vtm"\nassociation = "cell"\n{parts}'
        fields = MappedSource(tmp_path, parse_mapping(text, "mapping")).load("run_1").fields
        return len(fields["surface_position"])

    n_sphere = pyvista.Sphere().n_cells
    assert count('parts = { include = ["wall[car]"] }') == N_FACES
    assert count('parts = { exclude = ["wall[car]"] }') == 2 * n_sphere
    assert count('parts = { include = ["*[*]"] }') == N_FACES + n_sphere
    picked = pick_parts(read_parts(tmp_path / "run_1" / "s.vtm"), ["wall[car]"])
    assert [part.name for part in picked] == ["wall[car]"]


@pytest.mark.parametrize("quote", ['"', ""], ids=["quoted", "bare"])
def test_files_of_a_case_may_have_blanks_in_their_names(tmp_path: Path, quote: str) -> None:
    (tmp_path / "run_1").mkdir()
    save_case(tmp_path / "run_1" / "my body.case")
    case = tmp_path / "run_1" / "my body.case"
    text = case.read_text().replace("my body.geo", f"{quote}my body.geo{quote}  ")
    case.write_text(text.replace("my body.p", f"{quote}my body.p{quote}"))
    [file] = inspect(case).files
    assert file.problem is None
    assert [part.name for part in file.parts] == ["Body 1[2]"]
    assert [(one.name, one.maximum) for one in file.arrays if one.association == "cell"] == [("p", 2.0)]
