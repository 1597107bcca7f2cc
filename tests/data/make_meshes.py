"""Cut the meshes of the tests out of a case: ``python make_meshes.py CASE``, with ``CASE/vtk`` and ``CASE/ensight``.

CASE/vtk has the volume.vtu and surface.vtp of foamToVTK, CASE/ensight the run_1.case of foamToEnsight. Kept are the
whole body, the cells of the volume near its rear end, and the array ``row``: the row of demo/simulations/run_1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvista
from numpy.typing import NDArray

from noether.data.zarr_store.demo import SIMULATIONS

# PyVista's own annotations reject what its functions take.
Mesh = Any

HERE = Path(__file__).parent / "meshes"
SCALARS, VECTORS = ("p", "totalPressureCoeff", "row"), ("U", "vorticity", "wallShearStress")
RUN_1 = SIMULATIONS / "run_1"
ELEMENTS = {5: "tria3", 7: "nsided", 9: "quad4", 12: "hexa8", 13: "penta6", 42: "nfaced"}


def main(case: Path) -> None:
    volume: Mesh = pyvista.read(case / "vtk" / "volume.vtu")
    surface: Mesh = pyvista.read(case / "vtk" / "surface.vtp")
    for mesh in (volume, surface):
        mesh["row"] = np.arange(mesh.n_cells, dtype=np.int32)
    (HERE / "vtk" / "run_1").mkdir(parents=True, exist_ok=True)
    with_only(near_rear_end(volume)).save(HERE / "vtk" / "run_1" / "volume.vtu", compression="zlib")
    with_only(surface).save(HERE / "vtk" / "run_1" / "surface.vtp", compression="zlib")

    parts: Mesh = pyvista.read(case / "ensight" / "run_1.case")
    inner, body, ground = (parts[name] for name in ("internalMesh", "body", "ground"))
    inner["row"] = rows_of(inner, {"U": "volume_cell_velocity", "vorticity": "volume_cell_vorticity"})
    body["row"] = rows_of(body, {"p": "surface_pressure", "wallShearStress": "surface_wallshearstress"})
    ground["row"] = np.full(ground.n_cells, -1)
    inner, ground = near_rear_end(inner), near_rear_end(ground)
    (HERE / "ensight" / "run_1" / "data").mkdir(parents=True, exist_ok=True)
    write_ensight(HERE / "ensight" / "run_1", {"internalMesh": inner, "ground": ground, "body": body})


def near_rear_end(mesh: Mesh) -> Mesh:
    x, y, z = mesh.cell_centers().points.T
    return mesh.extract_cells(np.flatnonzero((abs(x) < 0.1) & (y < 0.25) & (z < 0.42)))


def with_only(mesh: Mesh) -> Mesh:
    for data, kept in ((mesh.cell_data, {*SCALARS, *VECTORS}), (mesh.point_data, {"p"}), (mesh.field_data, set())):
        for name in set(data.keys()) - kept:
            del data[name]
    return mesh


def rows_of(mesh: Mesh, files: dict[str, str]) -> NDArray[Any]:
    """EnSight sorts cells by type; the values that a cell keeps tell which it is."""
    there = np.column_stack([np.load(RUN_1 / f"{file}.npy") for file in files.values()])
    rows = {values.tobytes(): row for row, values in enumerate(there)}
    return np.array([rows[values.tobytes()] for values in np.column_stack([mesh[name] for name in files])])


def text(line: str) -> bytes:
    return line.encode().ljust(80)


def integers(*values: Any) -> bytes:
    return np.concatenate([np.atleast_1d(value) for value in values]).astype("<i4").tobytes()


def floats(values: Any) -> bytes:
    """Values one component after the other."""
    return np.asarray(values, "<f4").T.tobytes()


def write_ensight(folder: Path, parts: dict[str, Mesh]) -> None:
    """Write EnSight Gold, C binary (EnSight User Manual, "EnSight Gold Casefile Format")."""
    lines = ["FORMAT", "type: ensight gold", "", "GEOMETRY", "model: geometry", "", "VARIABLE"]
    for rank, names in (("scalar", SCALARS), ("vector", VECTORS)):
        lines += [f"{rank} per element: 1 {name} data/{name}.***" for name in names]
    lines += ["", "TIME", "time set: 1", "number of steps: 1", "filename start number: 500", "filename increment: 1"]
    (folder / "run_1.case").write_text("\n".join([*lines, "time values: 500", ""]))

    geometry = [text(line) for line in ("C Binary", "Ahmed body", "", "node id off", "element id off")]
    for number, (name, mesh) in enumerate(parts.items(), start=1):
        geometry += [text("part"), integers(number), text(name), text("coordinates"), integers(mesh.n_points)]
        geometry.append(floats(mesh.points))
        geometry += [piece for kind in kinds_of(mesh) for piece in elements(mesh, kind)]
    (folder / "geometry").write_bytes(b"".join(geometry))

    for name in (*SCALARS, *VECTORS):
        variable = [text(name)]
        for part, mesh in enumerate(parts.values(), start=1):
            variable += [text("part"), integers(part)]
            for kind in kinds_of(mesh):
                variable += [text(ELEMENTS[kind]), floats(mesh[name][mesh.celltypes == kind])]
        (folder / "data" / f"{name}.500").write_bytes(b"".join(variable))


def kinds_of(mesh: Mesh) -> list[int]:
    return [int(kind) for kind in np.unique(mesh.celltypes)]


def elements(mesh: Mesh, kind: int) -> Iterator[bytes]:
    cells = [mesh.get_cell(number) for number in np.flatnonzero(mesh.celltypes == kind)]
    yield text(ELEMENTS[kind])
    yield integers(len(cells))
    if kind == 42:
        yield integers([cell.n_faces for cell in cells])
        yield integers([face.n_points for cell in cells for face in cell.faces])
        yield integers(np.concatenate([face.point_ids for cell in cells for face in cell.faces]) + 1)
        return
    if kind == 7:
        yield integers([cell.n_points for cell in cells])
    yield integers(np.concatenate([cell.point_ids for cell in cells]) + 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
