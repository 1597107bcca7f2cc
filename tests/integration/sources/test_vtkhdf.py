"""VTKHDF is read as a mesh with any suffix, with the same values as in VTK's reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.export.meshes import read_parts
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.sources import MappedSource, MeshFile, SourceMapping, mesh_domains
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.meshes import VTK, cut_mapping, load_cut
from support.places import make_place
from support.trees import call
from support.vtkhdf import box, collection, own_values, read_with_vtk, write_vtkhdf

SUFFIXES = [".vtkhdf", ".h5", ".hdf5", ".HDF"]


def mapping(
    file: str = "flow.vtkhdf", head: str = 'association = "cell"', fields: str = 'pressure = "p"'
) -> SourceMapping:
    text = f'name = "v"\nid = "{{case}}"\n[domains.volume]\nfile = "{{case}}/{file}"\n{head}\n[domains.volume.fields]\n'
    return parse_mapping(text + fields, "mapping test.toml")


def load(root: Path, of: SourceMapping) -> dict[str, NDArray[Any]]:
    return MappedSource(root, of).load("run_1").fields


def save(root: Path, mesh: Any = None, name: str = "flow.vtkhdf") -> Path:
    return write_vtkhdf(root / "run_1" / name, box() if mesh is None else mesh)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_a_mesh_is_read_with_any_suffix(
    tmp_path: Path, request: pytest.FixtureRequest, suffix: str, place: str
) -> None:
    path = save(tmp_path, name=f"flow{suffix}")
    root: Any = tmp_path
    if place == "memory":
        memory = make_place(place, request)
        memory.fs.put(f"{tmp_path}/", f"{memory.path}/", recursive=True)
        root = memory.root
    source = MappedSource(root, mapping(path.name, fields='pressure = "p"\nvelocity = "U"'))
    fields = source.load("run_1").fields
    for field, name in (("volume_pressure", "p"), ("volume_velocity", "U")):
        np.testing.assert_array_equal(fields[field], own_values(read_with_vtk(path), name))
    assert fields["volume_pressure"].tolist() == list(range(2, 12))
    assert source.describe("run_1") is None


def test_vtkhdf_equals_the_bundled_case(tmp_path: Path) -> None:
    for name in ("surface.vtp", "volume.vtu"):
        write_vtkhdf(tmp_path / "run_1" / Path(name).with_suffix(".vtkhdf"), pyvista.read(VTK / "run_1" / name))
    given = load(tmp_path, cut_mapping("vtk", (".vtp", ".vtkhdf"), (".vtu", ".vtkhdf")))
    expected = load_cut("vtk")
    assert given.keys() == expected.keys()
    for field, values in expected.items():
        np.testing.assert_array_equal(given[field], values, err_msg=field)


def test_an_image_matches_vtk(tmp_path: Path) -> None:
    image = pyvista.ImageData(dimensions=(4, 3, 2), spacing=(0.5, 1, 2))
    image.direction_matrix = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64)
    image.point_data["p"] = np.arange(24.0)
    path = save(tmp_path, image)
    fields = load(tmp_path, mapping(head='association = "point"'))
    read = read_with_vtk(path)
    points = [read.GetPoint(number) for number in range(read.GetNumberOfPoints())]
    np.testing.assert_array_equal(fields["volume_position"], points)
    np.testing.assert_array_equal(fields["volume_pressure"], pyvista.wrap(read).point_data["p"])


def test_pieces_of_a_mesh_are_one_part_without_ghosts(tmp_path: Path) -> None:
    path = save(tmp_path, collection(fluid=[box(), box(start=10)], body=[pyvista.Sphere()]))
    fields = load(tmp_path, mapping(head='parts = { include = ["fluid"] }\nassociation = "cell"'))
    fluid = read_with_vtk(path).GetPartitionedDataSet(0)
    pieces = [own_values(fluid.GetPartition(number), "p") for number in (0, 1)]
    np.testing.assert_array_equal(fields["volume_pressure"], np.concatenate(pieces))
    assert fields["volume_position"].dtype == np.float32
    assert [(part.name, part.n_cells, part.n_ghost_cells) for part in inspect(path).files[0].parts] == [
        ("fluid", 20, 4),
        ("body", 1680, 0),
    ]


def test_a_mesh_in_pieces_without_blocks_is_one_part(tmp_path: Path) -> None:
    whole = pyvista.PartitionedDataSet([box(), box(start=10)])  # type: ignore[no-untyped-call]  # of pyvista
    path = save(tmp_path, whole)
    assert load(tmp_path, mapping())["volume_pressure"].tolist() == [*range(2, 12), *range(12, 22)]
    assert [part.name for part in inspect(path).files[0].parts] == ["flow"]


def test_blocks_are_parts_named_by_a_path(tmp_path: Path) -> None:
    wall = pyvista.Sphere()
    wall.cell_data["p"] = np.arange(float(wall.n_cells))
    blocks = pyvista.MultiBlock()
    blocks["boundary"] = pyvista.MultiBlock({"wall": wall, "none": pyvista.PolyData(), "inlet": pyvista.Plane()})
    blocks["internal"] = box()
    path = save(tmp_path, blocks)
    assert [part.name for part in inspect(path).files[0].parts] == ["boundary/wall", "boundary/inlet", "internal"]
    fields = load(tmp_path, mapping(head='association = "cell"\nparts = { include = ["*/wall"] }'))
    np.testing.assert_array_equal(fields["volume_pressure"], wall.cell_data["p"])
    assert [part.name for part in read_parts(path)] == ["boundary/wall", "boundary/inlet", "internal"]


@pytest.mark.parametrize("mesh", [box(), pyvista.MultiBlock({"fluid": box()})], ids=["mesh", "blocks"])
def test_only_requested_arrays_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mesh: Any) -> None:
    seen: list[set[str]] = []

    class Noting(MeshFile):
        def read(self, wanted: Any = None) -> Any:
            parts = super().read(wanted)
            seen.extend({*part.data["cell"], *part.data["point"]} for part in parts)
            return parts

    monkeypatch.setattr(mesh_domains, "MeshFile", Noting)
    save(tmp_path, mesh)
    load(tmp_path, mapping())
    assert seen == [{"p", "vtkGhostType"}]


@pytest.mark.slow
def test_inspect_proposes_a_mapping_that_converts(tmp_path: Path) -> None:
    path = save(tmp_path / "in", name="volume.h5")
    arrays = {(array.name, array.association): array.shape for array in inspect(path).files[0].arrays}
    points = 36 - 2
    expected = {("p", "cell"): (10,), ("U", "cell"): (10, 3), ("T", "point"): (points,)}
    assert arrays == expected | {("(positions)", "point"): (points, 3)}
    assert call("inspect", tmp_path / "in", "--mapping", tmp_path / "m.toml").code == 0
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml")
    assert ran.code == 0, ran.stderr
    read = ZarrChunkReader(tmp_path / "store").read_arrays("run_1", order="original")
    np.testing.assert_array_equal(read["volume_pressure"], np.arange(2, 12))


@pytest.mark.parametrize(
    ("head", "fields", "message"),
    [
        ("", 'position = "VTKHDF/Points"', r"has no array 'VTKHDF/Points' \(.*\); use the names of the mesh's arrays"),
        ('group = "VTKHDF"', 'position = "Points"', r"holds a mesh \(VTKHDF or CGNS\), .* leave group out"),
        ("", 'position = { array = "Points", transpose = true }', "holds a mesh .* leave transpose of position out"),
    ],
    ids=["path", "group", "transpose"],
)
def test_a_mesh_is_not_read_as_arrays(tmp_path: Path, head: str, fields: str, message: str) -> None:
    save(tmp_path, name="flow.h5")
    with pytest.raises(SourceError, match=rf"^sample 'run_1'.*: run_1/flow\.h5 {message}"):
        load(tmp_path, mapping("flow.h5", head, fields))


def test_arrays_are_not_read_as_a_mesh(tmp_path: Path) -> None:
    save(tmp_path, name="flow.h5")
    (tmp_path / "run_0").mkdir()
    with h5py.File(tmp_path / "run_0" / "flow.h5", "w") as file:
        file["p"] = np.arange(4.0)
    with pytest.raises(ArgumentError, match=r"'{case}/flow\.h5' holds arrays and no mesh; leave association out"):
        MappedSource(tmp_path, mapping("flow.h5"))
    (tmp_path / "run_0").rename(tmp_path / "run_2")
    source = MappedSource(tmp_path, mapping("flow.h5"))
    assert len(source.load("run_1").fields) == 2
    expected = r"^sample 'run_2', domain 'volume': run_2/flow\.h5 holds arrays and no mesh; leave association out"
    for use in (source.load, source.describe):
        with pytest.raises(SourceError, match=expected):
            use("run_2")


def without_steps(file: h5py.File) -> None:
    file["VTKHDF"].create_group("Steps")["Values"] = [0.0, 0.5, 1.0]


def with_a_link(file: h5py.File) -> None:
    del file["VTKHDF/CellData/p"]
    file["VTKHDF/CellData/p"] = h5py.ExternalLink("other.h5", "/p")


def with_a_virtual_array(file: h5py.File) -> None:
    del file["VTKHDF/CellData/p"]
    virtual = h5py.VirtualLayout((12,), np.float32)
    virtual[:] = h5py.VirtualSource("other.h5", "p", (12,))
    file["VTKHDF/CellData"].create_virtual_dataset("p", virtual)


def of_type(name: str) -> Any:
    return lambda file: file["VTKHDF"].attrs.modify("Type", np.bytes_(name.encode()))


def renamed(file: h5py.File) -> None:
    file.move("VTKHDF", "vtk")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_steps, "the group /VTKHDF/Steps has time steps but no attribute NSteps, .* = 3$"),
        (with_a_link, "the values of 'VTKHDF/CellData/p' are in other files; write the mesh into one file"),
        (with_a_virtual_array, "the values of 'VTKHDF/CellData/p' are in other files"),
        (of_type("OverlappingAMR"), "is VTKHDF of the type OverlappingAMR, an adaptive mesh, .* in ParaView"),
        (of_type("HyperTreeGrid"), "is VTKHDF of the type HyperTreeGrid, a tree of cells; save it"),
        (of_type("Table"), "is VTKHDF of the type Table, a table and not a mesh; write its columns"),
        (of_type("Novelty"), "cannot be read"),
        (renamed, "holds no mesh: its root has no group VTKHDF; check the file"),
        (lambda file: file["VTKHDF/Connectivity"].resize((3,)), "cannot be read"),
    ],
    ids=["steps", "link", "virtual", "adaptive", "tree", "table", "unknown", "no root", "cut"],
)
def test_a_file_that_vtk_misreads_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = save(tmp_path)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/flow\.vtkhdf:? {message}"):
        load(tmp_path, mapping())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_fails_only_its_sample(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path, name=f"flow{suffix}")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/{re.escape(path.name)} cannot be read \("):
        load(tmp_path, mapping(path.name))
