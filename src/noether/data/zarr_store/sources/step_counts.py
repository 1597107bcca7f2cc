"""Count the time steps of a file, if each step is a sample."""

from __future__ import annotations

import posixpath

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.ensight_case import parse_case
from noether.data.zarr_store.sources.hdf5 import open_hdf5
from noether.data.zarr_store.sources.hdf5_meshes import mesh_suffix, vtkhdf_steps
from noether.data.zarr_store.sources.local_copies import LocalCopies, scratch_directory
from noether.data.zarr_store.sources.meshes import MeshFile
from noether.data.zarr_store.sources.range_reader import streamed
from noether.data.zarr_store.sources.steps import Steps
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["count_steps"]


def count_steps(storage: Storage, item: StoredObject) -> int:
    """Return the number of time steps of a file. Only a small part of the file is read, except for CGNS.

    Raises
    ------
    SourceError
        The file is damaged or has no steps, or its steps have no numbers.
    MissingDependencyError
        h5py is not installed, and the file is HDF5.
    """
    where = f"{storage.root}/{item.key}"
    steps = _steps(storage, item, where)
    if steps.problem is not None:
        raise SourceError(f"{where}: {steps.problem}, so its steps have no numbers; write step = 'last'")
    if not steps.count:
        raise SourceError(f"{where} has no time steps; leave step = 'all' out of the mapping")
    return steps.count


def _steps(storage: Storage, item: StoredObject, where: str) -> Steps:
    if suffix_of(item.key) == ".case":

        def read(name: str) -> str:
            key = posixpath.normpath(posixpath.join(posixpath.dirname(item.key), name))
            return (storage.read_if_there(key) or b"").decode(errors="replace")

        return parse_case(read(posixpath.basename(item.key)), where).steps(read)
    with streamed(storage, item) as stream:
        if suffix_of(item.key) != ".cgns":
            with open_hdf5(stream, where) as file:
                suffix = mesh_suffix(file)
                if suffix != ".cgns":
                    return vtkhdf_steps(file, where) if suffix == ".vtkhdf" else Steps()
    with scratch_directory() as directory:
        return MeshFile(LocalCopies(storage, directory).local_file(item.key, [item]), where).steps
