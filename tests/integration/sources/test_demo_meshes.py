"""The bundled VTK files are those of the bundled simulations."""

from __future__ import annotations

import numpy as np
import pytest

from noether.data.zarr_store.demo import MESHES
from noether.data.zarr_store.sources import MappedSource, MeshFile, find_mapping
from support.ahmed import load_run

EXACT = ["surface_pressure", "surface_friction", "surface_normals", "surface_area"]
EXACT += ["volume_velocity", "volume_vorticity"]


@pytest.mark.parametrize("run", ["run_1", "run_2"])
def test_a_bundled_mesh_has_the_values_of_its_simulation(run: str) -> None:
    """Positions are computed from the mesh, polyhedra included, and may differ in the last bit of the largest ones."""
    source = MappedSource(MESHES, find_mapping("openfoam-vtk"))
    assert source.sample_ids() == ["run_1", "run_2"]
    given, expected = source.load(run).fields, load_run(run)
    for field in EXACT:
        np.testing.assert_array_equal(np.asarray(given[field]).squeeze(), expected[field].squeeze(), err_msg=field)
    for field in ("surface_position", "volume_position"):
        bit = np.spacing(np.abs(expected[field]).max())
        np.testing.assert_allclose(given[field], expected[field], rtol=0, atol=bit, err_msg=field)


@pytest.mark.parametrize("run", ["run_1", "run_2"])
def test_the_total_pressure_of_a_bundled_mesh_is_that_of_its_simulation(run: str) -> None:
    [part] = MeshFile(MESHES / run / "volume.vtu", "the mesh").read({"cell": ["totalPressureCoeff"], "point": []})
    values = np.asarray(part.data["cell"]["totalPressureCoeff"]).squeeze()
    np.testing.assert_array_equal(values, load_run(run)["volume_pressure"].squeeze())
