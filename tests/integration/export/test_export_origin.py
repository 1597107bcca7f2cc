"""Exports of a store with an origin: source positions, and the most exact comparison with the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import MeshError
from noether.data.zarr_store.export import PredictionWriter, export_sample
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.upkeep.verify import verify_store
from support.export_meshes import BODY_MESH, CELLS_MESH, case_parts, read_with_pyvista, read_with_vtk
from support.far_points import FAR, ORIGIN
from support.trees import call

MAPPING = """
name = "far"
id = "run_{n}"
[domains.surface]
file = "run_{n}/surface.vtp"
association = "cell"
[domains.surface.fields]
pressure = "p"
normals = { derive = "normals" }
area = { derive = "area" }
[domains.volume]
file = "run_{n}/volume.vtu"
association = "cell"
[domains.volume.fields]
row = "source_row"
sdf = { derive = "distance", to = "surface" }
"""


def shifted(mesh: Path, shift: tuple[float, float, float]) -> pyvista.DataSet:
    """A shifted mesh with float64 coordinates."""
    moved = read_with_pyvista(mesh)
    moved.points = np.asarray(moved.points, dtype=np.float64) + shift
    return moved


def save_tree(root: Path, shift: tuple[float, float, float]) -> Path:
    (root / "run_1").mkdir(parents=True)
    shifted(BODY_MESH, shift).save(root / "run_1" / "surface.vtp")
    shifted(CELLS_MESH, shift).save(root / "run_1" / "volume.vtu")
    return root


def convert_tree(tree: Path, store: Path, **settings: Any) -> Path:
    source = MappedSource(str(tree), parse_mapping(MAPPING, "mapping.toml"))
    writer = ZarrStoreWriter(store, source.filemap, "far", values_dtype="float32", **settings)
    report = convert(source, writer)
    assert [result.reason for result in report.having("failed")] == []
    return store


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled body, and cells around it, 5,000 km away."""
    return save_tree(tmp_path_factory.mktemp("tree"), FAR)


@pytest.fixture(scope="module")
def store(tree: Path) -> Path:
    return convert_tree(tree, tree / "store", origin=ORIGIN)


def in_order(store: Path) -> dict[str, NDArray[Any]]:
    return ZarrChunkReader(store).read_arrays("run_1", order="original", dtype="float64")


def test_computed_fields_match_those_near_the_origin(store: Path, tmp_path: Path) -> None:
    """Distances, normals and areas come from float64 coordinates, before the origin is subtracted."""
    near = in_order(convert_tree(save_tree(tmp_path / "tree", (0, 0, 0)), tmp_path / "store"))
    far = in_order(store)
    for field, tolerance in (("volume_sdf", 1e-6), ("surface_normals", 1e-4), ("surface_area", 1e-7)):
        np.testing.assert_allclose(far[field], near[field], rtol=0, atol=tolerance, err_msg=field)
    for field in ("surface_position", "volume_position"):
        np.testing.assert_allclose(far[field] + ORIGIN, near[field] + FAR, rtol=0, atol=5e-6, err_msg=field)


def test_the_store_matches_its_source(store: Path, tree: Path) -> None:
    source = MappedSource(str(tree), parse_mapping(MAPPING, "mapping.toml"))
    assert verify_store(store, level="source", source=source).findings == ()


@pytest.mark.parametrize(
    ("mesh", "target", "field"),
    [("surface.vtp", "out.vtp", "surface_position"), ("volume.vtu", "out.vtu", "volume_position")],
)
def test_exported_positions_match_the_cells(
    store: Path, tree: Path, tmp_path: Path, mesh: str, target: str, field: str
) -> None:
    """VTK reads the result; its centres of bent faces differ, so positions are compared with the cells' boxes."""
    onto = tree / "run_1" / mesh
    done = export_sample(store, "run_1", tmp_path / target, onto=onto)
    written = read_with_vtk(done.path)
    position = np.asarray(written.cell_data[field])
    assert position.dtype == np.float64
    np.testing.assert_array_equal(np.asarray(written.points), np.asarray(read_with_pyvista(onto).points))
    for number in range(0, written.n_cells, 50):
        x, x_end, y, y_end, z, z_end = written.get_cell(number).bounds
        assert (np.array([x, y, z]) - 1e-6 <= position[number]).all()
        assert (position[number] <= np.array([x_end, y_end, z_end]) + 1e-6).all()


def test_exported_positions_match_the_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((300, 3)) * 10 + FAR
    cloud = pyvista.PolyData(points)
    cloud.save(tmp_path / "mesh.vtp")
    written = _export_points(points, tmp_path, tmp_path / "mesh.vtp")
    np.testing.assert_allclose(np.asarray(written.point_data["surface_position"]), points, rtol=0, atol=4e-6)


def _export_points(points: NDArray[np.float64], tmp_path: Path, onto: Path) -> pyvista.DataSet:
    writer = ZarrStoreWriter(tmp_path / "points", FileMap(surface_position="a"), "far", origin=ORIGIN)
    writer.write_sample("run_1", {"surface_position": points})
    writer.save_manifest()
    done = export_sample(tmp_path / "points", "run_1", tmp_path / "out.vtp", onto=onto, association="point")
    return read_with_vtk(done.path)


@pytest.mark.parametrize("shift", [1e-3, 1.0])
def test_a_mesh_shifted_by_a_millimetre_is_refused(tmp_path: Path, shift: float) -> None:
    """At coordinates of 5,000 km, a float32 tolerance would accept two metres."""
    points = np.random.default_rng(0).random((300, 3)) * 10 + FAR
    pyvista.PolyData(np.add(points, (0, shift, 0))).save(tmp_path / "mesh.vtp")
    with pytest.raises(MeshError, match=f"300 of 300 points differ by up to {shift:.3g}"):
        _export_points(points, tmp_path, tmp_path / "mesh.vtp")


def test_a_mesh_in_single_precision_is_compared_in_single_precision(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((300, 3)) * 10 + FAR
    pyvista.PolyData(points.astype(np.float32)).save(tmp_path / "mesh.vtp")
    written = _export_points(points, tmp_path, tmp_path / "mesh.vtp")
    np.testing.assert_allclose(np.asarray(written.point_data["surface_position"]), points, rtol=0, atol=4e-6)


def test_an_ensight_case_has_the_positions_of_the_source_in_single_precision(
    store: Path, tree: Path, tmp_path: Path
) -> None:
    done = export_sample(store, "run_1", tmp_path / "out.case", onto=tree / "run_1" / "surface.vtp")
    [part] = case_parts(done.path).values()
    expected = in_order(store)["surface_position"] + ORIGIN
    found = np.asarray(part.cell_data["surface_position"])
    for end in (np.min, np.max):
        np.testing.assert_allclose(end(found, axis=0), end(expected, axis=0), rtol=0, atol=0.25)


def test_predictions_land_on_a_mesh_far_away(store: Path, tree: Path, tmp_path: Path) -> None:
    onto = tree / "run_1" / "volume.vtu"
    reader = ZarrChunkReader(store)
    with PredictionWriter(store, "run_1", tmp_path / "out.vtu", onto=onto, fields=["volume_position"]) as writer:
        for batch in reader.iter_sample("run_1", 100, fields=["volume_row", "volume_position"]):
            writer.add(batch, {"predicted_row": batch.fields["volume_row"] * 2})
    written = read_with_vtk(tmp_path / "out.vtu")
    np.testing.assert_array_equal(written.cell_data["predicted_row"], np.asarray(written.cell_data["source_row"]) * 2)
    assert np.abs(np.asarray(written.cell_data["volume_position"]) - FAR).max() < 20


def test_the_command_exports_positions_of_the_source(store: Path, tmp_path: Path) -> None:
    ran = call("export", store, "run_1", tmp_path / "out.npz", "--field", "surface_position")
    assert ran.code == 0, ran.output
    exported = np.load(tmp_path / "out.npz")["surface_position"]
    np.testing.assert_array_equal(exported, in_order(store)["surface_position"] + ORIGIN)
