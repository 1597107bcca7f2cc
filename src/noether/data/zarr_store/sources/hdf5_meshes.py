"""Meshes in HDF5 files (VTKHDF and CGNS): detect the format, and check the file before VTK reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, array_at, open_hdf5
from noether.data.zarr_store.sources.steps import MAX_STEPS, Steps
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["HDF5_MESH_FILE_SUFFIXES", "HDF5_MESH_SUFFIXES", "check_mesh_file", "mesh_suffix", "vtkhdf_steps"]

HDF5_MESH_SUFFIXES = (".vtkhdf", ".cgns")
# A file with a generic HDF5 suffix holds a mesh or arrays. The groups in its root show which.
HDF5_MESH_FILE_SUFFIXES = (*HDF5_MESH_SUFFIXES, *HDF5_SUFFIXES)

# Group in the root that marks each format.
_ROOT_GROUPS = {"VTKHDF": ".vtkhdf", "CGNSLibraryVersion": ".cgns"}
_PARAVIEW = "save it as .vtu or .vtm in ParaView (File > Save Data)"
# Types of VTKHDF without a mesh of explicit cells: description and remedy.
_UNREAD_TYPES = {
    "OverlappingAMR": ("an adaptive mesh, whose levels overlap", _PARAVIEW),
    "HyperTreeGrid": ("a tree of cells", _PARAVIEW),
    "Table": ("a table and not a mesh", "write its columns as arrays into an .h5 or .npz file"),
}


def mesh_suffix(file: Any) -> str | None:
    """Return the suffix of the mesh format of an open HDF5 file; None if the file holds only arrays."""
    import h5py

    for name, suffix in _ROOT_GROUPS.items():
        is_own = file.get(name, getclass=True, getlink=True) is h5py.HardLink
        if is_own and file.get(name, getclass=True) is h5py.Group:
            return suffix
    return None


def check_mesh_file(path: Path, where: str) -> tuple[str, Steps]:
    """Check that VTK reads a file completely; return the suffix of its mesh format, and its time steps.

    Parameters
    ----------
    path : Path
        A file with one of the `HDF5_MESH_FILE_SUFFIXES`.
    where : str
        Sample and file; errors begin with it.

    Returns
    -------
    suffix : str
        One of `HDF5_MESH_SUFFIXES`.
    steps : Steps
        Time steps of VTKHDF; no steps for CGNS.

    Raises
    ------
    SourceError
        The file holds no mesh, or VTK reads the mesh only in part or not at all.
    MissingDependencyError
        h5py is not installed.
    """
    if suffix_of(path) == ".cgns" and _is_adf(path):
        return ".cgns", Steps()  # CGNS in the ADF format is not HDF5
    with open_hdf5(path, where) as file:
        suffix = mesh_suffix(file)
        if suffix is None or suffix_of(path) not in {suffix, *HDF5_SUFFIXES}:
            roots = " or ".join(name for name, one in _ROOT_GROUPS.items() if suffix_of(path) in {one, *HDF5_SUFFIXES})
            raise SourceError(f"{where} holds no mesh: its root has no group {roots}; check the file")
        _require_own_values(file, where)
        steps = Steps()
        if suffix == ".vtkhdf":
            _check_type(file["VTKHDF"], where)
            steps = vtkhdf_steps(file, where)
        else:
            _require_one_of_each_array(file, where)
    return suffix, steps


def vtkhdf_steps(file: Any, where: str) -> Steps:
    """Return the time steps of an open VTKHDF file. All blocks must have the same number of steps.

    Raises
    ------
    SourceError
        The file does not state its number of steps, or its blocks have different numbers of steps.
    """
    root = file["VTKHDF"]
    groups = [one["Steps"] for one in (root, *root.values()) if hasattr(one, "keys") and "Steps" in one]
    counts: dict[int, str] = {}
    for group in groups:
        if "NSteps" not in group.attrs:
            raise SourceError(
                f"{where}: the group {group.name} has time steps but no attribute NSteps, the number of steps, so VTK "
                f"would read only the first step; write the attribute with h5py: "
                f"file[{group.name!r}].attrs['NSteps'] = {len(group.get('Values', ()))}"
            )
        counts[int(group.attrs["NSteps"])] = group.name
    if len(counts) > 1:
        shown = ", ".join(f"{name} has {count:,}" for count, name in counts.items())
        raise SourceError(
            f"{where}: its blocks have different numbers of time steps ({shown}); write one file for each block"
        )
    values = array_at(groups[0], "Values", where) if groups else None
    count = max(counts, default=0)
    if count < 0 or count > MAX_STEPS:
        raise SourceError(f"{where} claims {count:,} time steps; expected 0 to {MAX_STEPS:,}; make the file again")
    if values is None or values.shape != (count,):
        return Steps(count)
    return Steps(count, tuple(map(float, values[:])))


def _require_own_values(file: Any, where: str) -> None:
    """Raise `SourceError` if values are in other files. If such a file is missing, VTK reads zeros."""
    import h5py

    elsewhere: list[str] = []

    def note_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink | h5py.SoftLink):
            elsewhere.append(name)

    def note_array(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            elsewhere.append(name)

    file.visititems_links(note_link)
    file.visititems(note_array)
    if elsewhere:
        raise SourceError(
            f"{where}: the values of {elsewhere[0]!r} are in other files; write the mesh into one file, or save it as "
            ".vtu or .vtm in ParaView"
        )


def _check_type(root: Any, where: str) -> None:
    kind = root.attrs.get("Type", "")
    kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if kind in _UNREAD_TYPES:
        description, way_out = _UNREAD_TYPES[kind]
        raise SourceError(f"{where} is VTKHDF of the type {kind}, {description}; {way_out}")


def _is_adf(path: Path) -> bool:
    """Return whether a CGNS file has the older format ADF, whose name is in the first 32 bytes."""
    with path.open("rb") as file:
        return b"ADF Database" in file.read(32)


def _require_one_of_each_array(file: Any, where: str) -> None:
    """Raise `SourceError` if a zone has an array several times without pointers to time steps.

    VTK would read only one of these arrays.

    Parameters
    ----------
    file : h5py.File
        A CGNS file.
    where : str
        Sample and file; errors begin with it.
    """
    for base in _children(file, "CGNSBase_t"):
        for zone in _children(base, "Zone_t"):
            pointers = (name for data in _children(zone, "ZoneIterativeData_t") for name in data)
            if any(name.startswith("FlowSolution") and name.endswith("Pointers") for name in pointers):
                continue
            seen: dict[tuple[str, str], str] = {}
            for solution in _children(zone, "FlowSolution_t"):
                location = next((_text(one) for one in _children(solution, "GridLocation_t")), "Vertex")
                for array in _children(solution, "DataArray_t"):
                    key = location, array.name.rpartition("/")[2]
                    if key in seen:
                        raise SourceError(
                            f"{where}: the zone {zone.name} has {key[1]!r} ({location}) in the solutions "
                            f"{seen[key]!r} and {solution.name.rpartition('/')[2]!r}, but VTK reads only one; write "
                            "FlowSolutionPointers if they are time steps, or leave one out"
                        )
                    seen[key] = solution.name.rpartition("/")[2]


def _children(node: Any, label: str) -> list[Any]:
    """Return the children of a CGNS node that have the label `label`."""
    groups = [one for one in node.values() if hasattr(one, "keys")]
    return [one for one in groups if bytes(one.attrs.get("label", b"")) == label.encode()]


def _text(node: Any) -> str:
    return bytes(node[" data"][:]).decode(errors="replace").strip("\0 ")
