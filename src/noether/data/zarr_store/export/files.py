"""Exported files: they appear atomically, and replace other files only with `overwrite`."""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.export.meshes import as_unstructured
from noether.data.zarr_store.stores import is_remote

if TYPE_CHECKING:
    import pyvista

__all__ = ["TARGET_SUFFIXES", "check_target", "companion", "staged", "write_grid", "write_npz"]

TARGET_SUFFIXES = (".vtu", ".vtp", ".case", ".npz")
_COMPANION_SUFFIX = ".data"


def check_target(target: str | os.PathLike[str], onto: str | os.PathLike[str] | None, *, overwrite: bool) -> Path:
    """Check the target of an export, and return its path.

    Raises
    ------
    ArgumentError
        The target is not a local path, has an unknown format, exists already, or is the mesh itself; a mesh is missing,
        or a ``.npz``, which needs none, is requested with a mesh.
    """
    if is_remote(target):
        raise ArgumentError(f"target: expected a local path, got {target}; write a local file, and upload it")
    path = Path(target)
    if path.suffix not in TARGET_SUFFIXES:
        raise ArgumentError(
            f"target: expected a file of one of {', '.join(TARGET_SUFFIXES)}, got {path}; use one of these suffixes"
        )
    if path.suffix == ".npz" and onto is not None:
        raise ArgumentError(
            f"target {path}: expected no mesh in onto for a .npz, got {onto}; leave onto out, or write a .vtu"
        )
    if path.suffix != ".npz" and onto is None:
        raise ArgumentError(
            f"target {path}: expected the mesh of the sample in onto, got none; set onto, or write a .npz, which needs "
            "no mesh"
        )
    if path.suffix == ".case" and any(character.isspace() for character in path.name):
        raise ArgumentError(f"target {path}: EnSight allows no blanks in file names; use another name")
    if onto is not None and path.resolve() == Path(onto).resolve():
        raise ArgumentError(f"target {path}: the target is the mesh itself; write to another file")
    for place in (path, companion(path)):
        if place.exists() and not overwrite:
            raise ArgumentError(f"target: {place} exists already; write to another file, or set overwrite")
    return path


def companion(target: Path) -> Path:
    """Return the path of the data directory of an EnSight case."""
    return target.with_name(target.name + _COMPANION_SUFFIX)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield the path of a file to write, or of a directory to create, and rename it to `target` at the end."""
    place = target.with_name(f".{uuid.uuid4().hex}{target.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield place
        if place.is_dir() and target.is_dir():
            shutil.rmtree(target)
        place.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot write {target} ({error.strerror or error}); check the directory and its free space"
        ) from error
    finally:
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)


def write_npz(target: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a ``.npz`` file that `numpy.load` reads, one array after the other."""
    with staged(target) as place, zipfile.ZipFile(place, "w") as archive:
        # np.savez cannot write arrays with the names of its own parameters.
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def write_grid(target: Path, grid: pyvista.DataSet) -> None:
    """Write a mesh as compressed VTK XML; VTU holds any kind of mesh, VTP only surfaces."""
    import pyvista
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter, vtkXMLUnstructuredGridWriter

    # `grid.save` writes inline data, with which VTK 9.7 crashes on a full disk. So the writers are used directly.
    writer = vtkXMLUnstructuredGridWriter() if target.suffix == ".vtu" else vtkXMLPolyDataWriter()
    writer.SetInputData(as_unstructured(grid) if target.suffix == ".vtu" else grid)
    with staged(target) as place:
        writer.SetFileName(str(place))
        with pyvista.vtk_verbosity("off"), pyvista.VtkErrorCatcher(send_to_logging=False):
            is_written = writer.Write()
        if not is_written:
            raise OSError(writer.GetErrorCode(), os.strerror(writer.GetErrorCode()))
