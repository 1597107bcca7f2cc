"""CGNS: zones and boundaries are parts with the same values and time steps as in VTK's reader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray
from vtkmodules.vtkIOCGNSReader import vtkCGNSReader

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource, SourceMapping
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.cgns import add_base, add_flow, add_node, add_patch, add_times, add_zone, hexahedra, open_cgns
from support.places import make_place

DATA = Path(__file__).parents[2] / "data"
POINTS, CELLS, FACES = hexahedra(3)
TIMES = [0.0, 0.5, 1.5]


def mapping(head: str = "", name: str = "flow.cgns", fields: str = "", sample_id: str = "run_{n}") -> SourceMapping:
    text = f'name = "c"\nid = "{sample_id}"\n[domains.volume]\nfile = "run_{{n}}/{name}"\n{head}\n'
    return parse_mapping(text + "[domains.volume.fields]\n" + (fields or 'pressure = "Pressure"'), "mapping test.toml")


def load(root: Any, of: SourceMapping, sample: str = "run_1") -> dict[str, NDArray[Any]]:
    return MappedSource(root, of).load(sample).fields


def add_values(zone: Any, name: str = "Flow", offset: float = 0) -> None:
    values = np.arange(3.0) + offset
    add_flow(zone, name, "CellCenter", Pressure=values, VelocityX=values, VelocityY=values + 10, VelocityZ=values + 20)


def save(root: Path, name: str = "flow.cgns") -> Path:
    """Write a zone of three cubes with cell and point data, and two boundaries in different families."""
    path = root / "run_1" / name
    with open_cgns(path) as file:
        zone = add_zone(add_base(file), "fluid", POINTS, CELLS)
        add_values(zone)
        add_flow(zone, "Nodes", "Vertex", T=np.arange(float(len(POINTS))))
        add_patch(zone, "wall", FACES[:2], 4)
        add_patch(zone, "inlet", FACES[2:], 6)
    return path


def save_steps(root: Path, run: str = "run_1", pointers: bool = True) -> Path:
    with open_cgns(root / run / "flow.cgns") as file:
        base = add_base(file)
        zone = add_zone(base, "fluid", POINTS, CELLS)
        for step in range(3):
            add_values(zone, f"Flow{step}", 100 * step)
        if pointers:
            add_times(base, TIMES, [f"Flow{step}" for step in range(3)])
    return root / run / "flow.cgns"


def read_with_vtk(path: Path, time: float | None = None) -> Any:
    """Return the first zone as VTK's reader returns it, without boundaries."""
    reader = vtkCGNSReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    reader.EnableAllCellArrays()
    reader.EnableAllPointArrays()
    if time is None:
        reader.Update()
    else:
        reader.UpdateTimeStep(time)
    blocks: Any = pyvista.wrap(reader.GetOutput())
    return blocks[0][0]


INTERNAL = 'parts = { include = ["*/Internal"] }\n'


@pytest.mark.parametrize("name", ["flow.cgns", "flow.CGNS", "flow.hdf5"])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_a_zone_matches_vtk(tmp_path: Path, request: pytest.FixtureRequest, name: str, place: str) -> None:
    zone = read_with_vtk(save(tmp_path, name))
    root: Any = tmp_path
    if place == "memory":
        memory = make_place(place, request)
        memory.fs.put(f"{tmp_path}/", f"{memory.path}/", recursive=True)
        root = memory.root
    fields = load(root, mapping(INTERNAL, name, 'pressure = "Pressure"\nvelocity = "Velocity"'))
    np.testing.assert_array_equal(fields["volume_pressure"], zone.cell_data["Pressure"])
    np.testing.assert_array_equal(fields["volume_velocity"], zone.cell_data["Velocity"])
    assert fields["volume_velocity"].tolist() == [[i, i + 10, i + 20] for i in range(3)]
    np.testing.assert_allclose(fields["volume_position"], zone.cell_centers().points)
    at_points = load(root, mapping(INTERNAL, name, 't = "T"'))
    np.testing.assert_array_equal(at_points["volume_position"], zone.points)
    np.testing.assert_array_equal(at_points["volume_t"], zone.point_data["T"])


def test_boundaries_are_parts_with_their_own_points(tmp_path: Path) -> None:
    path = save(tmp_path)
    parts = {part.name: (part.n_points, part.n_cells, part.dimension) for part in inspect(path).files[0].parts}
    assert parts == {
        "Base/fluid/Internal": (16, 3, 3),
        "Base/fluid/Patches/wall": (6, 2, 2),
        "Base/fluid/Patches/inlet": (4, 1, 2),
    }
    fields = load(tmp_path, mapping('parts = { include = ["*/inlet"] }', fields='t = "T"\narea = { derive = "area" }'))
    corners = FACES[2] - 1
    np.testing.assert_array_equal(fields["volume_t"], corners)
    np.testing.assert_array_equal(fields["volume_position"], POINTS[corners])
    assert fields["volume_area"].tolist() == [0.25] * 4


def test_every_base_is_read(tmp_path: Path) -> None:
    with open_cgns(tmp_path / "run_1" / "flow.cgns") as file:
        for name, start in (("A", 0.0), ("B", 10.0)):
            add_values(add_zone(add_base(file, name), "fluid", *hexahedra(3, start)[:2]), offset=start)
    assert load(tmp_path, mapping('parts = { include = ["*"] }'))["volume_pressure"].tolist() == [0, 1, 2, 10, 11, 12]


def test_a_structured_zone_has_vtk_order(tmp_path: Path) -> None:
    shape = (4, 3, 2)
    cells = tuple(n - 1 for n in shape)
    values = np.arange(float(np.prod(cells))).reshape(cells)
    path = tmp_path / "run_1" / "flow.cgns"
    with open_cgns(path) as file:
        zone = add_node(add_base(file), "block", "Zone_t", np.array([shape, cells, (0, 0, 0)], np.int32).T)
        add_node(zone, "ZoneType", "ZoneType_t", "Structured")
        coordinates = add_node(zone, "GridCoordinates", "GridCoordinates_t")
        for letter, axis in zip("XYZ", np.meshgrid(*(np.arange(float(n)) for n in shape), indexing="ij"), strict=True):
            add_node(coordinates, f"Coordinate{letter}", "DataArray_t", axis)
        add_flow(zone, "Flow", "CellCenter", Pressure=values)
    fields = load(tmp_path, mapping())
    zone = read_with_vtk(path)
    np.testing.assert_array_equal(fields["volume_pressure"], zone.cell_data["Pressure"])
    np.testing.assert_allclose(fields["volume_position"], zone.cell_centers().points)
    rows = tuple((fields["volume_position"] - 0.5).astype(int).T)
    np.testing.assert_array_equal(fields["volume_pressure"], values[rows])


def test_the_older_format_adf_is_read(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    path = Path(shutil.copy(DATA / "adf.cgns", tmp_path / "run_1" / "flow.cgns"))
    assert not h5py.is_hdf5(path)
    assert load(tmp_path, mapping())["volume_pressure"].tolist() == [0, 1, 2]
    assert inspect(path).files[0].steps.count == 0
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SourceError, match=r"^sample 'run_1', .*: run_1/flow\.cgns has no array 'Pressure'"):
        load(tmp_path, mapping())


def test_a_step_matches_vtk(tmp_path: Path) -> None:
    path = save_steps(tmp_path)
    for step, time in enumerate(TIMES):
        given = load(tmp_path, mapping(f"step = {step}"))["volume_pressure"]
        np.testing.assert_array_equal(given, read_with_vtk(path, time).cell_data["Pressure"])
        assert given[0] == 100 * step
    assert load(tmp_path, mapping())["volume_pressure"][0] == 200
    assert inspect(path).files[0].steps.times == tuple(TIMES)
    with pytest.raises(SourceError, match=r"flow\.cgns has no step 3; it has 3 time steps, from step 0 \(time 0\) to"):
        load(tmp_path, mapping("step = 3"))


@pytest.mark.parametrize("place", ["local", "memory"])
def test_all_steps_are_samples(tmp_path: Path, request: pytest.FixtureRequest, place: str) -> None:
    save_steps(tmp_path)
    save_steps(tmp_path, "run_2")
    root: Any = tmp_path
    if place == "memory":
        memory = make_place(place, request)
        memory.fs.put(f"{tmp_path}/", f"{memory.path}/", recursive=True)
        root = memory.root
    source = MappedSource(root, mapping('step = "all"', sample_id="run_{n}_{step}"))
    first = {sample: source.load(sample).fields["volume_pressure"][0] for sample in source.sample_ids()}
    assert first == {f"run_{n}_{step}": 100 * step for n in (1, 2) for step in range(3)}


def test_a_file_without_steps_refuses_a_step(tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(SourceError, match=r"run_1/flow\.cgns has no time steps; leave step out of the mapping"):
        load(tmp_path, mapping(f"{INTERNAL}step = 0"))


def linked(file: h5py.File) -> None:
    del file["Base/fluid/Flow/Pressure"]
    file["Base/fluid/Flow/Pressure"] = h5py.ExternalLink("other.cgns", "/Base/fluid/Flow/Pressure")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (linked, "the values of 'Base/fluid/Flow/Pressure' are in other files"),
        (lambda file: file.move("CGNSLibraryVersion", "Version"), "holds no mesh: its root has no group CGNSLibrary"),
        (
            lambda file: file.move("Base/fluid/GridCoordinates", "Base/away"),
            "(cannot be read|holds no mesh).* as EnSight Gold",
        ),
    ],
    ids=["link", "no root", "no points"],
)  # fmt: skip
def test_a_file_that_vtk_misreads_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    with h5py.File(save(tmp_path), "a") as file:
        change(file)
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/flow\.cgns:? {message}"):
        load(tmp_path, mapping(INTERNAL))


def test_repeated_arrays_without_steps_are_refused(tmp_path: Path) -> None:
    save_steps(tmp_path, pointers=False)
    message = (
        r"flow\.cgns: the zone /Base/fluid has 'Pressure' \(CellCenter\) in the solutions 'Flow0' and 'Flow1', "
        "but VTK reads only one; write FlowSolutionPointers"
    )
    with pytest.raises(SourceError, match=message):
        load(tmp_path, mapping())
