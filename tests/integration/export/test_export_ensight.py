"""EnSight cases, read back by both readers of VTK: the old one and ParaView's new one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
import vtk
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, MeshError
from noether.data.zarr_store.export import export_sample
from support.ahmed import load_run
from support.export_meshes import (
    BODY_MESH,
    CELLS_MESH,
    CORNERS,
    assert_same_bits,
    by_type,
    case_parts,
    case_parts_of_paraview,
    cells_around,
    corners,
    faces,
    load_cells,
    read_with_pyvista,
)
from support.lanes import few_fast
from support.reading import write_samples

Parts = dict[str, pyvista.UnstructuredGrid]
READERS = [case_parts, case_parts_of_paraview]
PARTS = {"hood": slice(0, 700), "ground": None, "roof": slice(700, 1500), "side": slice(1500, 2041)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the body of run_1 as surface, and 500 of its cells as volume."""
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    root = tmp_path_factory.mktemp("ensight") / "store"
    return write_samples(root, {"run_1": surface | load_cells()}, values_dtype="float32")


@pytest.fixture(scope="module")
def car(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of a volume, and of a surface in three parts with another between them."""
    position = load_run("run_1")["surface_position"]
    blocks = pyvista.MultiBlock({"domain": pyvista.read(CELLS_MESH)})
    for name, rows in PARTS.items():
        if rows is None:
            part = pyvista.Plane().cast_to_unstructured_grid()
            part.clear_data()
        else:
            part = cells_around(position[rows], [pyvista.CellType.QUAD] * len(position[rows]))
            part.cell_data["Pressure"] = np.arange(part.n_cells, dtype=np.float32)
        blocks[name] = part
    directory = tmp_path_factory.mktemp("car")
    blocks.save(directory / "car.vtm")
    export_sample(
        store,
        "run_1",
        directory / "car.case",
        onto=directory / "car.vtm",
        parts=["hood", "roof", "side"],
        fields=["surface_area"],
    )
    return directory / "car.case"


def cells_mesh() -> pyvista.UnstructuredGrid:
    grid = pyvista.read(CELLS_MESH)
    assert isinstance(grid, pyvista.UnstructuredGrid)
    return grid


def in_order(cells: list[Any], order: NDArray[np.int64]) -> list[Any]:
    return [cells[number] for number in order]


@pytest.mark.slow
@pytest.mark.parametrize("read", few_fast(READERS), ids=["older reader", "newer reader"])
def test_fields_lie_on_their_cells_sorted_by_type(store: Path, tmp_path: Path, read: Callable[[Path], Parts]) -> None:
    done = export_sample(store, "run_1", tmp_path / "out.case", onto=CELLS_MESH)
    source = cells_mesh()
    order = by_type(source)
    [(name, part)] = read(done.path).items()
    assert (name, done.left_out) == (CELLS_MESH.stem, ())
    np.testing.assert_array_equal(part.celltypes, source.celltypes[order])
    assert corners(part) == in_order(corners(source), order)
    assert faces(part) == in_order(faces(source), order)
    for field, values in load_cells().items():
        assert_same_bits(np.asarray(part.cell_data[field]), values[order])
    assert_same_bits(np.asarray(part.cell_data["p"]), np.asarray(source.cell_data["p"])[order])
    assert_same_bits(np.asarray(part.point_data["p_point"]), np.asarray(source.point_data["p"]))


@pytest.mark.parametrize("read", READERS, ids=["older reader", "newer reader"])
def test_every_cell_type_survives_an_export(tmp_path: Path, read: Callable[[Path], Parts]) -> None:
    kinds = [kind for _ in range(3) for kind in CORNERS]
    position = np.random.default_rng(0).normal(size=(len(kinds), 3)).astype(np.float32)
    fields = {field: values[: len(kinds)] for field, values in load_cells().items()} | {"volume_position": position}
    root = write_samples(tmp_path / "store", {"run_1": fields}, values_dtype="float32")
    grid = cells_around(position, kinds)
    grid.save(tmp_path / "mesh.vtu")
    export_sample(root, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtu")
    order = by_type(grid)
    part = read(tmp_path / "out.case")["mesh"]
    assert corners(part) == in_order(corners(grid), order)
    np.testing.assert_array_equal(part.celltypes, grid.celltypes[order])
    assert_same_bits(np.asarray(part.cell_data["volume_velocity"]), fields["volume_velocity"][order])


@pytest.mark.parametrize("read", READERS, ids=["older reader", "newer reader"])
def test_a_surface_in_several_parts_follows_their_order(car: Path, read: Callable[[Path], Parts]) -> None:
    """The other parts stay unchanged."""
    parts = read(car)
    assert list(parts) == ["domain", *PARTS]
    area = load_run("run_1")["surface_area"]
    for name, rows in PARTS.items():
        if rows is None:
            assert parts[name].array_names == []
        else:
            assert_same_bits(np.asarray(parts[name].cell_data["surface_area"]), area[rows])
            expected = np.arange(rows.stop - rows.start, dtype=np.float32)
            assert_same_bits(np.asarray(parts[name].cell_data["Pressure"]), expected)
    assert "surface_area" not in parts["domain"].cell_data


def test_a_surface_of_all_parts_needs_no_names(store: Path, tmp_path: Path) -> None:
    position = load_run("run_1")["surface_position"]
    halves = {"left": position[:1000], "right": position[1000:]}
    blocks = {name: cells_around(rows, [pyvista.CellType.QUAD] * len(rows)) for name, rows in halves.items()}
    pyvista.MultiBlock(blocks).save(tmp_path / "mesh.vtm")
    done = export_sample(store, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtm")
    assert (done.domain, done.association, done.parts) == ("surface", "cell", ("left", "right"))
    right = case_parts(done.path)["right"].cell_data["surface_area"]
    assert_same_bits(np.asarray(right), load_run("run_1")["surface_area"][1000:])


def test_a_case_is_exported_onto_a_case(store: Path, car: Path, tmp_path: Path) -> None:
    done = export_sample(
        store, "run_1", tmp_path / "out.case", onto=car, parts=["side", "?oo?"], fields=["surface_friction"]
    )
    assert (done.domain, done.association, done.parts) == ("surface", "cell", ("hood", "roof", "side"))
    before, after = case_parts(car), case_parts(done.path)
    assert list(after) == list(before)
    for name, part in before.items():
        assert corners(after[name]) == corners(part)
        for array in part.cell_data:
            assert_same_bits(np.asarray(after[name].cell_data[array]), np.asarray(part.cell_data[array]))
    friction = load_run("run_1")["surface_friction"]
    assert_same_bits(np.asarray(after["roof"].cell_data["surface_friction"]), friction[PARTS["roof"]])


@pytest.mark.slow
def test_a_part_of_a_case_is_exported_as_vtu(car: Path, tmp_path: Path) -> None:
    position = np.asarray(case_parts(car)["ground"].points)
    root = write_samples(
        tmp_path / "store",
        {"run_1": {f: v[: len(position)] for f, v in load_cells().items()} | {"volume_position": position}},
        values_dtype="float32",
    )
    # By default, the part that fits is used.
    done = export_sample(root, "run_1", tmp_path / "out.vtu", onto=car)
    assert (done.domain, done.association, done.parts) == ("volume", "point", ("ground",))
    written = read_with_pyvista(done.path)
    assert_same_bits(np.asarray(written.point_data["volume_sdf"]), load_cells()["volume_sdf"][: len(position)])


def test_a_case_written_by_vtk_can_be_the_mesh(store: Path, tmp_path: Path) -> None:
    """A case of another writer, whose single part has the default name of VTK."""
    grid = cells_mesh()
    grid.cell_data["BlockId"] = np.ones(grid.n_cells, dtype=np.int32)
    writer = vtk.vtkEnSightWriter()
    writer.SetInputDataObject(grid)
    writer.SetFileName(str(tmp_path / "vtk.case"))
    writer.Write()
    writer.WriteCaseFile(1)
    # The sample of such a case has its cells in the order of the case.
    [(name, before)] = case_parts(tmp_path / "vtk.0.case").items()
    order = np.argsort(grid.cell_data["source_row"])[np.argsort(np.argsort(before.cell_data["source_row_c"]))]
    fields = {field: values[order] for field, values in load_cells().items()}
    root = write_samples(tmp_path / "store", {"run_1": fields}, values_dtype="float32")
    done = export_sample(root, "run_1", tmp_path / "out.case", onto=tmp_path / "vtk.0.case")
    assert (done.domain, done.association, done.parts) == ("volume", "cell", (name,))
    after = case_parts(done.path)[name]
    assert corners(after) == corners(before)
    assert_same_bits(np.asarray(after.cell_data["p_c"]), np.asarray(before.cell_data["p_c"]))
    assert_same_bits(np.asarray(after.cell_data["volume_velocity"]), fields["volume_velocity"])


def test_a_case_can_be_moved_with_the_directory_of_its_data(car: Path, tmp_path: Path) -> None:
    before = case_parts(car)["hood"]
    (tmp_path / "new").mkdir()
    for name in ("car.case", "car.case.data"):
        (tmp_path / "new" / name).symlink_to(car.with_name(name))
    assert_same_bits(
        np.asarray(case_parts(tmp_path / "new" / "car.case")["hood"].cell_data["surface_area"]),
        np.asarray(before.cell_data["surface_area"]),
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["hod"], "parts: the mesh has no part 'hod'; did you mean 'hood'?"),
        (
            ["hood", "roof"],
            "(2,041 points of surface, 500 points of volume), got another mesh (hood, roof: 1,500 cells and 6,000",
        ),
        (
            None,
            "(2,041 points of surface), got another mesh (domain: 500 cells and 4,292 points; hood: 700 cells and .*",
        ),
    ],
    ids=["unknown", "too few", "none fits"],
)
def test_parts_that_do_not_fit_are_refused(
    store: Path, car: Path, tmp_path: Path, parts: list[str] | None, message: str
) -> None:
    domain = "surface" if parts is None else None
    with pytest.raises((ArgumentError, MeshError), match=re.escape(message).replace(r"\.\*", ".*")):
        export_sample(store, "run_1", tmp_path / "out.case", onto=car, parts=parts, domain=domain)


def test_several_parts_are_refused_for_a_single_part_file(store: Path, car: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MeshError, match=r"expected one mesh part, .* got 3 \(surface as cell data of hood, roof, side\)"
    ):
        export_sample(store, "run_1", tmp_path / "out.vtu", onto=car, parts=["hood", "roof", "side"])


def test_an_export_of_two_possible_domains_is_refused(tmp_path: Path) -> None:
    body, cells = read_with_pyvista(BODY_MESH), read_with_pyvista(CELLS_MESH)
    pyvista.MultiBlock({"body": body, "cells": cells}).save(tmp_path / "mesh.vtm")
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    root = write_samples(tmp_path / "store", {"run_1": surface | load_cells()})
    expected = "several exports are possible: surface as cell data of body, or volume as cell data of cells; set domain"
    with pytest.raises(ArgumentError, match=expected):
        export_sample(root, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtm")
    done = export_sample(root, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtm", domain="volume")
    assert (done.domain, done.association, done.parts) == ("volume", "cell", ("cells",))


def test_an_exported_field_keeps_its_name_before_mesh_arrays(store: Path, tmp_path: Path) -> None:
    """A mesh array with the same name gets another name, or is left out."""
    mesh = cells_mesh()
    for number, name in enumerate(["volume sdf", "volume.sdf"]):
        mesh.cell_data[name] = np.full(500, number, dtype=np.float32)
    mesh.save(tmp_path / "mesh.vtu")
    done = export_sample(store, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtu")
    written = case_parts(done.path)["mesh"].cell_data
    assert_same_bits(np.asarray(written["volume_sdf"]), load_cells()["volume_sdf"][by_type(mesh)])
    assert_same_bits(np.asarray(written["volume_sdf_cell"]), np.zeros(500, dtype=np.float32))
    assert done.left_out == ("cell data volume.sdf: another array has its name",)


def test_a_long_name_of_a_mesh_array_is_cut_and_stays_readable(store: Path, tmp_path: Path) -> None:
    """A name has at most 79 characters, also with the suffix that tells two arrays apart."""
    mesh = cells_mesh()
    for number, name in enumerate(["a" * 90, "a" * 95]):
        mesh.cell_data[name] = np.full(500, number, dtype=np.float32)
    mesh.save(tmp_path / "mesh.vtu")
    written = case_parts(export_sample(store, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtu").path)
    names = {name: float(np.asarray(written["mesh"].cell_data[name])[0]) for name in ("a" * 79, "a" * 74 + "_cell")}
    assert list(names.values()) == [0, 1]


def test_arrays_of_the_mesh_that_ensight_cannot_hold_are_left_out_and_named(store: Path, tmp_path: Path) -> None:
    mesh = read_with_pyvista(CELLS_MESH)
    mesh.cell_data["total(p)_coeff"] = np.arange(500.0)
    mesh.cell_data["pair"] = np.zeros((500, 2))
    mesh.cell_data["huge"] = np.full(500, 1e300)
    mesh.cell_data["text"] = np.array(["a"] * 500)
    mesh.save(tmp_path / "mesh.vtu")
    done = export_sample(store, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtu")
    assert done.left_out == (
        "cell data pair: it has 2 components, and EnSight has only 1 or 3",
        "cell data huge: it has values beyond the range of float32",
        "cell data text: it has the dtype <U1, and EnSight has only numbers",
    )
    expected = np.arange(500, dtype=np.float32)[by_type(cells_mesh())]
    assert_same_bits(np.asarray(case_parts(done.path)["mesh"].cell_data["total_p__coeff"]), expected)


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        ({"wall shear": np.zeros(500)}, r"wall shear: an EnSight case cannot hold it \(names in EnSight have only A"),
        ({"stress": np.zeros((500, 6))}, r"stress: an EnSight case cannot hold it \(it has 6 components"),
        ({"huge": np.full(500, -1e300)}, r"huge: an EnSight case cannot hold it \(it has values beyond the r"),
    ],
    ids=["name", "components", "overflow"],
)
def test_a_prediction_that_ensight_cannot_hold_is_refused(
    store: Path, tmp_path: Path, prediction: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(MeshError, match=f"{message}.*; write a .vtu"):
        export_sample(store, "run_1", tmp_path / "out.case", onto=CELLS_MESH, predictions=prediction)
    assert list(tmp_path.iterdir()) == []


def test_cells_that_ensight_or_the_writer_does_not_know_are_refused(tmp_path: Path) -> None:
    cell = pyvista.UnstructuredGrid(
        np.array([6, 0, 1, 2, 3, 4, 5]),
        [pyvista.CellType.QUADRATIC_TRIANGLE],
        np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32),
    )
    cell.save(tmp_path / "mesh.vtu")
    root = write_samples(tmp_path / "store", {"run_1": {f: v[:1] * 0 for f, v in load_cells().items()}})
    with pytest.raises(MeshError, match=r"part 'mesh': EnSight cannot hold the VTK cell types \[22\]"):
        export_sample(root, "run_1", tmp_path / "out.case", onto=tmp_path / "mesh.vtu")
