"""VTKHDF files from VTK's writer, with and without time steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvista
from numpy.typing import NDArray
from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
from vtkmodules.vtkCommonDataModel import vtkCompositeDataSet, vtkDataObject, vtkPartitionedDataSetCollection
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkIOHDF import vtkHDFReader, vtkHDFWriter

__all__ = ["box", "collection", "read_with_vtk", "write_steps", "write_vtkhdf"]


def box(step: float = 0, start: float = 0) -> pyvista.UnstructuredGrid:
    """Return a box of 12 cells, the first two of which are ghosts; its values show the step."""
    grid = pyvista.ImageData(dimensions=(4, 3, 3), origin=(start, 0, 0)).cast_to_unstructured_grid()
    grid.points = grid.points.astype(np.float32)
    grid.cell_data["p"] = (np.arange(grid.n_cells) + 100 * step + start).astype(np.float32)
    grid.cell_data["U"] = np.arange(3.0 * grid.n_cells).reshape(-1, 3)
    grid.cell_data["vtkGhostType"] = (np.arange(grid.n_cells) < 2).astype(np.uint8)
    grid.point_data["T"] = np.arange(grid.n_points) + 0.25 + step
    return grid


def collection(**partitions: Sequence[Any]) -> Any:
    """Return a collection of meshes by name, each in partitions."""
    collected = vtkPartitionedDataSetCollection()
    for number, (name, meshes) in enumerate(partitions.items()):
        for part, mesh in enumerate(meshes):
            collected.SetPartition(number, part, mesh)
        collected.GetMetaData(number).Set(vtkCompositeDataSet.NAME(), name)
    return collected


def write_vtkhdf(path: Path, mesh: Any) -> Path:
    """Write a mesh, or meshes in blocks, without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = vtkHDFWriter()
    writer.SetInputDataObject(mesh)
    _write(writer, path)
    return path


def write_steps(path: Path, times: Sequence[float], mesh_of: Callable[[int], Any]) -> Path:
    """Write one mesh for each time; `mesh_of` returns the mesh for the number of a step."""

    class Source(VTKPythonAlgorithmBase):
        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]  # of VTK
                nInputPorts=0, nOutputPorts=1, outputType=mesh_of(0).GetClassName()
            )

        def RequestInformation(self, *ports: Any) -> int:  # noqa: N802
            info, pipeline = ports[-1].GetInformationObject(0), vtkStreamingDemandDrivenPipeline
            info.Set(pipeline.TIME_STEPS(), list(times), len(times))
            info.Set(pipeline.TIME_RANGE(), [times[0], times[-1]], 2)
            return 1

        def RequestData(self, *ports: Any) -> int:  # noqa: N802
            time = ports[-1].GetInformationObject(0).Get(vtkStreamingDemandDrivenPipeline.UPDATE_TIME_STEP())
            output = vtkDataObject.GetData(ports[-1])
            output.ShallowCopy(mesh_of(list(times).index(time)))
            output.GetInformation().Set(vtkDataObject.DATA_TIME_STEP(), time)
            return 1

    path.parent.mkdir(parents=True, exist_ok=True)
    writer, source = vtkHDFWriter(), Source()
    writer.SetInputConnection(source.GetOutputPort())
    writer.SetWriteAllTimeSteps(True)
    _write(writer, path)
    return path


def _write(writer: Any, path: Path) -> None:
    writer.SetChunkSize(100)  # of rows; the default makes a small mesh a file of megabytes
    writer.SetFileName(str(path))
    assert writer.Write() == 1


def read_with_vtk(path: Path, step: int | None = None) -> Any:
    """Return the output of VTK's reader."""
    reader = vtkHDFReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    if step is not None:
        reader.SetStep(step)
    reader.Update()
    return reader.GetOutputDataObject(0)


def own_values(mesh: Any, name: str) -> NDArray[Any]:
    """Return cell data of a mesh after VTK has removed its ghosts."""
    copied = pyvista.wrap(mesh).copy()
    copied.RemoveGhostCells()
    return np.asarray(copied.cell_data[name])
