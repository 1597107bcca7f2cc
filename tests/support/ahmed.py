"""The bundled Ahmed body simulations, as arguments of a writer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store.demo import SIMULATIONS

Arrays = dict[str, NDArray[Any]]

AHMED = SIMULATIONS
RUNS = tuple(f"run_{i}" for i in range(1, 7))

AHMED_FILEMAP = FileMap(
    surface_position="surface_position_vtp.npy",
    surface_pressure="surface_pressure.npy",
    surface_friction="surface_wallshearstress.npy",
    surface_normals="surface_normal_vtp.npy",
    surface_area="surface_area_vtp.npy",
    volume_position="volume_cell_position.npy",
    volume_pressure="volume_cell_totalpcoeff.npy",
    volume_velocity="volume_cell_velocity.npy",
    volume_vorticity="volume_cell_vorticity.npy",
    volume_distance_to_surface="volume_cell_sdf.npy",
)

_FILES = {
    ("volume_sdf" if attribute == "volume_distance_to_surface" else attribute): filename
    for attribute, filename in AHMED_FILEMAP.model_dump(exclude_none=True).items()
}


def load_run(name: str) -> Arrays:
    """Return all fields of one simulation by canonical name."""
    return {field: np.load(AHMED / name / filename) for field, filename in _FILES.items()}
