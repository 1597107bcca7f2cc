"""Open VTK's reader of each mesh format, and split its output into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noether.data.zarr_store.errors import SourceError

if TYPE_CHECKING:
    import pyvista

__all__ = ["blocks_of", "open_reader", "times_of", "without_points_of_the_volume"]


def open_reader(path: Path, suffix: str) -> Any:
    """Open a file with PyVista's reader for the format of `suffix`. This reads the header of the file."""
    import pyvista

    if suffix == ".pvtp":
        return _pieced_reader(path)
    if suffix == ".vtkhdf":
        return _hdf_reader(path)
    if suffix == ".cgns":
        return _cgns_reader(path)
    return pyvista.get_reader(path, suffix)  # type: ignore[no-untyped-call]  # of pyvista


def _pieced_reader(path: Path) -> Any:
    import pyvista
    from vtkmodules.vtkIOXML import vtkXMLPPolyDataReader

    class PiecedReader(pyvista.XMLPolyDataReader):
        # PyVista has no reader for .pvtp files, and cannot find VTK's reader by name.
        _vtk_class_name = ""
        _class_reader = vtkXMLPPolyDataReader

    return PiecedReader(path)


def _hdf_reader(path: Path) -> Any:
    import pyvista

    class HdfReader(pyvista.HDFReader):
        # PyVista's reader cannot select arrays.
        @property
        def cell_array_names(self) -> list[str]:
            return [self.reader.GetCellArrayName(number) for number in range(self.reader.GetNumberOfCellArrays())]

        @property
        def point_array_names(self) -> list[str]:
            return [self.reader.GetPointArrayName(number) for number in range(self.reader.GetNumberOfPointArrays())]

        def disable_all_cell_arrays(self) -> None:
            self.reader.GetCellDataArraySelection().DisableAllArrays()

        def disable_all_point_arrays(self) -> None:
            self.reader.GetPointDataArraySelection().DisableAllArrays()

        def enable_cell_array(self, name: str) -> None:
            self.reader.GetCellDataArraySelection().EnableArray(name)

        def enable_point_array(self, name: str) -> None:
            self.reader.GetPointDataArraySelection().EnableArray(name)

    reader = HdfReader(path)
    reader.reader.UpdateInformation()
    return reader


def _cgns_reader(path: Path) -> Any:
    import pyvista

    reader = pyvista.CGNSReader(path)
    # By default, VTK reads only the first base.
    reader.enable_all_bases()
    reader.reader.UpdateInformation()
    reader.enable_all_cell_arrays()
    reader.enable_all_point_arrays()
    return reader


def times_of(reader: Any) -> tuple[float, ...]:
    """Return the times that VTK's reader reports for a file."""
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

    times = reader.reader.GetOutputInformation(0).Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS())
    return tuple(map(float, times or ()))


def without_points_of_the_volume(block: Any) -> Any:
    """Remove the unused points of a boundary in a CGNS file; return any other block unchanged.

    VTK attaches all points of the volume to each boundary.
    """
    import pyvista
    from vtkmodules.vtkFiltersCore import vtkRemoveUnusedPoints

    flags = block.field_data.get("ispatch", [0])
    if not flags[0] or not isinstance(block, pyvista.UnstructuredGrid):
        return block
    remove = vtkRemoveUnusedPoints()
    remove.SetGenerateOriginalPointIds(False)
    remove.SetInputData(block)
    remove.Update()
    return pyvista.wrap(remove.GetOutput())


def blocks_of(output: Any, name: str, where: str) -> Iterator[tuple[str, pyvista.DataSet]]:
    """Yield the names and meshes in VTK's output, without empty meshes.

    A block in a block has both names, joined with ``/``. The partitions of a mesh are merged into one mesh.

    Parameters
    ----------
    output : vtkDataObject
        A mesh, or blocks of meshes.
    name : str
        Name for a mesh that is not in a block.
    where : str
        Sample and file; errors begin with it.

    Raises
    ------
    SourceError
        A block is not a mesh.
    """
    import pyvista

    for block_name, block in _leaves(output, name):
        if not block.IsA("vtkDataSet"):
            raise SourceError(
                f"{where}: {block_name!r} is a {block.GetClassName()}; expected a mesh of points and cells; save it "
                "as .vtu or .vtm in ParaView (File > Save Data)"
            )
        if block.GetNumberOfPoints():
            yield block_name.strip(), pyvista.wrap(block)  # EnSight pads names with blanks


def _leaves(output: Any, name: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(name, data object)`` for each data object that is not a composite of others."""
    if output.IsA("vtkPartitionedDataSet"):
        yield from ((name, joined) for joined in _joined(output))
    elif output.IsA("vtkPartitionedDataSetCollection"):
        for number in range(output.GetNumberOfPartitionedDataSets()):
            yield from _leaves(output.GetPartitionedDataSet(number), path + _block_name(output, number))
    elif output.IsA("vtkMultiBlockDataSet"):
        for number in range(output.GetNumberOfBlocks()):
            block = output.GetBlock(number)
            if block is not None:
                block_name = path + _block_name(output, number)
                yield from _leaves(block, block_name, f"{block_name}/")
    else:
        yield name, output


def _block_name(output: Any, number: int) -> str:
    from vtkmodules.vtkCommonDataModel import vtkCompositeDataSet

    named = output.GetMetaData(number).Get(vtkCompositeDataSet.NAME()) if output.HasMetaData(number) else None
    return named or f"Block-{number:02}"  # the name that PyVista gives to unnamed blocks


def _joined(partitions: Any) -> list[Any]:
    """Return the partitions of a mesh merged into a list of one mesh; an empty list if all partitions are empty."""
    from vtkmodules.vtkFiltersCore import vtkAppendFilter, vtkAppendPolyData

    there = [partitions.GetPartitionAsDataObject(number) for number in range(partitions.GetNumberOfPartitions())]
    filled = [one for one in there if one is not None and not (one.IsA("vtkDataSet") and not one.GetNumberOfPoints())]
    if len(filled) < 2 or not all(one.IsA("vtkDataSet") for one in filled):
        return filled
    are_surfaces = all(one.IsA("vtkPolyData") for one in filled)
    append = vtkAppendPolyData() if are_surfaces else vtkAppendFilter()
    for one in filled:
        append.AddInputDataObject(one)
    append.Update()
    return [append.GetOutputDataObject(0)]
