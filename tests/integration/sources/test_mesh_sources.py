"""Fields from VTK, EnSight and STL files equal the solver's fields, in every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.ensight_gold import GoldMesh
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.mesh_part import MeshPart
from noether.data.zarr_store.sources.meshes import MeshFile
from noether.data.zarr_store.sources.vtk_xml import StreamedMesh
from support.meshes import (
    ENSIGHT,
    VTK,
    assert_close,
    copy_case,
    cut_mapping,
    in_rows_of_run_1,
    load_cut,
    surface_mapping,
)

COMPUTED = ["surface_position", "surface_normals", "surface_area", "volume_position"]
READ = ["surface_pressure", "surface_friction", "volume_pressure", "volume_velocity", "volume_vorticity"]
SURFACE_VTP = VTK / "run_1" / "surface.vtp"


@pytest.fixture(scope="module", params=["vtk", "ensight"])
def fields(request: pytest.FixtureRequest) -> dict[str, NDArray[Any]]:
    return load_cut(request.param)


def read_surface() -> Any:
    return pyvista.read(SURFACE_VTP)


def load_surface(root: Path, *arguments: str, **settings: str) -> dict[str, NDArray[Any]]:
    return MappedSource(root, surface_mapping(*arguments, **settings)).load("run_1").fields


def save_as(root: Path, name: str, mesh: Any) -> Path:
    (root / "run_1").mkdir(exist_ok=True)
    mesh.save(root / "run_1" / name)
    return root


@pytest.mark.parametrize("field", READ)
def test_arrays_equal_the_tensors_bit_for_bit(fields: dict[str, NDArray[Any]], field: str) -> None:
    np.testing.assert_array_equal(fields[field], in_rows_of_run_1(fields)[field])


@pytest.mark.parametrize("field", COMPUTED)
def test_centres_normals_and_areas_match_the_solver(fields: dict[str, NDArray[Any]], field: str) -> None:
    assert_close(fields[field], in_rows_of_run_1(fields)[field], scale=0.001 if field == "surface_area" else 1.0)


def test_the_centres_of_vtk_differ_from_the_solver() -> None:
    volume = pyvista.read(VTK / "run_1" / "volume.vtu")
    distances = np.linalg.norm(load_cut("vtk")["volume_position"] - volume.cell_centers().points, axis=1)
    assert distances.max() > 1e-3


def test_fields_keep_the_order_of_the_file() -> None:
    rows = pyvista.read(VTK / "run_1" / "volume.vtu")["row"]
    np.testing.assert_array_equal(load_cut("vtk")["volume_row"], rows)


def test_normals_point_outward_for_any_winding(tmp_path: Path) -> None:
    inward = load_surface(VTK, 'normals = { derive = "normals" }', domain='association = "cell"')
    flipped = save_as(tmp_path, "surface.vtp", read_surface().flip_faces())
    outward = load_surface(flipped, 'normals = { derive = "normals" }', domain='association = "cell"')
    np.testing.assert_allclose(outward["surface_normals"], inward["surface_normals"], atol=1e-6)


@pytest.mark.parametrize(("orient", "sign"), [("winding", -1), ("reversed", 1)])
def test_a_mapping_can_set_the_direction_of_normals(orient: str, sign: int) -> None:
    normals = f'normals = {{ derive = "normals", orient = "{orient}" }}\nrow = "row"'
    fields = load_surface(VTK, normals, domain='association = "cell"')
    outward = load_cut("vtk")["surface_normals"]  # OpenFOAM's faces wind so that they look into the body
    np.testing.assert_array_equal(fields["surface_normals"], sign * outward)


@pytest.mark.parametrize("suffix", [".vtp", ".vtk", ".vtm"])
def test_a_surface_is_the_same_in_every_format_of_vtk(tmp_path: Path, suffix: str) -> None:
    mesh = pyvista.MultiBlock({"body": read_surface()}) if suffix == ".vtm" else read_surface()
    root = save_as(tmp_path, f"surface{suffix}", mesh)
    wanted = 'pressure = "p"\nfriction = "wallShearStress"\nnormals = { derive = "normals" }'
    given = load_surface(root, wanted, file=f"{{case}}/surface{suffix}", domain='association = "cell"')
    expected = load_cut("vtk")
    assert given.keys() == {"surface_position", "surface_pressure", "surface_friction", "surface_normals"}
    for field, values in given.items():
        np.testing.assert_array_equal(values, expected[field], err_msg=field)


def test_point_data_have_the_positions_of_points() -> None:
    mesh = read_surface()
    fields = load_surface(VTK, 'pressure = "p"', domain='association = "point"')
    np.testing.assert_array_equal(fields["surface_position"], mesh.points)
    np.testing.assert_array_equal(fields["surface_pressure"], mesh.point_data["p"])


def test_an_array_of_cell_data_selects_the_cells() -> None:
    fields = load_surface(VTK, 'friction = "wallShearStress"')
    assert fields["surface_position"].shape == fields["surface_friction"].shape == (2041, 3)


def test_positions_can_be_an_array_of_the_file(tmp_path: Path) -> None:
    mesh = read_surface()
    mesh.cell_data["C"] = centres = np.arange(3 * mesh.n_cells, dtype=np.float64).reshape(-1, 3)
    fields = load_surface(save_as(tmp_path, "surface.vtp", mesh), 'position = "C"\nfriction = "wallShearStress"')
    np.testing.assert_array_equal(fields["surface_position"], centres)


def test_parts_are_joined_in_the_order_of_the_file() -> None:
    both = load_cut("ensight", ('include = ["body"]', 'having = "wallShearStress", exclude = ["internal*"]'))
    body = load_cut("ensight")
    assert [len(fields["surface_pressure"]) for fields in (both, body)] == [84 + 2041, 2041]
    for field in ("surface_position", "surface_friction", "surface_area"):
        np.testing.assert_array_equal(both[field][84:], body[field], err_msg=field)


def test_parts_are_chosen_by_their_arrays(tmp_path: Path) -> None:
    bare = read_surface()
    bare.cell_data.remove("wallShearStress")
    root = save_as(tmp_path, "s.vtm", pyvista.MultiBlock({"tunnel": bare, "car": read_surface(), "wheel": bare}))
    domain = 'association = "cell"\nparts = { having = "wallShearStress" }'
    assert len(load_surface(root, file="{case}/s.vtm", domain=domain)["surface_pressure"]) == 2041


def test_blocks_in_blocks_are_named_by_a_path(tmp_path: Path) -> None:
    boundary = pyvista.MultiBlock({"body": read_surface(), "ground": pyvista.Plane()})
    root = save_as(tmp_path, "s.vtm", pyvista.MultiBlock({"internal": pyvista.Sphere(), "boundary": boundary}))
    domain = 'association = "cell"\nparts = { include = ["boundary/body"] }'
    assert len(load_surface(root, file="{case}/s.vtm", domain=domain)["surface_pressure"]) == 2041


def test_the_last_time_step_is_read(tmp_path: Path) -> None:
    case = copy_case("ensight", tmp_path)
    for array in ("p", "totalPressureCoeff", "row", "U", "vorticity", "wallShearStress"):
        first = (case / "data" / f"{array}.500").read_bytes()
        (case / "data" / f"{array}.499").write_bytes(first[:1000] + b"\0\0\0\0" * 100 + first[1400:])
    steps = (case / "run_1.case").read_text()
    steps = steps.replace("number of steps: 1", "number of steps: 2").replace("start number: 500", "start number: 499")
    (case / "run_1.case").write_text(steps.replace("time values: 500", "time values: 499 500"))
    given = load_cut("ensight", root=tmp_path)
    np.testing.assert_array_equal(given["volume_velocity"], load_cut("ensight")["volume_velocity"])


def test_points_of_an_stl_are_a_domain(tmp_path: Path) -> None:
    save_as(tmp_path, "body.stl", read_surface().triangulate())
    stl = 'name = "s"\nid = "{case}"\n[domains.surface_stl]\nfile = "{case}/body.stl"\nassociation = "point"'
    fields = MappedSource(tmp_path, parse_mapping(stl, "mapping")).load("run_1").fields
    assert {field: values.shape for field, values in fields.items()} == {"surface_stl_position": (2110, 3)}


@pytest.mark.parametrize("drop", [False, True], ids=["kept", "dropped"])
def test_unused_points_are_kept_unless_dropped(tmp_path: Path, drop: bool) -> None:
    points = np.concatenate([np.full((5, 3), 9.0), read_surface().points])
    mesh = pyvista.PolyData(points, faces=shifted(read_surface().faces, 5))
    save_as(tmp_path, "surface.vtk", mesh)
    np.save(tmp_path / "run_1" / "press.npy", np.arange(len(points), dtype=np.float32))
    fields = load_surface(
        tmp_path,
        'pressure = { file = "{case}/press.npy" }\nnormals = { derive = "normals" }',
        file="{case}/surface.vtk",
        domain='association = "point"' + ('\nunused_points = "drop"' if drop else ""),
    )
    assert fields["surface_pressure"][0] == (5 if drop else 0)
    assert {len(values) for values in fields.values()} == {2110 + (0 if drop else 5)}
    lengths = np.linalg.norm(fields["surface_normals"], axis=1)
    assert (lengths[: None if drop else 5].min() > 0.99) == drop


def shifted(faces: NDArray[Any], offset: int) -> NDArray[Any]:
    """Add `offset` to the numbers of points of padded faces, but not to the counts before them."""
    moved, at = faces.copy(), 0
    while at < len(moved):
        moved[at + 1 : at + 1 + faces[at]] += offset
        at += 1 + faces[at]
    return moved


@pytest.fixture
def arrays_read(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return a list that collects the arrays of the first part for each read of a file."""
    seen: list[set[str]] = []
    for kind in (MeshFile, StreamedMesh, GoldMesh):
        monkeypatch.setattr(kind, "read", _watched(kind.read, seen))
    return seen


def _watched(read: Callable[[Any, Any], Sequence[MeshPart]], seen: list[set[str]]) -> Any:
    def watched(self: Any, wanted: Any) -> Sequence[MeshPart]:
        parts = read(self, wanted)
        seen.append({*parts[0].data["cell"], *parts[0].data["point"]})
        return parts

    return watched


def test_a_file_with_two_domains_is_read_once(arrays_read: list[set[str]]) -> None:
    load_cut("ensight")
    assert arrays_read == [{"p", "wallShearStress", "row", "totalPressureCoeff", "U", "vorticity"}]


def test_only_mapped_arrays_are_read(arrays_read: list[set[str]]) -> None:
    load_surface(VTK, 'friction = "wallShearStress"')
    assert arrays_read == [{"wallShearStress"}]


def test_the_bundled_cases_list_their_sample() -> None:
    for root, kind in ((VTK, "vtk"), (ENSIGHT, "ensight")):
        assert MappedSource(root, cut_mapping(kind)).sample_ids() == ["run_1"]


def test_volume_cells_have_no_area() -> None:
    area = 'area = { derive = "area" }'
    with pytest.raises(SourceError, match=r"surface_area: run_1/volume\.vtu: it is computed from faces"):
        load_surface(VTK, area, file="{case}/volume.vtu", domain='association = "cell"')
