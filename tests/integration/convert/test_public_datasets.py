"""Small copies of published datasets, with their names of files, parts and arrays, and a mapping for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from support.ahmed import Arrays
from support.ensight_files import EnSightPart, write_ensight
from support.trees import call

CELLS = 3**3
FACES = 6 * 3**2


def numbers(count: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 10, (count, width)[: 1 + (width > 1)]).astype(np.float32)


def box() -> pv.UnstructuredGrid:
    """A box of 27 cells around the origin."""
    image = pv.ImageData(dimensions=(4, 4, 4), origin=(-0.5, -0.5, -0.5), spacing=(1 / 3, 1 / 3, 1 / 3))
    return image.cast_to_unstructured_grid()


def skin() -> pv.PolyData:
    """A closed body of 54 faces within the box."""
    surface = box().extract_surface(algorithm="dataset_surface")
    surface.clear_data()
    surface.points *= 0.4
    return surface


def save_openfoam(
    directory: Path, number: int, surface: dict[str, int], volume: dict[str, int], *, n_pieces: int = 1
) -> dict[str, NDArray[np.float32]]:
    """Save boundary and volume with arrays of some widths as cell data, and return the arrays by name."""
    directory.mkdir(parents=True)
    body, cells = skin(), box()
    arrays: dict[str, NDArray[np.float32]] = {}
    for mesh, named, count in ((body, surface, FACES), (cells, volume, CELLS)):
        for name, width in named.items():
            arrays[f"{'surface' if mesh is body else 'volume'} {name}"] = numbers(count, width, len(arrays))
            mesh.cell_data[name] = list(arrays.values())[-1]
    body.save(directory / f"boundary_{number}.vtp")
    path = directory / f"volume_{number}.vtu"
    cells.save(path)
    if n_pieces > 1:
        data, step = path.read_bytes(), -(-path.stat().st_size // n_pieces)
        path.unlink()
        for piece in range(n_pieces):
            path.with_suffix(f".vtu.{piece:02}.part").write_bytes(data[piece * step : (piece + 1) * step])
    return arrays


def ahmedml(root: Path) -> Arrays:
    surface = {"pMean": 1, "wallShearStressMean": 3, "Cp_var": 1}
    volume = {"pMean": 1, "UMean": 3, "total(p)_coeffMean": 1, "vorticityMean": 3, "nutMean": 1}
    arrays = save_openfoam(root / "run_7", 7, surface, volume)
    return {
        "surface_pressure": arrays["surface pMean"],
        "surface_friction": arrays["surface wallShearStressMean"],
        "volume_pressure": arrays["volume total(p)_coeffMean"],
        "volume_velocity": arrays["volume UMean"],
        "volume_vorticity": arrays["volume vorticityMean"],
    }


def drivaerml(root: Path) -> Arrays:
    surface, volume = {"pMeanTrim": 1, "wallShearStressMeanTrim": 3}, {"pMeanTrim": 1, "UMeanTrim": 3, "CptMeanTrim": 1}
    arrays = save_openfoam(root / "run_12", 12, surface, volume, n_pieces=2)
    return {
        "surface_pressure": arrays["surface pMeanTrim"],
        "surface_friction": arrays["surface wallShearStressMeanTrim"],
        "volume_pressure": arrays["volume CptMeanTrim"],
        "volume_velocity": arrays["volume UMeanTrim"],
    }


def drivaerstar(root: Path) -> Arrays:
    body, cells = skin(), box()
    faces, hexahedra = body.faces.reshape(-1, 5)[:, 1:], cells.cells.reshape(-1, 9)[:, 1:]
    domain = {"Pressure": numbers(CELLS, 1, 1), "Velocity": numbers(CELLS, 3, 2)}
    hood = {"Pressure": numbers(FACES, 1, 3), "WallShearStress": numbers(FACES, 3, 4)}
    wheel = {"Pressure": numbers(FACES, 1, 5), "WallShearStress": numbers(FACES, 3, 6)}
    parts = [
        EnSightPart("domain", np.asarray(cells.points), "hexa8", hexahedra, domain),
        EnSightPart("Body.Hood", np.asarray(body.points), "quad4", faces, hood),
        EnSightPart("Block.Inlet", np.asarray(body.points) * 2, "quad4", faces, {"Pressure": hood["Pressure"]}),
        EnSightPart("Block.Ground", np.asarray(body.points) * 2, "quad4", faces, hood),
        EnSightPart("Wheels", np.asarray(body.points) + 1, "quad4", faces, wheel),
    ]
    write_ensight(root / "case_E" / "00042" / "case" / "E_00042.case", parts)
    return {
        "surface_pressure": np.concatenate([hood["Pressure"], wheel["Pressure"]]),
        "surface_friction": np.concatenate([hood["WallShearStress"], wheel["WallShearStress"]]),
        "volume_pressure": domain["Pressure"],
        "volume_velocity": domain["Velocity"],
    }


def shapenet_car(root: Path) -> Arrays:
    directory = root / "param3" / "6f0a1b"
    directory.mkdir(parents=True)
    body, cells = skin(), box()
    used = body.n_points
    # In the published data, some points belong to no face, and have values, too.
    with_unused = pv.PolyData(np.vstack([np.asarray(body.points), numbers(5, 3, 9)]), faces=body.faces)
    with_unused.save(directory / "quadpress_smpl.vtk")
    cells.save(directory / "hexvelo_smpl.vtk")
    pressure, velocity = numbers(used + 5, 1, 7), numbers(cells.n_points, 3, 8)
    np.save(directory / "press.npy", pressure)
    np.save(directory / "velo.npy", velocity)
    return {"surface_pressure": pressure[:used], "volume_velocity": velocity}


@pytest.mark.parametrize(
    ("name", "make", "sample_id", "derived"),
    [
        ("ahmedml-raw", ahmedml, "run_7", ["surface_normals", "surface_area", "volume_sdf"]),
        ("drivaerml-raw", drivaerml, "run_12", ["surface_normals", "surface_area", "volume_sdf"]),
        ("drivaerstar-raw", drivaerstar, "E_00042", ["surface_normals", "surface_area"]),
        ("shapenet-car-raw", shapenet_car, "param3/6f0a1b", ["surface_normals", "volume_sdf"]),
    ],
    ids=["AhmedML", "DrivAerML", "DrivAerStar", "ShapeNet-Car"],
)
def test_a_published_dataset_is_converted_by_its_preset(
    tmp_path: Path, name: str, make: Callable[[Path], Arrays], sample_id: str, derived: list[str]
) -> None:
    """The tree has the layout of the published dataset."""
    expected = make(tmp_path / "source")
    ran = call(
        "convert", tmp_path / "source", tmp_path / "store", "--mapping", name, "--workers", 0,
        "--values-dtype", "float32",
    )  # fmt: skip
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert list(reader.manifest.samples) == [sample_id]
    stored = reader.read_arrays(sample_id, order="original")
    assert set(stored) == {"surface_position", "volume_position", *derived, *expected}
    for field, values in expected.items():
        np.testing.assert_array_equal(stored[field], values, err_msg=field)
    lengths = np.linalg.norm(stored["surface_normals"], axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
