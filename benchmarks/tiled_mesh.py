"""A large mesh: copies of a piece of a real mesh side by side, as a ``.vtu`` like those of `vtk_files`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.vtk_files import Make, VtkArray, write_grid
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.demo import SIMULATIONS
from noether.data.zarr_store.sources import Cells, MeshFile

__all__ = ["require_centres", "write_tiled"]

_REPOSITORY = Path(__file__).parents[1]
# Hexahedra, prisms and polyhedra of snappyHexMesh. The cell data `row` hold the row of each cell in OpenFOAM's arrays.
_MESH = _REPOSITORY / "tests" / "data" / "meshes" / "vtk" / "run_1" / "volume.vtu"
_CENTRES = SIMULATIONS / "run_1" / "volume_cell_position.npy"
_APART = 4.0
_MOST_ULP = 2.0


def write_tiled(path: Path, n_cells: int) -> tuple[Path, int, int]:
    """Write copies with at least `n_cells` cells, unless the file exists; return path, numbers of cells and points."""
    [part] = MeshFile(_MESH, "the mesh").read({"cell": ["p", "U", "vorticity"], "point": []})
    cells, points = part.cells, part.points
    n_copies = -(-n_cells // len(cells))
    of_cells = {name: np.asarray(values) for name, values in part.data["cell"].items()}
    made = [
        *(("CellData", name, "f4", _tiled(values, 0), values) for name, values in of_cells.items()),
        ("Points", "Points", "f4", _moved(points, n_copies), points),
        *(("Cells", name, "i8", _tiled(values, step), values) for name, values, step in _lists_of(cells, len(points))),
        ("Cells", "types", "u1", _tiled(cells.types, 0), cells.types),
    ]
    arrays = [
        VtkArray(section, name, dtype, values[0].size, n_copies * len(values), make)
        for section, name, dtype, make, values in made
    ]
    write_grid(path, arrays, n_points=n_copies * len(points), n_cells=n_copies * len(cells))
    return path, n_copies * len(cells), n_copies * len(points)


def require_centres(root: Path, sample_id: str) -> float:
    """Return the largest difference between the positions of a store and OpenFOAM's moved centres, in float32 ulp.

    Raises
    ------
    RuntimeError
        The difference is larger than rounding explains; the coordinates of the mesh's points are float32, too.
    """
    [part] = MeshFile(_MESH, "the mesh").read({"cell": ["row"], "point": []})
    centres = np.load(_CENTRES)[np.asarray(part.data["cell"]["row"])].astype(np.float64)
    stored = ZarrChunkReader(str(root)).read_arrays(sample_id, fields=["volume_position"], order="original")
    found = stored["volume_position"].reshape(-1, len(centres), 3)
    worst = 0.0
    for moved, of_copy in zip(_offsets(len(found)), found, strict=True):
        expected = centres + moved
        ulp = np.spacing(np.abs(expected).max(axis=1).astype(np.float32))
        worst = max(worst, float((np.abs(of_copy - expected) / ulp[:, None]).max()))
    if worst > _MOST_ULP:
        raise RuntimeError(f"centres differ from OpenFOAM's by {worst:.1f} ulp of float32")
    return worst


def _lists_of(cells: Cells, n_points: int) -> list[tuple[str, NDArray[Any], int]]:
    """Return VTK 9.4's lists of cells and faces: name, numbers of one copy, and the step to the next copy."""
    faces = cells.polyhedra
    assert faces is not None
    return [
        ("connectivity", cells.connectivity, n_points),
        ("offsets", cells.offsets[1:], len(cells.connectivity)),
        ("face_connectivity", faces.connectivity, n_points),
        ("face_offsets", faces.face_offsets[1:], len(faces.connectivity)),
        ("polyhedron_to_faces", faces.face_ids, len(faces.face_offsets) - 1),
        ("polyhedron_offsets", faces.cell_offsets[1:], len(faces.face_ids)),
    ]


def _offsets(n_copies: int) -> NDArray[Any]:
    """Return the offset of each copy. Copies are side by side in three directions, so that coordinates stay small."""
    side = int(np.ceil(n_copies ** (1 / 3)))
    numbers = np.arange(n_copies)
    places = [numbers % side, numbers // side % side, numbers // side**2]
    return _APART * np.stack(places, axis=1, dtype=np.float64)


def _tiled(values: NDArray[Any], step: int) -> Make:
    """Return a function that makes rows of all copies. From one copy to the next, the values grow by `step`."""

    def make(start: int, stop: int) -> NDArray[Any]:
        copy, row = np.divmod(np.arange(start, stop), len(values))
        taken: NDArray[Any] = values[row]
        return taken + copy * step if step else taken

    return make


def _moved(points: NDArray[Any], n_copies: int) -> Make:
    offsets = _offsets(n_copies)

    def make(start: int, stop: int) -> NDArray[Any]:
        copy, row = np.divmod(np.arange(start, stop), len(points))
        moved: NDArray[Any] = points[row] + offsets[copy]
        return moved

    return make
