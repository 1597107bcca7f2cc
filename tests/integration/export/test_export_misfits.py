"""Wrong meshes and ambiguous exports are refused before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
import torch

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import (
    ArgumentError,
    MeshError,
    OriginalOrderError,
    SourceError,
    StoreError,
    UnknownNameError,
)
from noether.data.zarr_store.export import export_sample
from support.ahmed import load_run
from support.export_meshes import BODY_MESH, CELLS_MESH, cells_around, load_cells, read_with_pyvista
from support.reading import write_samples


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The body of run_1 as surface, 500 cells of it as volume; positions in float32."""
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    return write_samples(tmp_path_factory.mktemp("misfits") / "store", {"run_1": surface | load_cells()})


@pytest.fixture
def refused(store: Path, tmp_path: Path) -> Callable[..., str]:
    """Run an export that must fail and leave nothing, and return the message."""

    def export(error: type[StoreError], **parameters: Any) -> str:
        out = tmp_path / "out"
        target = out / parameters.pop("target", "out.vtu")
        with pytest.raises(error) as caught:
            export_sample(parameters.pop("store", store), parameters.pop("sample", "run_1"), target, **parameters)
        assert not out.exists() or list(out.iterdir()) == []
        return str(caught.value)

    return export


def test_a_mesh_with_another_number_of_cells_and_points_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    pyvista.read(CELLS_MESH).extract_cells(range(499)).save(tmp_path / "mesh.vtu")
    points = read_with_pyvista(tmp_path / "mesh.vtu").n_points
    message = refused(MeshError, onto=tmp_path / "mesh.vtu")
    assert f"sample 'run_1' onto {tmp_path / 'mesh.vtu'}: expected a mesh with the number of points of" in message
    assert (
        f"(2,041 points of surface, 500 points of volume), got another mesh (mesh: 499 cells and {points:,} points)"
        in message
    )


def test_a_mesh_whose_other_data_would_fit_is_refused(refused: Callable[..., str]) -> None:
    message = refused(MeshError, onto=CELLS_MESH, association="point")
    assert "500 points of volume), got another mesh (ahmed_run_1_cells: 4,292 points)" in message
    message = refused(MeshError, onto=BODY_MESH, domain="volume")
    assert "(500 points of volume), got another mesh (ahmed_run_1_surface: 2,041 cells and 2,110 points)" in message


def test_a_mesh_with_its_cells_in_another_order_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    reversed_rows = np.arange(500)[::-1]
    cells_around(load_cells()["volume_position"][reversed_rows], [pyvista.CellType.TETRA] * 500).save(
        tmp_path / "mesh.vtu"
    )
    message = refused(MeshError, onto=tmp_path / "mesh.vtu")
    assert "expected the positions of the sample in the mesh, got others" in message
    assert "(volume as cell data of mesh: 500 of 500 points differ by up to " in message


def test_two_swapped_cells_are_detected(refused: Callable[..., str], tmp_path: Path) -> None:
    rows = np.arange(500)
    rows[[3, 4]] = rows[[4, 3]]
    cells_around(load_cells()["volume_position"][rows], [pyvista.CellType.HEXAHEDRON] * 500).save(tmp_path / "mesh.vtu")
    assert "2 of 500 points differ by up to" in refused(MeshError, onto=tmp_path / "mesh.vtu")


def test_a_mesh_in_another_unit_is_refused_unless_positions_are_left_unchecked(
    refused: Callable[..., str], store: Path, tmp_path: Path
) -> None:
    mesh = read_with_pyvista(BODY_MESH)
    mesh.points *= 1000
    mesh.save(tmp_path / "mesh.vtp")
    assert "--no-check-positions" in refused(MeshError, onto=tmp_path / "mesh.vtp", target="out.vtp")
    done = export_sample(store, "run_1", tmp_path / "out.vtp", onto=tmp_path / "mesh.vtp", check_positions=False)
    assert "surface_pressure" in read_with_pyvista(done.path).cell_data


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_positions_may_differ_by_the_rounding_of_their_dtype(tmp_path: Path, dtype: str) -> None:
    root = write_samples(tmp_path / "store", {"run_1": load_cells()}, coords_dtype=dtype)
    # A point has no box: only the tolerance accepts its rounded position.
    position = load_cells()["volume_position"].astype(np.float64) + 1e-9
    pyvista.UnstructuredGrid(
        np.column_stack([np.ones(500, int), np.arange(500)]).ravel(), [pyvista.CellType.VERTEX] * 500, position
    ).save(tmp_path / "mesh.vtu")
    done = export_sample(root, "run_1", tmp_path / "out.vtu", onto=tmp_path / "mesh.vtu", association="cell")
    assert (done.domain, done.association, done.parts) == ("volume", "cell", ("mesh",))


def test_an_array_of_the_mesh_is_not_replaced(refused: Callable[..., str], store: Path, tmp_path: Path) -> None:
    mesh = read_with_pyvista(BODY_MESH)
    mesh.cell_data["surface_area"] = np.zeros(2041)
    mesh.save(tmp_path / "mesh.vtp")
    message = refused(MeshError, onto=tmp_path / "mesh.vtp", target="out.vtp")
    assert "part 'mesh' of the mesh already has cell data 'surface_area'" in message
    values = np.zeros(2041)
    assert "'p'" in refused(MeshError, onto=BODY_MESH, target="out.vtp", predictions={"p": values})


def test_an_array_over_points_may_have_the_name_of_one_over_cells(store: Path, tmp_path: Path) -> None:
    mesh = read_with_pyvista(BODY_MESH)
    mesh.point_data["surface_area"] = np.zeros(2110, dtype=np.float32)
    mesh.save(tmp_path / "mesh.vtp")
    written = read_with_pyvista(export_sample(store, "run_1", tmp_path / "o.vtp", onto=tmp_path / "mesh.vtp").path)
    assert not written.point_data["surface_area"].any()
    assert written.cell_data["surface_area"].all()


def test_vtp_is_refused_for_a_mesh_of_volumes(refused: Callable[..., str]) -> None:
    message = refused(MeshError, onto=CELLS_MESH, target="out.vtp")
    assert "expected PolyData for a .vtp, got UnstructuredGrid in ahmed_run_1_cells; write a .vtu" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no mesh", "Error parsing XML"),
        (CELLS_MESH.read_bytes()[:60_000], "Error parsing XML"),
    ],
    ids=["another format", "cut off"],
)
def test_a_mesh_that_cannot_be_read_is_refused(
    refused: Callable[..., str], tmp_path: Path, content: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mesh.vtu").write_bytes(content)
    message = refused(SourceError, onto=tmp_path / "mesh.vtu")
    assert message.startswith(f"mesh {tmp_path / 'mesh.vtu'} cannot be read ({reason}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"sample": "run_2"}, UnknownNameError, "sample 'run_2' is not in the store; did you mean 'run_1'?"),
        ({"domain": "volumes"}, UnknownNameError, "no domain 'volumes'; did you mean 'volume'?"),
        ({"fields": ["volume_presure"]}, UnknownNameError, "no field 'volume_presure'; did you mean 'volume_pressure'"),
        (
            {"domain": "volume", "fields": ["surface_area"]},
            UnknownNameError,
            "sample 'run_1' has no field 'surface_area'",
        ),
        ({"fields": "volume_sdf"}, ArgumentError, r"write \['volume_sdf'\]"),
        ({"fields": []}, ArgumentError, "nothing to export; name at least one field or prediction"),
        (
            {"fields": ["volume_sdf", "surface_area"]},
            ArgumentError,
            "surface_area, volume_sdf do not belong to one domain",
        ),
        (
            {"fields": ["surface_area"], "predictions": {"q": np.zeros(500)}},
            ArgumentError,
            "surface_area, q do not belong to one domain",
        ),
        ({"association": "cells"}, ArgumentError, "association: expected one of cell, point, got 'cells'"),
        ({"parts": ["bod"]}, ArgumentError, "the mesh has no part 'bod'; there are: ahmed_run_1_cells"),
        ({"onto": "nowhere.vtu"}, ArgumentError, "onto: nowhere.vtu does not exist"),
        (
            {"onto": "mesh.msh"},
            ArgumentError,
            "onto: expected a mesh in one of .vtu, .vtp, .pvtu, .pvtp, .vtk, .vtm, .case, .vtkhdf, ",
        ),
    ],
)
def test_an_invalid_export_is_refused(
    refused: Callable[..., str], parameters: dict[str, Any], error: type[StoreError], message: str
) -> None:
    assert re.search(message, refused(error, **{"onto": CELLS_MESH, **parameters}))


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros(499), r"of a domain of sample 'run_1' \(2,041 of surface, 500 of volume\), got \(499,\)"),
        (np.zeros((500, 3, 1)), r"expected shape \(n_points,\) or \(n_points, width\) .*got \(500, 3, 1\)"),
        (np.zeros((500, 0)), r"got \(500, 0\)"),
        (np.array(["a"] * 500), "expected numbers of at most 8 bytes, got dtype <U1"),
        (np.zeros(500, dtype=bool), "got dtype bool"),
        ([[1.0], [2.0, 3.0]], "expected an array, got list"),
        (torch.zeros(500, requires_grad=True), "expected an array, got Tensor .*detach"),
    ],
    ids=["short", "three axes", "no column", "text", "bool", "ragged", "with gradients"],
)
def test_a_prediction_of_another_shape_or_dtype_is_refused(
    refused: Callable[..., str], prediction: object, message: str
) -> None:
    given = refused(ArgumentError, onto=CELLS_MESH, predictions={"volume_pressure": prediction})
    assert re.search(f"prediction 'volume_pressure': .*{message}", given)


def test_a_prediction_with_the_name_of_a_field_is_refused(refused: Callable[..., str]) -> None:
    message = refused(ArgumentError, onto=CELLS_MESH, fields=["volume_sdf"], predictions={"volume_sdf": np.zeros(500)})
    assert "the field of that name is exported too" in message
    assert "'predicted_volume_sdf'" in message


def test_a_store_with_an_unknown_shuffle_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    root = write_samples(tmp_path / "store", {"run_1": load_cells()})
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"shuffle_algorithm": "hash-v1"', '"shuffle_algorithm": null'))
    assert ZarrChunkReader(root).manifest.shuffle_algorithm is None
    for content in ({}, {"predictions": {"q": np.zeros(500)}, "check_positions": False}):
        assert "the order of the source is unknown" in refused(
            OriginalOrderError, store=root, onto=CELLS_MESH, **content
        )
