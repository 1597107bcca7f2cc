"""Open HDF5 files, and find their arrays by path without reading the values."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from noether.data.zarr_store.errors import MissingDependencyError, SourceError

__all__ = ["HDF5_SUFFIXES", "array_at", "array_names", "group_names", "leads_elsewhere", "open_hdf5"]

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")

# Longest chain of links that is followed. HDF5 has the same default (H5Pset_nlinks).
_MAX_LINKS = 16


def open_hdf5(file: Path | BinaryIO, where: str) -> Any:
    """Open a file for reading, as `h5py.File`. The file stays open while one of its arrays exists.

    Parameters
    ----------
    file : Path or binary file
        Path, or an open file that can seek.
    where : str
        Sample and file; errors begin with it.

    Raises
    ------
    SourceError
        The file is damaged, or not HDF5.
    MissingDependencyError
        h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", "reading HDF5 files", "hdf5") from error
    if not isinstance(file, Path):
        _close_streams_at_exit()
    with _damage_reported(where):
        return h5py.File(file, "r")


@cache
def _close_streams_at_exit() -> None:
    """Register the closing of all streams at exit, once per process.

    Otherwise HDF5 would close them after Python has ended, and would call Python to do so.
    """
    atexit.register(_close_streams)


def _close_streams() -> None:
    import h5py

    # An open group or array keeps its file open.
    kinds = h5py.h5f.OBJ_FILE | h5py.h5f.OBJ_GROUP | h5py.h5f.OBJ_DATASET
    for one in h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, kinds):
        if one.valid:
            file = h5py.File(h5py.h5i.get_file_id(one))
            if file.driver == "fileobj":
                file.close()


def array_names(group: Any, where: str) -> list[str]:
    """Return the paths of the arrays below a group, relative to it. Arrays in other files are left out."""
    import h5py

    names: list[str] = []
    with _damage_reported(where):
        group.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def group_names(file: Any, depth: int, where: str) -> list[str]:
    """Return the paths of the groups `depth` levels below the root. Groups in other files are left out."""
    import h5py

    paths = [""]
    with _damage_reported(where):
        for _ in range(depth):
            paths = [
                f"{path}/{name}".lstrip("/")
                for path in paths
                for name in file[path or "/"]
                if file[path or "/"].get(name, getclass=True, getlink=True) is h5py.HardLink
                and file[path or "/"].get(name, getclass=True) is h5py.Group
            ]
    return paths


def leads_elsewhere(group: Any, path: str, *, depth: int = 0) -> bool:
    """Return whether a path below a group leads into another file. The other file is not opened."""
    import h5py

    parts = [part for part in path.split("/") if part]
    for end in range(1, len(parts) + 1):
        # Check each link before the next iteration follows it.
        link = group.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.SoftLink):
            start = "/" if link.path.startswith("/") else "/".join(parts[: end - 1]) or "."
            if depth == _MAX_LINKS or leads_elsewhere(group[start], link.path, depth=depth + 1):
                return True
        elif not isinstance(link, h5py.HardLink):
            return link is not None
    return False


def array_at(group: Any, name: str, where: str) -> Any:
    """Return an array of a group; None if it does not exist. Slicing reads its values.

    Raises
    ------
    SourceError
        The array has no values, or its values are in other files.
    """
    import h5py

    with _damage_reported(where):
        is_elsewhere = leads_elsewhere(group, name)
        try:
            array = None if is_elsewhere else group[name]
        except KeyError:
            return None
    if not (is_elsewhere or isinstance(array, h5py.Dataset)):
        return None
    if array is None or array.external or array.is_virtual:
        raise SourceError(f"{where}: the values of {name!r} are in other files; copy them into this file")
    if array.shape is None or (array.size and not array.id.get_storage_size()):
        raise SourceError(f"{where}: {name!r} was created, but its values were not written; make the file again")
    return array


@contextmanager
def _damage_reported(where: str) -> Iterator[None]:
    try:
        yield
    # h5py raises errors of HDF5 as any of these.
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"{where} cannot be read ({error}); make the file again") from error
