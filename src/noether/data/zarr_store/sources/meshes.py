"""Read mesh files with PyVista: VTK, VTKHDF, CGNS, EnSight Gold, STL."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import MissingDependencyError, SourceError
from noether.data.zarr_store.sources.cells import Cells, Polyhedra
from noether.data.zarr_store.sources.ensight_case import case_of_one_step
from noether.data.zarr_store.sources.ensight_files import case_at_step, extract_step
from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS, own_cells, own_points
from noether.data.zarr_store.sources.hdf5_meshes import (
    HDF5_MESH_FILE_SUFFIXES,
    HDF5_MESH_SUFFIXES,
    check_mesh_file,
)
from noether.data.zarr_store.sources.local_copies import scratch_directory
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.mesh_part import Arrays, LoadedPart, MeshPart
from noether.data.zarr_store.sources.mesh_readers import (
    blocks_of,
    open_reader,
    times_of,
    without_points_of_the_volume,
)
from noether.data.zarr_store.sources.referenced_files import PIECED_SUFFIXES, names_in
from noether.data.zarr_store.sources.steps import Step, Steps
from noether.data.zarr_store.sources.suffixes import suffix_of

if TYPE_CHECKING:
    import pyvista

__all__ = ["MESH_SUFFIXES", "MeshFile"]

MESH_SUFFIXES = (".vtu", ".vtp", ".pvtu", ".pvtp", ".vtk", ".vtm", ".case", ".stl", *HDF5_MESH_SUFFIXES)

# VTK reports errors to one output window for the whole process.
_vtk_lock = threading.RLock()


class MeshFile:
    """An open mesh file, whose header has been read.

    Parameters
    ----------
    path : Path
        Local path. The suffix determines the format; for a generic HDF5 suffix, the root of the file does.
    where : str
        Sample and file; errors begin with it.
    way_out : str
        Remedy for a file that cannot be read; errors end with it.
    step : int, "last" or None
        Time step to read. None reads the last step, if the file has steps.

    Attributes
    ----------
    steps : Steps
        Time steps of the file.
    step : int or None
        Number of the step that is read. None if the file has no steps, or if they have no numbers.
    names : dict of {"cell", "point"} to list of str, or None
        Names of arrays by association; None if the format has no list of its arrays in the header.

    Raises
    ------
    SourceError
        The file cannot be read, a piece that it names is missing, or the step does not exist.
    MissingDependencyError
        PyVista is not installed, or h5py for a format that is HDF5.
    """

    def __init__(self, path: Path, where: str, way_out: str = "make the file again", step: Step = None) -> None:
        try:
            import pyvista  # noqa: F401 - checks that it is installed
        except ImportError as error:
            raise MissingDependencyError("pyvista", f"reading {suffix_of(path)} files", "mesh") from error
        self._where, self._way_out, self._name = where, way_out, path.stem
        self._aliases: dict[str, str] = {}
        self.steps = Steps()
        suffix = suffix_of(path)
        if suffix in HDF5_MESH_FILE_SUFFIXES:
            suffix, self.steps = check_mesh_file(path, where)
        elif suffix in PIECED_SUFFIXES:
            _require_pieces(path, where)
        elif suffix == ".case":
            path = self._case_of_step(path, step)
        self._is_cgns = suffix == ".cgns"
        if self._is_cgns:
            self._way_out += ", or export it as EnSight Gold or VTK: VTK's reader does not support all of CGNS"
        with self._errors_raised():
            self._reader: Any = open_reader(path, suffix)
            if self._is_cgns:
                self.steps = _steps_of_cgns(self._reader)
        self.step = self.steps.choose(step, where)
        self.names: dict[Association, list[str]] | None = None
        if hasattr(self._reader, "cell_array_names"):
            self.names = {"cell": list(self._reader.cell_array_names), "point": list(self._reader.point_array_names)}
        if self.step is not None and suffix == ".vtkhdf":
            # With a time instead of a step, VTK would read the first step of the blocks of a composite.
            self._reader.reader.SetStep(self.step)
        self._time = self.steps.times[self.step] if self.step is not None and self._is_cgns else None

    def _case_of_step(self, path: Path, step: Step) -> Path:
        """Write a temporary case that has only one step, with links to its files; return its path.

        VTK's reader applies one time to all time sets, cannot read names with blanks, and never returns if a file of
        several steps lacks a step. If the case names no files, return its own path.
        """
        case = case_at_step(path, step, self._where)
        if not case.header or not case.entries:
            return path
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        directory = stack.enter_context(scratch_directory())
        self.steps = case.steps
        files = list(dict.fromkeys(one for entry in case.entries for one in entry.step_files))
        links = {one: f"file{number}" for number, one in enumerate(files)}
        for (name, step_in_file), link in links.items():
            if step_in_file is None:
                (directory / link).symlink_to(Path(path.parent, name).absolute())
            else:
                extract_step(path.parent / name, step_in_file, directory / link, self._where)
        self._aliases = {str(directory / link): str(path.parent / name) for (name, _), link in links.items()}
        written = directory / path.name
        written.write_text(case_of_one_step(case.header, case.entries, links), errors="surrogateescape")
        return written

    def read(self, wanted: Mapping[Association, Collection[str]] | None = None) -> list[MeshPart]:
        """Read the parts with the `wanted` arrays, given by association.

        Without `wanted`, or if `names` is None, all arrays are read.

        Raises
        ------
        SourceError
            The file is damaged, or holds no mesh.
        """
        if self.names is not None and wanted is not None:
            self._reader.disable_all_cell_arrays()
            self._reader.disable_all_point_arrays()
            for name in {*wanted["cell"], *GHOST_ARRAYS}.intersection(self.names["cell"]):
                self._reader.enable_cell_array(name)
            for name in {*wanted["point"], *GHOST_ARRAYS}.intersection(self.names["point"]):
                self._reader.enable_point_array(name)
        with self._errors_raised():
            parts: list[MeshPart] = [_part(name, block) for name, block in self._update()]
        self._require_found(parts)
        return parts

    def read_blocks(self) -> list[tuple[str, pyvista.DataSet]]:
        """Read the names and PyVista meshes of the parts, with all arrays and without ghost cells.

        Raises the same errors as `read`.
        """
        with self._errors_raised():
            blocks = [(name, _without_ghosts(block)) for name, block in self._update()]
        self._require_found(blocks)
        return blocks

    def _errors_raised(self) -> AbstractContextManager[None]:
        return _vtk_errors_raised(self._where, self._way_out, self._aliases)

    def _update(self) -> list[tuple[str, pyvista.DataSet]]:
        # PyVista's `read` would repeat a read that has failed.
        if self._time is None:
            self._reader.reader.Update()
        else:
            self._reader.reader.UpdateTimeStep(self._time)
        blocks = blocks_of(self._reader.reader.GetOutputDataObject(0), self._name, self._where)
        return [(name, without_points_of_the_volume(block) if self._is_cgns else block) for name, block in blocks]

    def _require_found(self, parts: Sized) -> None:
        if not len(parts):
            raise SourceError(f"{self._where} holds no mesh; {self._way_out}")


def _steps_of_cgns(reader: Any) -> Steps:
    """Return the time steps of a CGNS file. VTK reports one time for a file without steps."""
    times = times_of(reader)
    return Steps(len(times), times) if len(times) > 1 else Steps()


def _require_pieces(path: Path, where: str) -> None:
    names = names_in(path.name, path.read_text(encoding="utf-8", errors="replace"))
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise SourceError(
            f"{where} lacks {len(missing):,} of its {len(names):,} pieces, such as {missing[0]!r}; expected all pieces "
            "at the paths that the file names; fetch the missing files"
        )


def _without_ghosts(block: pyvista.DataSet) -> pyvista.DataSet:
    """Return a mesh without ghost cells and without the ghost arrays."""
    import pyvista

    if own_cells(_flags(block.cell_data)) is not None:
        explicit = isinstance(block, pyvista.PolyData | pyvista.UnstructuredGrid)
        block = block.copy() if explicit else block.cast_to_unstructured_grid()
        block.RemoveGhostCells()
    for name in GHOST_ARRAYS:
        block.cell_data.pop(name, None)
        block.point_data.pop(name, None)
    return block


def _flags(data: Mapping[str, Any] | pyvista.DataSetAttributes) -> NDArray[Any] | None:
    return np.asarray(data[GHOST_ARRAYS[0]]) if GHOST_ARRAYS[0] in data else None


def _length(time_set: Any) -> int:
    return int(time_set.GetNumberOfTuples())


def _part(name: str, dataset: pyvista.DataSet) -> LoadedPart:
    grid = dataset.cast_to_unstructured_grid()
    data: dict[Association, Arrays] = {
        "cell": {key: np.asarray(values) for key, values in grid.cell_data.items()},
        "point": {key: np.asarray(values) for key, values in grid.point_data.items()},
    }
    offsets, connectivity = _lists(grid.GetCells())
    polyhedra = None
    # For meshes without polyhedra, VTK's reader of pieces sometimes returns empty lists of faces instead of None.
    if grid.GetPolyhedronFaces() is not None and grid.GetPolyhedronFaces().GetNumberOfCells():
        polyhedra = Polyhedra(*_lists(grid.GetPolyhedronFaceLocations()), *_lists(grid.GetPolyhedronFaces()))
    cells = Cells(np.asarray(grid.celltypes), offsets, connectivity, polyhedra)
    own = own_cells(_flags(data["cell"]))
    if own is not None:
        cells.require_points_below(grid.n_points)
    points = np.asarray(grid.points)
    if points.dtype.kind != "f":  # centres and normals need floats
        points = points.astype(np.float64)
    owned = own_points(_flags(data["point"]), len(points), [cells], own)
    return LoadedPart(name, points, cells, data, {"cell": own, "point": owned})


def _lists(cells: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the offsets and the numbers of a VTK list of lists."""
    import pyvista

    offsets, connectivity = cells.GetOffsetsArray(), cells.GetConnectivityArray()
    return np.asarray(pyvista.convert_array(offsets)), np.asarray(pyvista.convert_array(connectivity))


@contextmanager
def _vtk_errors_raised(where: str, way_out: str, aliases: Mapping[str, str]) -> Iterator[None]:
    """Raise errors of VTK as `SourceError`. VTK only prints an error, and continues with incomplete data.

    `aliases` maps each temporary path in the messages of VTK to the real path of the file.
    """
    import pyvista

    failure: Exception | None = None
    with (
        _vtk_lock,
        pyvista.vtk_verbosity("off"),
        pyvista.VtkErrorCatcher(send_to_logging=False) as catcher,
    ):
        try:
            yield
        except (MemoryError, SourceError):
            raise
        except Exception as error:  # noqa: BLE001 - after an error of VTK, PyVista may raise anything
            failure = error
    said = _what_vtk_said(catcher)
    # Replace longer paths first: a path can be the beginning of another.
    for alias in sorted(aliases, key=len, reverse=True):
        said = said.replace(alias, aliases[alias])
    if failure is not None or said:
        reason = said or f"it is damaged, or in another format: {failure!r}"
        raise SourceError(f"{where} cannot be read ({reason}); {way_out}") from failure


def _what_vtk_said(catcher: pyvista.VtkErrorCatcher) -> str:
    """Return the first two errors that VTK reported. They name the cause, and later errors follow from it."""
    errors = [event.alert for event in catcher.error_events]
    # If the end of a legacy file is missing, VTK only warns, and returns uninitialized memory.
    errors += [event.alert for event in catcher.warning_events if re.search(r"\berror\b", event.alert, re.IGNORECASE)]
    lines = [line.strip(" .!") for error in errors for line in error.strip().splitlines()[:2]]
    causes = [line for line in lines if not line.startswith(("Generic Warning: In ", "Algorithm ", "Debug: "))]
    return "; ".join(list(dict.fromkeys(causes))[:2])
