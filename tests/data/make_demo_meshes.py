"""Write the bundled VTK files from those of foamToVTK: ``python make_demo_meshes.py CASES``.

CASES has run_1 and run_2, each with the volume.vtu and surface.vtp of foamToVTK. Cells, points, their order and all
values stay the same. Only some cell arrays are kept, and the files are compressed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyvista
import vtk

from noether.data.zarr_store.demo import MESHES

# PyVista's own annotations reject what its functions take.
Mesh = Any

VOLUME, SURFACE = ("p", "totalPressureCoeff", "U", "vorticity"), ("p", "wallShearStress")


def main(cases: Path) -> None:
    for run in ("run_1", "run_2"):
        (MESHES / run).mkdir(parents=True, exist_ok=True)
        for name, kept, writer in (
            ("volume.vtu", VOLUME, vtk.vtkXMLUnstructuredGridWriter()),
            ("surface.vtp", SURFACE, vtk.vtkXMLPolyDataWriter()),
        ):
            write(with_only(pyvista.read(cases / run / name), kept), MESHES / run / name, writer)


def with_only(mesh: Mesh, kept: tuple[str, ...]) -> Mesh:
    """Return a mesh with these cell arrays, and without arrays of points and of the whole mesh."""
    mesh.point_data.clear()
    mesh.field_data.clear()
    for name in set(mesh.cell_data.keys()) - set(kept):
        del mesh.cell_data[name]
    mesh.cell_data.active_scalars_name = None
    if isinstance(mesh, pyvista.UnstructuredGrid):
        for polyhedra in (mesh.GetPolyhedronFaces(), mesh.GetPolyhedronFaceLocations()):
            polyhedra.ConvertTo32BitStorage()
    return mesh


def write(mesh: Mesh, path: Path, writer: Any) -> None:
    """Write a mesh with compressed appended data, without Base64; indices have 32 bits."""
    writer.SetFileName(str(path))
    writer.SetInputData(mesh)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToZLib()
    writer.SetCompressionLevel(9)
    writer.SetBlockSize(1 << 20)
    writer.SetHeaderTypeToUInt32()
    writer.SetIdTypeToInt32()
    if writer.Write() != 1:
        sys.exit(f"{path}: cannot be written")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
