"""Contents of one file: its arrays with shapes, dtypes, ranges and numbers of NaN."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.formats import damage_reported, load_file
from noether.data.zarr_store.sources.ghosts import GHOST_ARRAYS
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, array_at, array_names, group_names, open_hdf5
from noether.data.zarr_store.sources.hdf5_meshes import mesh_suffix
from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in
from noether.data.zarr_store.sources.lazy_arrays import LazyArray
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.mesh_part import MeshPart
from noether.data.zarr_store.sources.meshes import MESH_SUFFIXES, MeshFile
from noether.data.zarr_store.sources.npy import load_members, member_heads
from noether.data.zarr_store.sources.steps import Steps
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.streamed_files import StreamedFile, open_streamed
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.torch_files import flattened, tensor_heads
from noether.data.zarr_store.writing import SourceRows

__all__ = ["SUFFIXES", "FileContents", "FoundArray", "FoundPart", "holds_several", "read_contents", "read_parts"]

SUFFIXES = (".pt", ".npy", ".npz", *HDF5_SUFFIXES, *MESH_SUFFIXES)


@dataclass(frozen=True, slots=True)
class FoundArray:
    """One array of a file.

    Attributes
    ----------
    name : str
        Name in the file; empty if the file is a single array.
    shape : tuple of int
        Shape in the file.
    dtype : str
        Name of the NumPy dtype, or of the Python type if the value is not an array.
    minimum, maximum : float or None
        Range of the values without NaN; None if there are no such values or they are not numbers.
    n_nan : int
        Number of NaN values.
    association : {"cell", "point"} or None
        Whether the array is cell data or point data; None without a mesh.
    part : str or None
        EnSight part, or block of ``.vtm``, VTKHDF or CGNS, that has the array; None without parts.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    n_nan: int = 0
    association: Association | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class FoundPart:
    """One EnSight part or block of a mesh.

    Attributes
    ----------
    name : str
        Name of the part in a mapping.
    n_points, n_cells : int
        Number of points and cells, without ghosts.
    dimension : int
        Highest dimension of its cells: 3 with volume cells, 2 with faces, less with lines or points.
    n_ghost_points, n_ghost_cells : int
        Number of ghosts, which are left out: copies of points and cells of another piece (``vtkGhostType``).
    """

    name: str
    n_points: int
    n_cells: int
    dimension: int
    n_ghost_points: int = 0
    n_ghost_cells: int = 0


@dataclass(frozen=True, slots=True)
class FileContents:
    """Contents of one file.

    Attributes
    ----------
    key : str
        Name of the file, relative to the inspected directory.
    arrays : list of FoundArray
        Arrays of the file.
    parts : list of FoundPart
        Parts of a mesh; one part if the format has no parts.
    sample_groups : list of str
        HDF5 groups that look like samples, since they hold the same arrays; `arrays` are those of the first group.
    steps : Steps
        Time steps of a mesh.
    step : int or None
        Time step of `arrays`; None without steps.
    n_bytes : int
        Size of the file in bytes.
    problem : str or None
        Reason why the file cannot be read.
    """

    key: str
    arrays: list[FoundArray] = field(default_factory=list)
    parts: list[FoundPart] = field(default_factory=list)
    sample_groups: list[str] = field(default_factory=list)
    steps: Steps = Steps()  # noqa: RUF009 - Steps is frozen
    step: int | None = None
    n_bytes: int = 0
    problem: str | None = None


def read_contents(path: Path, key: str) -> FileContents:
    """Read all arrays of a file, block by block if its format allows that.

    Raises
    ------
    SourceError
        The file is damaged.
    MissingDependencyError
        A library that the file needs is not installed.
    """
    suffix = suffix_of(path)
    if suffix in MESH_SUFFIXES:
        return _read_mesh(path, key)
    if suffix in HDF5_SUFFIXES:
        return _read_hdf5(path, key)
    with path.open("rb") as file:
        if suffix == ".npz":
            with damage_reported(key, "file"):
                names = list(member_heads(file))
                return FileContents(key, [_measure(name, [load_members(file, [name])[name]]) for name in names])
        loaded = load_file(file, key, "file")
    if not isinstance(loaded, np.ndarray | dict):
        raise SourceError(
            f"file: {key} holds a {type(loaded).__name__}, expected a tensor or a dict of tensors; save each sample to "
            "its own file"
        )
    with damage_reported(key, "file"):
        values = flattened(loaded) if isinstance(loaded, dict) else {"": loaded}
    return FileContents(key, [_measure_value(name, value) for name, value in values.items()])


def holds_several(file: BinaryIO, key: str) -> bool:
    """Return whether a file of a single-array format holds several arrays: a ``.pt`` file with a dict of tensors."""
    if suffix_of(key) != ".pt":
        return False
    try:
        with damage_reported(key, "file"):
            return bool(tensor_heads(file))
    except SourceError:
        return False


def _measure_value(name: str, value: Any) -> FoundArray:
    if isinstance(value, np.ndarray | bool | int | float):
        return _measure(name, [np.asarray(value)])
    return FoundArray(name, (), type(value).__name__)


def _read_hdf5(path: Path, key: str) -> FileContents:
    with open_hdf5(path, key) as file:
        if mesh_suffix(file) is not None:
            return _read_mesh(path, key)
        samples = _sample_groups(file, key)
        group = file[samples[0]] if samples else file
        arrays = []
        for name in array_names(group, key):
            array = array_at(group, name, key)
            rows = SourceRows(array, f"{key}: {name}")
            blocks = (
                (block for _, block in rows.blocks()) if array.shape and array.size else iter([np.asarray(array[()])])
            )
            arrays.append(_measure(name, blocks, array.shape))
    return FileContents(key, arrays, sample_groups=samples)


def _sample_groups(file: Any, key: str) -> list[str]:
    """Return the HDF5 groups of the highest level with several groups, if all of them hold the same arrays."""
    groups: list[str] = []
    depth = 0
    while len(groups) < 2:
        depth += 1
        groups = group_names(file, depth, key)
        if not groups:
            return []
    if any(domain_named_in(group) for group in groups):
        return []
    held = {tuple(array_names(file[group], key)) for group in groups}
    return groups if len(held) == 1 and held != {()} else []


def read_parts(
    path: Path, key: str, wanted: Mapping[Association, Collection[str]] | None = None
) -> tuple[StreamedFile | MeshFile, Sequence[MeshPart]]:
    """Open a mesh file and its parts, with the arrays in `wanted`, or with all arrays.

    Raises
    ------
    SourceError
        The file is damaged or empty.
    MissingDependencyError
        Only VTK reads it, and PyVista is not installed.
    """
    try:
        streamed = open_streamed(path, key, "make the file again")
        return streamed, streamed.read(streamed.names if wanted is None else wanted)
    except NotStreamedError:
        mesh = MeshFile(path, key)
        return mesh, mesh.read(wanted)


def _read_mesh(path: Path, key: str) -> FileContents:
    mesh, read = read_parts(path, key)
    arrays, parts = [], []
    for one in read:
        part = one.name if len(read) > 1 else None
        held: list[tuple[str, Association, Any]] = [("(positions)", "point", one.point_positions())]
        held += [
            (name, of, one.without_ghosts(of, values)) for of, data in one.data.items() for name, values in data.items()
        ]
        arrays += [
            _measure(name, _blocks_of(values, f"{key}: {name}"), values.shape, association=of, part=part)
            for name, of, values in held
            if name not in GHOST_ARRAYS
        ]
        points, cells = (int(one.is_own(of).sum()) for of in ("point", "cell"))
        ghosts = one.n_ghosts("point"), one.n_ghosts("cell")
        parts.append(FoundPart(one.name, points, cells, one.dimension, *ghosts))
    return FileContents(key, arrays, parts, steps=mesh.steps, step=mesh.step)


def _blocks_of(values: Any, where: str) -> Iterable[NDArray[Any]]:
    """Return the blocks of rows of an array; an array in memory is one block."""
    return (block for _, block in SourceRows(values, where).blocks()) if isinstance(values, LazyArray) else [values]


def _measure(
    name: str,
    blocks: Iterable[NDArray[Any]],
    shape: tuple[int, ...] | None = None,
    association: Association | None = None,
    part: str | None = None,
) -> FoundArray:
    """Measure an array from its blocks. Without `shape`, the array is a single block."""
    low, high, n_nan, first = np.inf, -np.inf, 0, None
    for block in blocks:
        first = block if first is None else first
        if block.size and block.dtype.kind in "biuf":
            low = min(low, float(np.fmin.reduce(block, axis=None)))
            high = max(high, float(np.fmax.reduce(block, axis=None)))
            n_nan += int(np.isnan(block).sum())
    measured = low <= high
    first = np.empty(0) if first is None else first
    return FoundArray(
        name,
        tuple(first.shape) if shape is None else tuple(shape),
        str(first.dtype),
        low if measured else None,
        high if measured else None,
        n_nan,
        association,
        part,
    )
