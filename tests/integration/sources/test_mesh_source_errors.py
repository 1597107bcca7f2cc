"""Errors for broken meshes, and for meshes that lack arrays, parts or faces that a mapping needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pyvista

from noether.data.zarr_store.errors import MissingDependencyError, SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection.contents import read_contents
from noether.data.zarr_store.sources.meshes import MeshFile
from support.meshes import ENSIGHT, VTK, copy_case, cut_mapping, load_cut, surface_mapping

CELLS = 'association = "cell"'


def cut_short(path: Path, keep: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def cut_surface_short(case: Path) -> None:
    cut_short(case / "surface.vtp")


def empty_surface(case: Path) -> None:
    (case / "surface.vtp").write_bytes(b"")


def text_as_surface(case: Path) -> None:
    (case / "surface.vtp").write_text("p 1.0")


def volume_as_surface(case: Path) -> None:
    (case / "surface.vtp").write_bytes((case / "volume.vtu").read_bytes())


def cut_legacy_short(case: Path) -> None:
    mesh: Any = pyvista.read(case / "surface.vtp")
    mesh.save(case / "surface.vtk")
    cut_short(case / "surface.vtk", 0.99)


def without_geometry(case: Path) -> None:
    (case / "geometry").unlink()


def cut_geometry_short(case: Path) -> None:
    cut_short(case / "geometry")


def without_variable(case: Path) -> None:
    (case / "data" / "p.500").unlink()


def cut_variable_short(case: Path) -> None:
    cut_short(case / "data" / "p.500", 0.99)


def text_as_case(case: Path) -> None:
    (case / "run_1.case").write_text("-")


@pytest.mark.parametrize(
    ("name", "break_case", "message"),
    [
        pytest.param("surface.vtp", cut_surface_short, "Error parsing XML .* no element found", id="cut short"),
        pytest.param("surface.vtp", empty_surface, "Error parsing XML .* no element found", id="empty file"),
        pytest.param("surface.vtp", text_as_surface, "Error parsing XML .* syntax error", id="text"),
        pytest.param("surface.vtp", volume_as_surface, "Cannot find PolyData element", id="another format"),
        pytest.param("surface.vtk", cut_legacy_short, "Error reading binary data", id="legacy, cut short"),
    ],
)
def test_a_broken_vtk_file_is_named_with_the_vtk_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, break_case: Callable[[Path], None], message: str
) -> None:
    break_case(copy_case("vtk", tmp_path))
    source = MappedSource(tmp_path, surface_mapping(file=f"{{case}}/{name}", domain=CELLS))
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/{name} cannot be read \({message}.*make the file"):
        source.load("run_1")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("break_case", "message"),
    [
        pytest.param(without_geometry, "names geometry, which does not exist; add the file", id="no geometry"),
        pytest.param(cut_geometry_short, r"cannot be read \(geometry, byte [\d,]+: expected", id="geometry cut short"),
        pytest.param(without_variable, r"names data/p\.500, which does not exist; add the file", id="no variable"),
        pytest.param(cut_variable_short, r"cannot be read \(data/p\.500, byte [\d,]+: exp", id="variable cut short"),
        pytest.param(text_as_case, r"cannot be read \(Error determining EnSight", id="text"),
    ],
)
def test_a_broken_ensight_case_is_named_with_the_file(
    tmp_path: Path, break_case: Callable[[Path], None], message: str
) -> None:
    break_case(copy_case("ensight", tmp_path))
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/run_1\.case {message}"):
        load_cut("ensight", root=tmp_path)


def test_a_mesh_without_points_is_refused(tmp_path: Path) -> None:
    pyvista.PolyData().save(copy_case("vtk", tmp_path) / "surface.vtp")
    with pytest.raises(SourceError, match=r"run_1/surface\.vtp holds no mesh"):
        MappedSource(tmp_path, surface_mapping('normals = { derive = "normals" }', domain=CELLS)).load("run_1")


@pytest.mark.parametrize(
    ("array", "domain", "message", "way_out"),
    [
        pytest.param("pMean", CELLS, "no array 'pMean' in its cell data", "map one of these arrays", id="nothing near"),
        pytest.param("wallShear", "", "no array 'wallShear'", "did you mean 'wallShearStress'?", id="misspelt"),
        pytest.param(
            "U",
            'association = "point"',
            "no array 'U' in its point data",
            "map one of these arrays",
            id="not at the points",
        ),
    ],
)
def test_a_missing_array_is_named_with_the_existing_ones(array: str, domain: str, message: str, way_out: str) -> None:
    source = MappedSource(VTK, surface_mapping(f'pressure = "{array}"', domain=domain))
    with pytest.raises(SourceError) as caught:
        source.load("run_1")
    there = "(it has cell data: U, p, row, totalPressureCoeff, vorticity, wallShearStress; point data: p)"
    where = "sample 'run_1', field surface_pressure: run_1/surface.vtp"
    assert str(caught.value) == f"{where} has {message} {there}; {way_out}"


def test_a_missing_array_is_reported_before_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MeshFile, "read", lambda *_: pytest.fail("the data were read"))
    with pytest.raises(SourceError, match="has no array 'pMean'"):
        MappedSource(VTK, surface_mapping('pressure = "pMean"')).load("run_1")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param('pressure = "p"', "'p' are both cell data and point data", id="in both"),
        pytest.param('area = { derive = "area" }', "it maps no array", id="no array"),
    ],
)
def test_an_ambiguous_association_is_refused(fields: str, message: str) -> None:
    expected = rf"domain 'surface' can take the cells or the points .*\({message}\); write association = 'cell' or"
    with pytest.raises(SourceError, match=expected):
        MappedSource(VTK, surface_mapping(fields)).load("run_1")


def test_arrays_of_a_domain_need_one_association(tmp_path: Path) -> None:
    mesh: Any = pyvista.Sphere()
    mesh.cell_data["a"], mesh.point_data["b"] = range(mesh.n_cells), range(mesh.n_points)
    (tmp_path / "run_1").mkdir()
    mesh.save(tmp_path / "run_1" / "surface.vtp")
    message = "domain 'surface' have different associations: 'a' cell data, 'b' point data; map only cell data or only"
    with pytest.raises(SourceError, match=message):
        MappedSource(tmp_path, surface_mapping('pressure = "a"\nk = "b"')).load("run_1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            ('parts = { include = ["body"] }', ""),
            "has 3 parts: 'internalMesh', 'ground', 'body'; choose the parts of domain 'surface' in the mapping, "
            "such as parts = {",
            id="no choice",
        ),
        pytest.param(
            ('include = ["body"]', 'include = ["Body"]'),
            "expected {\"include\": [\"Body\"]}, got: 'internalMesh', 'ground', 'body'; correct the parts",
            id="none of that name",
        ),
        pytest.param(
            ('include = ["body"]', 'having = "U", exclude = ["*"]'),
            'no part for domain \'surface\': expected {"exclude": ["*"], "having": "U"}, got',
            id="all excluded",
        ),
    ],
)
def test_a_domain_needs_existing_parts(change: tuple[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=re.escape(message)):
        load_cut("ensight", change)


def test_a_part_that_lacks_an_array_is_named(tmp_path: Path) -> None:
    bare, full = pyvista.Sphere(), pyvista.Sphere()
    full.cell_data["p"] = range(full.n_cells)
    (tmp_path / "run_1").mkdir()
    pyvista.MultiBlock({"bare": bare, "full": full}).save(tmp_path / "run_1" / "s.vtm")
    mapping = surface_mapping(file="{case}/s.vtm", domain='parts = { include = ["*"] }')
    message = "field surface_pressure: run_1/s.vtm: part 'bare' has no array 'p' in its cell data, but other parts do"
    with pytest.raises(SourceError, match=re.escape(message)):
        MappedSource(tmp_path, mapping).load("run_1")


def test_a_vector_instead_of_a_scalar_is_named(tmp_path: Path) -> None:
    mapping = surface_mapping('pressure = "wallShearStress"\nstress = "wallShearStress"')
    message = r"field surface_pressure: expected shape \(n_points, 1\), got \(2041, 3\); write width = 3"
    with pytest.raises(SourceError, match=message):
        MappedSource(VTK, mapping).load("run_1")


def test_a_flat_surface_has_no_outside(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    pyvista.Plane(center=(1e3, 0, 0), direction=(1, 2, 3)).save(tmp_path / "run_1" / "surface.vtp")
    mapping = surface_mapping('normals = { derive = "normals" }', domain=CELLS)
    with pytest.raises(SourceError, match=r"field surface_normals: .* the surface is flat, .* orient = 'winding'"):
        MappedSource(tmp_path, mapping).load("run_1")


def test_unused_points_can_be_dropped_only_from_point_data() -> None:
    mapping = surface_mapping('friction = "wallShearStress"', domain='unused_points = "drop"')
    with pytest.raises(SourceError, match="unused_points = 'drop' is only for point data"):
        MappedSource(VTK, mapping).load("run_1")


@pytest.mark.parametrize("kind", ["vtm", "ensight"])
def test_a_case_that_names_files_outside_of_the_source_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "ensight":
        case = copy_case("ensight", tmp_path / "in")
        (case / "geometry").rename(tmp_path / "geometry")
        text = (case / "run_1.case").read_text()
        (case / "run_1.case").write_text(re.sub(r"(model:.*\s)geometry", r"\1../../geometry", text))
        mapping = cut_mapping("ensight")
    else:
        case = copy_case("vtk", tmp_path / "in")
        (case / "surface.vtp").rename(tmp_path / "surface.vtp")
        text = '<VTKFile type="vtkMultiBlockDataSet" version="1.0"><vtkMultiBlockDataSet><DataSet name="a" '
        (case / "m.vtm").write_text(text + 'file="../../surface.vtp"/></vtkMultiBlockDataSet></VTKFile>')
        mapping = surface_mapping(file="{case}/m.vtm", domain='association = "cell"')
    source = MappedSource(tmp_path / "in", mapping)
    for read in (source.load, source.describe) if kind == "ensight" else (source.load,):
        with pytest.raises(
            SourceError, match=r"^sample 'run_1': run_1/\S+ names the file '\.\./\.\./.* outside of .*/in; move"
        ):
            read("run_1")


def test_a_broken_sample_leaves_others_readable(tmp_path: Path) -> None:
    cut_short(copy_case("vtk", tmp_path) / "surface.vtp")
    copy_case("vtk", tmp_path / "more").rename(tmp_path / "run_2")
    source = MappedSource(tmp_path, cut_mapping("vtk"))
    assert source.sample_ids() == ["run_1", "run_2"]
    assert source.load("run_2").fields


@pytest.mark.parametrize(
    ("library", "fields", "message"),
    [
        pytest.param(
            "pyvista", 'sdf = { derive = "distance", to = "other" }', "distances to faces needs pyvista", id="pyvista"
        ),
        pytest.param(
            "scipy.spatial", 'sdf = { derive = "distance", to = "other" }', "distances needs scipy", id="scipy"
        ),
    ],
)
def test_a_missing_library_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, library: str, fields: str, message: str
) -> None:
    domain = f'{CELLS}\n[domains.other]\nfile = "{{case}}/surface.vtp"\n{CELLS}'
    source = MappedSource(VTK, surface_mapping(fields, domain=domain))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"{message}.* pip install 'noether-zarr-store\[mesh\]'"):
        source.load("run_1")


def test_files_that_vtk_reads_need_pyvista(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy_case("ensight", tmp_path) / "geometry").write_text("text\n")
    source = MappedSource(tmp_path, cut_mapping("ensight"))
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(MissingDependencyError, match=r"reading \.case files needs pyvista.* pip install 'noether"):
        source.load("run_1")


@pytest.mark.parametrize(
    ("kind", "root", "file"), [("vtk", VTK, "volume.vtu"), ("ensight", ENSIGHT, "run_1.case")], ids=["XML", "EnSight"]
)
def test_streamed_files_need_no_library(monkeypatch: pytest.MonkeyPatch, kind: str, root: Path, file: str) -> None:
    for library in ("pyvista", "vtkmodules", "scipy"):
        monkeypatch.setitem(sys.modules, library, None)
    assert len(MappedSource(root, cut_mapping(kind)).load("run_1").fields["surface_normals"]) > 0
    assert read_contents(root / "run_1" / file, file).parts[0].dimension == 3


@pytest.mark.slow
def test_listing_samples_needs_no_mesh_library() -> None:
    code = """
import sys
sys.modules["pyvista"] = sys.modules["scipy"] = sys.modules["torch"] = None
from noether.data.zarr_store.sources import MappedSource, find_mapping
print(MappedSource(sys.argv[1], find_mapping("openfoam-vtk")).sample_ids())
"""
    done = subprocess.run([sys.executable, "-c", code, VTK], capture_output=True, text=True, check=True)
    assert done.stdout == "['run_1']\n"
