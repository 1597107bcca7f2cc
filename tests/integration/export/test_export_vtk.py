"""Fields and predictions on VTU and VTP meshes: every bit in the mesh's own order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista
import torch

from noether.data.zarr_store import FileMap, ZarrChunkReader
from noether.data.zarr_store.export import Association, export_sample
from support.ahmed import Arrays, load_run
from support.export_meshes import (
    BODY_MESH,
    CELLS_MESH,
    assert_same_bits,
    cells_around,
    corners,
    faces,
    load_cells,
    read_with_pyvista,
    read_with_vtk,
)
from support.reading import as_stored, write_samples

READERS = [read_with_pyvista, read_with_vtk]


def sample_arrays() -> Arrays:
    """A store of the whole body of run_1, and of the volume cells that the mesh has."""
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    return surface | load_cells()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "store"
    return write_samples(root, {"part/run_1": sample_arrays()}, values_dtype="float32", chunk_points=100)


def store_of(root: Path, position: np.ndarray, values: np.ndarray, **settings: object) -> Path:
    """A store of one sample with only positions and a pressure."""
    filemap = FileMap(surface_position="x.npy", surface_pressure="p.npy")
    return write_samples(
        root, {"run_1": {"surface_position": position, "surface_pressure": values}}, filemap, **settings
    )


@pytest.mark.parametrize("read", READERS, ids=["pyvista", "vtk"])
@pytest.mark.parametrize(("mesh", "domain"), [(BODY_MESH, "surface"), (CELLS_MESH, "volume")], ids=["vtp", "vtu"])
def test_fields_are_exported_bit_for_bit_onto_cells(
    store: Path, tmp_path: Path, mesh: Path, domain: str, read: Callable[[Path], pyvista.DataSet]
) -> None:
    done = export_sample(store, "part/run_1", tmp_path / f"out{mesh.suffix}", onto=mesh)
    source = {field: values for field, values in sample_arrays().items() if field.startswith(domain)}
    assert (set(done.arrays), done.domain, done.association, done.parts) == (set(source), domain, "cell", (mesh.stem,))
    written = read(done.path)
    for field, values in source.items():
        assert_same_bits(np.asarray(written.cell_data[field]), values)


@pytest.mark.parametrize("read", READERS, ids=["pyvista", "vtk"])
def test_fields_are_exported_bit_for_bit_onto_points(tmp_path: Path, read: Callable[[Path], pyvista.DataSet]) -> None:
    mesh = read_with_pyvista(BODY_MESH)
    position, values = np.asarray(mesh.points), np.asarray(mesh.point_data["p"])
    store = store_of(tmp_path / "store", position, values, values_dtype="float32")
    done = export_sample(store, "run_1", tmp_path / "out.vtp", onto=BODY_MESH)
    assert (done.domain, done.association, done.parts) == ("surface", "point", (BODY_MESH.stem,))
    assert_same_bits(np.asarray(read(done.path).point_data["surface_pressure"]), values)


@pytest.mark.parametrize("mesh", [BODY_MESH, CELLS_MESH], ids=["vtp", "vtu"])
def test_the_mesh_keeps_its_points_its_cells_and_its_arrays(store: Path, tmp_path: Path, mesh: Path) -> None:
    before = read_with_pyvista(mesh)
    after = read_with_pyvista(export_sample(store, "part/run_1", tmp_path / f"out{mesh.suffix}", onto=mesh).path)
    assert_same_bits(np.asarray(after.points), np.asarray(before.points))
    assert corners(after) == corners(before)
    assert faces(after) == faces(before)
    for name, values in before.cell_data.items():
        assert_same_bits(np.asarray(after.cell_data[name]), np.asarray(values))
    for name, values in before.point_data.items():
        assert_same_bits(np.asarray(after.point_data[name]), np.asarray(values))


def test_float16_is_written_as_float32_and_float64_unchanged(tmp_path: Path) -> None:
    source = sample_arrays()
    root = tmp_path / "store"
    write_samples(root, {"run_1": source}, field_dtypes={"surface_friction": "float64"})
    written = read_with_pyvista(export_sample(root, "run_1", tmp_path / "out.vtp", onto=BODY_MESH).path)
    assert_same_bits(np.asarray(written.cell_data["surface_pressure"]), as_stored(source["surface_pressure"]))
    assert_same_bits(np.asarray(written.cell_data["surface_friction"]), source["surface_friction"].astype(np.float64))


def test_nan_values_keep_their_bits(tmp_path: Path) -> None:
    position = np.arange(18, dtype=np.float32).reshape(6, 3)
    odd = np.array([0x7FC01234, 0x80000000, 0x7F800000, 0xFF800000, 0x00000001, 0xFFC00000], dtype=np.uint32)
    store = store_of(tmp_path / "store", position, odd.view(np.float32), values_dtype="float32", non_finite="allow")
    cells_around(position, [pyvista.CellType.TETRA] * 6).save(tmp_path / "mesh.vtu")
    written = read_with_vtk(export_sample(store, "run_1", tmp_path / "out.vtu", onto=tmp_path / "mesh.vtu").path)
    np.testing.assert_array_equal(np.asarray(written.cell_data["surface_pressure"]).view(np.uint32), odd)


@pytest.mark.parametrize(
    "as_model_gives_it",
    [lambda rows: rows, lambda rows: rows[:, np.newaxis], lambda rows: rows.astype(">f2"), torch.from_numpy],
    ids=["flat", "one column", "half precision, big endian", "tensor"],
)
def test_a_prediction_in_stored_order_lands_on_its_cells(
    store: Path, tmp_path: Path, as_model_gives_it: Callable[[np.ndarray], object]
) -> None:
    stored = ZarrChunkReader(store).read_arrays("part/run_1")
    predicted = as_model_gives_it(stored["surface_pressure"] * 2 + 1)
    done = export_sample(
        store, "part/run_1", tmp_path / "out.vtp", onto=BODY_MESH, predictions={"surface_pressure": predicted}
    )
    assert done.arrays == ("surface_pressure",)
    expected = np.asarray(as_model_gives_it(sample_arrays()["surface_pressure"] * 2 + 1)).astype(np.float32).ravel()
    assert_same_bits(np.asarray(read_with_pyvista(done.path).cell_data["surface_pressure"]), expected)


def test_a_prediction_is_exported_with_named_fields(store: Path, tmp_path: Path) -> None:
    velocity = ZarrChunkReader(store).read_arrays("part/run_1")["volume_velocity"]
    done = export_sample(
        store,
        "part/run_1",
        tmp_path / "out.vtu",
        onto=CELLS_MESH,
        fields=["volume_velocity"],
        predictions={"predicted velocity": -velocity},
    )
    assert done.arrays == ("volume_velocity", "predicted velocity")
    written = read_with_vtk(done.path)
    assert_same_bits(np.asarray(written.cell_data["volume_velocity"]), sample_arrays()["volume_velocity"])
    assert_same_bits(np.asarray(written.cell_data["predicted velocity"]), -sample_arrays()["volume_velocity"])


@pytest.mark.parametrize("association", ["cell", "point"])
def test_positions_decide_between_cells_and_points(tmp_path: Path, association: Association) -> None:
    """The mesh has as many cells as points."""
    points = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], dtype=np.float32)
    square = pyvista.PolyData(points, faces=np.array([3, 0, 1, 2, 3, 0, 2, 3, 3, 0, 1, 3, 3, 1, 2, 3]))
    square.save(tmp_path / "mesh.vtp")
    position = np.asarray(square.points if association == "point" else square.cell_centers().points, dtype=np.float32)
    values = np.array([4, 1, 3, 2], dtype=np.float32)
    store = store_of(tmp_path / "store", position, values)
    done = export_sample(store, "run_1", tmp_path / "out.vtp", onto=tmp_path / "mesh.vtp")
    assert (done.domain, done.association, done.parts) == ("surface", association, ("mesh",))
    written = read_with_pyvista(done.path)
    data = written.point_data if association == "point" else written.cell_data
    assert_same_bits(np.asarray(data["surface_pressure"]), values)


@pytest.mark.parametrize("mesh_kind", ["structured", "surface"])
def test_any_mesh_can_be_written_as_vtu(tmp_path: Path, mesh_kind: str) -> None:
    """The cells keep their order."""
    block = pyvista.ImageData(dimensions=(4, 3, 3)).cast_to_structured_grid()
    mesh = block if mesh_kind == "structured" else block.extract_surface(algorithm=None)
    mesh.save(tmp_path / "mesh.vtk")
    values = np.arange(mesh.n_cells, dtype=np.float32)
    store = store_of(tmp_path / "store", np.asarray(mesh.cell_centers().points, dtype=np.float32), values)
    done = export_sample(store, "run_1", tmp_path / "out.vtu", onto=tmp_path / "mesh.vtk")
    written = read_with_vtk(done.path)
    assert_same_bits(np.asarray(written.cell_data["surface_pressure"]), values)
    assert corners(written) == corners(mesh)


def test_a_named_block_of_a_vtm_can_be_the_mesh(store: Path, tmp_path: Path) -> None:
    blocks = pyvista.MultiBlock({"internal": pyvista.read(CELLS_MESH)})
    blocks["boundary"] = pyvista.MultiBlock({"body": pyvista.read(BODY_MESH), "ground": pyvista.Plane()})
    blocks.save(tmp_path / "mesh.vtm")
    done = export_sample(store, "part/run_1", tmp_path / "out.vtp", onto=tmp_path / "mesh.vtm", parts=["boundary/body"])
    assert (done.domain, done.association, done.parts) == ("surface", "cell", ("boundary/body",))
    written = read_with_pyvista(done.path)
    assert_same_bits(np.asarray(written.cell_data["surface_area"]), sample_arrays()["surface_area"])
