"""CGNS files, written node by node as the HDF5 form of SIDS specifies: VTK has no CGNS writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_base", "add_flow", "add_node", "add_patch", "add_times", "add_zone", "hexahedra", "open_cgns"]

_TYPES = {"float32": "R4", "float64": "R8", "int32": "I4", "int64": "I8", "int8": "C1"}
_HEXA, _QUAD = 17, 7


def open_cgns(path: Path) -> h5py.File:
    """Create a file with the root of a CGNS file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = h5py.File(path, "w", libver="earliest", track_order=True)
    _describe(file, "HDF5 MotherNode", "Root Node of HDF5 File", "MT")
    file.create_dataset(" format", data=np.frombuffer(b"IEEE_LITTLE_32\0", np.int8))
    file.create_dataset(" hdf5version", data=np.frombuffer(b"HDF5 Version 1.8.17".ljust(33, b"\0"), np.int8))
    add_node(file, "CGNSLibraryVersion", "CGNSLibraryVersion_t", np.array([3.4], np.float32))
    return file


def add_node(parent: Any, name: str, label: str, value: NDArray[Any] | str | None = None) -> Any:
    """Add a node; its values have Fortran order."""
    group = parent.create_group(name, track_order=True)
    data = np.frombuffer(value.encode(), np.int8) if isinstance(value, str) else value
    _describe(group, name, label, "MT" if data is None else _TYPES[str(data.dtype)])
    group.attrs["flags"] = np.array([1], np.int32)
    if data is not None:
        group.create_dataset(" data", data=data.T)
    return group


def _describe(group: Any, name: str, label: str, kind: str) -> None:
    for key, text, size in (("name", name, 33), ("label", label, 33), ("type", kind, 3)):
        group.attrs.create(key, np.bytes_(text), dtype=h5py.string_dtype("ascii", size))


def add_base(file: Any, name: str = "Base") -> Any:
    """Add a base of volumes in three dimensions."""
    return add_node(file, name, "CGNSBase_t", np.array([3, 3], np.int32))


def hexahedra(n: int = 2, start: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Return points, cells and bottom faces of a row of `n` cubes; points are counted from 1."""
    points = np.array([[x + start, y, z] for z in (0, 1) for y in (0, 1) for x in range(n + 1)], np.float64)
    row = n + 1
    corners = np.array([[i, i + 1, i + 1 + row, i + row] for i in range(n)])
    return points, (np.hstack([corners, corners + 2 * row]) + 1).astype(np.int32), (corners + 1).astype(np.int32)


def add_zone(base: Any, name: str, points: NDArray[Any], cells: NDArray[np.int32]) -> Any:
    """Add a zone of hexahedra."""
    zone = add_node(base, name, "Zone_t", np.array([[len(points), len(cells), 0]], np.int32))
    add_node(zone, "ZoneType", "ZoneType_t", "Unstructured")
    coordinates = add_node(zone, "GridCoordinates", "GridCoordinates_t")
    for axis, letter in enumerate("XYZ"):
        add_node(coordinates, f"Coordinate{letter}", "DataArray_t", np.ascontiguousarray(points[:, axis]))
    _add_elements(zone, "Cells", _HEXA, cells, 1)
    return zone


def _add_elements(zone: Any, name: str, kind: int, cells: NDArray[np.int32], first: int) -> None:
    elements = add_node(zone, name, "Elements_t", np.array([kind, 0], np.int32))
    add_node(elements, "ElementRange", "IndexRange_t", np.array([first, first + len(cells) - 1], np.int32))
    add_node(elements, "ElementConnectivity", "DataArray_t", cells.ravel())


def add_patch(zone: Any, name: str, faces: NDArray[np.int32], first: int) -> None:
    """Add faces to a zone, numbered from `first`, and a boundary condition with a family for them."""
    _add_elements(zone, f"{name} faces", _QUAD, faces, first)
    boundary = zone["ZoneBC"] if "ZoneBC" in zone else add_node(zone, "ZoneBC", "ZoneBC_t")
    condition = add_node(boundary, name, "BC_t", "FamilySpecified")
    add_node(condition, "FamilyName", "FamilyName_t", name)
    add_node(condition, "GridLocation", "GridLocation_t", "FaceCenter")
    family = add_node(zone.parent, name, "Family_t")
    add_node(family, "FamBC", "FamilyBC_t", "BCWall")
    add_node(condition, "PointRange", "IndexRange_t", np.array([[first, first + len(faces) - 1]], np.int32))


def add_flow(zone: Any, name: str, location: str, **arrays: NDArray[Any]) -> None:
    """Add a flow solution."""
    flow = add_node(zone, name, "FlowSolution_t")
    add_node(flow, "GridLocation", "GridLocation_t", location)
    for key, values in arrays.items():
        add_node(flow, key, "DataArray_t", values)


def add_times(base: Any, times: Sequence[float], solutions: Sequence[str]) -> None:
    """Add times to a base, and the names of the flow solutions of these times to each zone."""
    iterations = add_node(base, "BaseIterativeData", "BaseIterativeData_t", np.array([len(times)], np.int32))
    add_node(iterations, "TimeValues", "DataArray_t", np.array(times, np.float64))
    names = np.frombuffer("".join(name.ljust(32) for name in solutions).encode(), np.int8).reshape(-1, 32).T
    for item in [one for one in base.values() if one.attrs.get("label") == b"Zone_t"]:
        of_zone = add_node(item, "ZoneIterativeData", "ZoneIterativeData_t")
        add_node(of_zone, "FlowSolutionPointers", "DataArray_t", np.asfortranarray(names))
