"""The command `export`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pyvista

from noether.data.zarr_store import ZarrChunkReader
from support.ahmed import load_run
from support.export_meshes import BODY_MESH, CELLS_MESH, assert_same_bits, read_with_pyvista
from support.reading import as_stored, write_samples
from support.trees import call

FIELDS = ["position", "pressure", "friction", "normals", "area"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("command") / "store", {"run_1": load_run("run_1")})


def test_fields_are_written_onto_the_mesh_and_named(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.vtp"
    ran = call("export", store, "run_1", out, "--onto", BODY_MESH)
    assert (ran.code, ran.stderr) == (0, "")
    names = ", ".join(f"surface_{name}" for name in FIELDS)
    assert ran.stdout == f"{out}: {names} (surface as cell data of {BODY_MESH.stem})\n"
    expected = as_stored(load_run("run_1")["surface_pressure"])
    assert_same_bits(np.asarray(read_with_pyvista(out).cell_data["surface_pressure"]), expected)


def test_predictions_come_from_an_npz_in_stored_order(store: Path, tmp_path: Path) -> None:
    stored = ZarrChunkReader(store).read_arrays("run_1")["surface_pressure"]
    np.savez(tmp_path / "pred.npz", predicted_pressure=stored + 1)
    options = ("--onto", BODY_MESH, "--predictions", tmp_path / "pred.npz", "--field", "surface_area")
    ran = call("export", store, "run_1", tmp_path / "out.vtp", *options)
    assert ran.code == 0, ran.output
    written = read_with_pyvista(tmp_path / "out.vtp").cell_data
    assert_same_bits(np.asarray(written["predicted_pressure"]), as_stored(load_run("run_1")["surface_pressure"]) + 1)
    assert_same_bits(np.asarray(written["surface_area"]), as_stored(load_run("run_1")["surface_area"]))


def test_every_option_reaches_the_export(store: Path, tmp_path: Path) -> None:
    body = read_with_pyvista(BODY_MESH)
    body.points *= 1000
    blocks = pyvista.MultiBlock({"body": body, "other": pyvista.Plane()})
    blocks.save(tmp_path / "mesh.vtm")
    out = tmp_path / "out.vtp"
    out.touch()
    options = ("--part", "bod*", "--domain", "surface", "--association", "cell", "--no-check-positions", "--overwrite")
    ran = call("export", store, "run_1", out, "--onto", tmp_path / "mesh.vtm", *options)
    assert ran.code == 0, ran.output
    assert ran.stdout.endswith("(surface as cell data of body)\n")
    assert "surface_area" in read_with_pyvista(out).cell_data


def test_left_out_arrays_of_the_mesh_are_noted(store: Path, tmp_path: Path) -> None:
    mesh = read_with_pyvista(BODY_MESH)
    mesh.cell_data["pair"] = np.zeros((2041, 2))
    mesh.save(tmp_path / "mesh.vtp")
    ran = call("export", store, "run_1", tmp_path / "out.case", "--onto", tmp_path / "mesh.vtp")
    note = (
        f"note: left out of {tmp_path / 'out.case'}: cell data pair: it has 2 components, and EnSight has only 1 or 3"
    )
    assert ran.stdout.splitlines()[0] == note


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--onto", CELLS_MESH],
            1,
            "error: sample 'run_1' onto .*: expected a mesh with the number of points of the sample",
        ),
        (["--onto", BODY_MESH, "--association", "face"], 2, "error: association: expected one of cell, point, got"),
        ([], 2, "error: target .*out.vtp: expected the mesh of the sample in onto"),
    ],
    ids=["misfit", "association", "no mesh"],
)
def test_an_error_is_one_line_and_an_exit_code(
    store: Path, tmp_path: Path, arguments: list[object], code: int, message: str
) -> None:
    ran = call("export", store, "run_1", tmp_path / "out.vtp", *arguments)
    assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (code, "", 1)
    assert re.match(message, ran.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory); check the path"),
        (b"no archive", "expected a .npz file with arrays of numbers; write it with numpy.savez"),
        (b"PK\x03\x04 cut off", "expected a .npz file with arrays of numbers; write it with numpy.savez"),
        (b"", "expected a .npz file with arrays of numbers; write it with numpy.savez"),
    ],
    ids=["missing", "another format", "damaged", "empty"],
)
def test_predictions_that_cannot_be_loaded_are_refused(
    store: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "pred.npz"
    if content is not None:
        path.write_bytes(content)
    ran = call("export", store, "run_1", tmp_path / "out.vtp", "--onto", BODY_MESH, "--predictions", path)
    assert (ran.code, ran.stderr) == (2, f"error: --predictions {path}: {message}\n")


@pytest.mark.parametrize("kind", ["npy", "objects"])
def test_predictions_that_are_no_archive_of_numbers_are_refused(store: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pred.npz"
    with path.open("wb") as file:
        if kind == "npy":
            np.save(file, np.zeros(2041))
        else:
            np.savez(file, surface_pressure=np.array([{}] * 2041, dtype=object))
    ran = call("export", store, "run_1", tmp_path / "out.npz", "--predictions", path)
    assert ran.code == 2
    assert (
        ran.stderr
        == f"error: --predictions {path}: expected a .npz file with arrays of numbers; write it with numpy.savez\n"
    )
