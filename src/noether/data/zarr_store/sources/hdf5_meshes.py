"""Meshes in HDF5 files, VTKHDF and CGNS: their format, and checks before VTK reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.hdf5 import HDF5_SUFFIXES, array_at, open_hdf5
from noether.data.zarr_store.sources.steps import MAX_STEPS, Steps
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["HDF5_MESH_FILE_SUFFIXES", "HDF5_MESH_SUFFIXES", "check_mesh_file", "mesh_suffix", "vtkhdf_steps"]

HDF5_MESH_SUFFIXES = (".vtkhdf", ".cgns")
# Files of the last ones hold a mesh or arrays, as their root says.
HDF5_MESH_FILE_SUFFIXES = (*HDF5_MESH_SUFFIXES, *HDF5_SUFFIXES)

# The group of the root that each format has.
_ROOT_GROUPS = {"VTKHDF": ".vtkhdf", "CGNSLibraryVersion": ".cgns"}
_PARAVIEW = "save it as .vtu or .vtm in ParaView (File > Save Data)"
# Types of VTKHDF without a mesh of explicit cells.
_UNREAD_TYPES = {
    "OverlappingAMR": f"an adaptive mesh, whose levels overlap; {_PARAVIEW}",
    "HyperTreeGrid": f"a tree of cells; {_PARAVIEW}",
    "Table": "a table and no mesh; write its columns as arrays into an .h5 or .npz file",
}


def mesh_suffix(file: Any) -> str | None:
    """Return the suffix of the format of the mesh that an open HDF5 file holds; None where it holds arrays."""
    import h5py

    for name, suffix in _ROOT_GROUPS.items():
        is_own = file.get(name, getclass=True, getlink=True) is h5py.HardLink
        if is_own and file.get(name, getclass=True) is h5py.Group:
            return suffix
    return None


def check_mesh_file(path: Path, where: str) -> tuple[str, Steps]:
    """Check that VTK reads all of a file; return the suffix of the format of its mesh, and the steps of VTKHDF.

    Parameters
    ----------
    path : Path
        A file of one of `HDF5_MESH_FILE_SUFFIXES`.
    where : str
        Names sample and file, to begin an error with.

    Raises
    ------
    SourceError
        The file holds no mesh, or is one that VTK does not read, or reads in part.
    MissingDependencyError
        h5py is not installed.
    """
    if suffix_of(path) == ".cgns" and _is_adf(path):
        return ".cgns", Steps()  # CGNS of ADF is no HDF5
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
    """Return the time steps of an open file of VTKHDF, which all its blocks have.

    Raises
    ------
    SourceError
        The file does not tell how many steps there are, or blocks have different numbers of them.
    """
    root = file["VTKHDF"]
    groups = [one["Steps"] for one in (root, *root.values()) if hasattr(one, "keys") and "Steps" in one]
    counts: dict[int, str] = {}
    for group in groups:
        if "NSteps" not in group.attrs:
            raise SourceError(
                f"{where} is VTKHDF with time steps, and its group {group.name} has no attribute NSteps, the number of "
                f"steps, without which VTK reads the first; write it, with h5py: "
                f"file[{group.name!r}].attrs['NSteps'] = {len(group.get('Values', ()))}"
            )
        counts[int(group.attrs["NSteps"])] = group.name
    if len(counts) > 1:
        shown = ", ".join(f"{name} has {count:,}" for count, name in counts.items())
        raise SourceError(f"{where}: its blocks have different numbers of time steps ({shown}); write a file for each")
    values = array_at(groups[0], "Values", where) if groups else None
    count = max(counts, default=0)
    if count < 0 or count > MAX_STEPS:
        raise SourceError(f"{where} claims {count:,} time steps; make the file again")
    if values is None or values.shape != (count,):
        return Steps(count)
    return Steps(count, tuple(map(float, values[:])))


def _require_own_values(file: Any, where: str) -> None:
    """Raise `SourceError` where values lie in other files: VTK takes zeros for those of a file that is not there."""
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
            f"{where}: the values of {elsewhere[0]!r} lie in other files; write the mesh into one file, or save it as "
            ".vtu or .vtm in ParaView"
        )


def _check_type(root: Any, where: str) -> None:
    kind = root.attrs.get("Type", "")
    kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if kind in _UNREAD_TYPES:
        raise SourceError(f"{where} is VTKHDF of the type {kind}, {_UNREAD_TYPES[kind]}")


def _is_adf(path: Path) -> bool:
    """Return whether a file of CGNS is of the older format, which begins with its name."""
    with path.open("rb") as file:
        return b"ADF Database" in file.read(32)


def _require_one_of_each_array(file: Any, where: str) -> None:
    """Raise `SourceError` where a zone has an array several times, and nothing tells their steps: VTK takes the first.

    Parameters
    ----------
    file : h5py.File
        A file of CGNS.
    where : str
        Names sample and file, to begin an error with.
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
                            f"{seen[key]!r} and {solution.name.rpartition('/')[2]!r}, of which VTK reads one; write "
                            "FlowSolutionPointers if they are time steps, or leave one out"
                        )
                    seen[key] = solution.name.rpartition("/")[2]


def _children(node: Any, label: str) -> list[Any]:
    """Return the nodes of CGNS below one that have a label."""
    groups = [one for one in node.values() if hasattr(one, "keys")]
    return [one for one in groups if bytes(one.attrs.get("label", b"")) == label.encode()]


def _text(node: Any) -> str:
    return bytes(node[" data"][:]).decode(errors="replace").strip("\0 ")
