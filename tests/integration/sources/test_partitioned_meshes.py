"""Meshes in pieces: ghosts are left out, and a ``.pvtu`` or ``.pvtp`` joins its pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray
from vtkmodules.vtkCommonDataModel import vtkCellArray

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.export.meshes import read_parts
from noether.data.zarr_store.sources import MappedSource, MeshFile
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.meshes import VTK, copy_case, cut_mapping, surface_mapping
from support.places import Place, make_place
from support.trees import call


@pytest.fixture
def in_memory(request: pytest.FixtureRequest) -> Place:
    return make_place("memory", request)


Fields = dict[str, NDArray[Any]]

DUPLICATE_CELL, REFINED_CELL, HIDDEN_CELL = 1, 8, 32
GHOST_BITS = [DUPLICATE_CELL, REFINED_CELL, HIDDEN_CELL]
# Bits of cells that do not mark a ghost: HIGHCONNECTIVITYCELL, LOWCONNECTIVITYCELL, EXTERIORCELL.
OTHER_BITS = [2, 4, 16]

GHOSTS = "vtkGhostType"


def volume_in_pieces(*, is_ghost: bool = True) -> tuple[Any, Any]:
    """Return two boxes of 16 cells and a layer of 4 ghosts each: copies of cells of the other box."""
    pieces = []
    for start, ghosts in ((0.0, [0, 0, 0, 0, 1]), (3.0, [1, 0, 0, 0, 0])):
        grid = pyvista.ImageData(dimensions=(6, 3, 3), origin=(start, 0, 0)).cast_to_unstructured_grid()
        grid.cell_data["p"] = grid.cell_centers().points[:, 0] * 100 + np.arange(20)
        if is_ghost:
            grid.cell_data[GHOSTS] = np.tile(np.array(ghosts, np.uint8), 4)
        pieces.append(grid)
    return pieces[0], pieces[1]


def pieced(suffix: str, names: list[str], ghosts: bool = True) -> str:
    kind = {".pvtu": "PUnstructuredGrid", ".pvtp": "PPolyData"}[suffix]
    ghost_array = f'<PDataArray type="UInt8" Name="{GHOSTS}"/>' if ghosts else ""
    pieces = "".join(f'<Piece Source="{name}"/>' for name in names)
    return (
        f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian"><{kind} GhostLevel="1"><PPoints><PDataArray '
        f'type="Float32" NumberOfComponents="3"/></PPoints><PCellData><PDataArray type="Float32" Name="p"/>'
        f"{ghost_array}</PCellData>{pieces}</{kind}></VTKFile>"
    )


def save_volume(root: Path, *, missing: bool = False) -> Path:
    folder = root / "run_1" / "pieces"
    folder.mkdir(parents=True)
    for number, grid in enumerate(volume_in_pieces()):
        grid.points = grid.points.astype(np.float32)
        grid.cell_data["p"] = grid.cell_data["p"].astype(np.float32)
        if not (missing and number == 1):
            grid.save(folder / f"vol &{number}.vtu")
    names = [f"pieces/vol &amp;{number}.vtu" for number in (0, 1)]
    (root / "run_1" / "vol.pvtu").write_text(pieced(".pvtu", names))
    return root


def volume_mapping(file: str, association: str = "cell", fields: str = 'pressure = "p"') -> Any:
    text = (
        f'name = "v"\nid = "{{case}}"\n[domains.volume]\nfile = "{{case}}/{file}"\nassociation = "{association}"\n'
        f"[domains.volume.fields]\n{fields}"
    )
    return parse_mapping(text, "mapping test.toml")


def load(root: Path, mapping: Any) -> Fields:
    return MappedSource(root, mapping).load("run_1").fields


def flagged_surface(bits: list[int]) -> Any:
    """Return the surface of the bundled case; every third cell has a flag."""
    mesh = pyvista.read(VTK / "run_1" / "surface.vtp")
    flags = np.zeros(mesh.n_cells, np.uint8)
    flags[::3] = np.resize(np.array(bits, np.uint8), len(flags[::3]))
    mesh.cell_data[GHOSTS] = flags
    return mesh


def save_surface(root: Path, mesh: Any, name: str = "surface.vtp") -> Path:
    (root / "run_1").mkdir(exist_ok=True)
    mesh.save(root / "run_1" / name)
    return root


@pytest.mark.parametrize("suffix", [".vtp", ".vtk", ".vtu"])
def test_ghost_cells_are_left_out_as_in_vtk(tmp_path: Path, suffix: str) -> None:
    mesh = flagged_surface(GHOST_BITS)
    mesh = mesh.cast_to_unstructured_grid() if suffix == ".vtu" else mesh
    save_surface(tmp_path, mesh, f"surface{suffix}")
    mapping = surface_mapping(
        'pressure = "p"\nnormals = { derive = "normals" }\narea = { derive = "area" }',
        file=f"{{case}}/surface{suffix}",
        domain='association = "cell"',
    )
    given = load(tmp_path, mapping)
    mesh.RemoveGhostCells()
    save_surface(tmp_path, mesh, f"surface{suffix}")
    expected = load(tmp_path, mapping)
    assert len(expected["surface_pressure"]) == mesh.n_cells > 0
    for field, values in expected.items():
        np.testing.assert_array_equal(given[field], values)


def test_flags_without_ghost_bits_keep_their_cells(tmp_path: Path) -> None:
    mesh = flagged_surface(OTHER_BITS)
    save_surface(tmp_path, mesh)
    fields = load(tmp_path, surface_mapping(domain='association = "cell"'))
    assert len(fields["surface_pressure"]) == mesh.n_cells


def test_ghost_polyhedra_are_left_out(tmp_path: Path) -> None:
    mesh = pyvista.read(VTK / "run_1" / "volume.vtu")
    assert 42 in mesh.celltypes
    mapping = volume_mapping("volume.vtu", fields='velocity = "U"')
    whole = load(VTK, mapping)
    mesh.cell_data[GHOSTS] = (np.arange(mesh.n_cells) % 3 == 0).astype(np.uint8)
    save_surface(tmp_path, mesh, "volume.vtu")
    own = np.arange(mesh.n_cells) % 3 != 0
    for field, values in load(tmp_path, mapping).items():
        np.testing.assert_array_equal(values, whole[field][own])


def test_points_of_only_ghost_cells_are_left_out(tmp_path: Path) -> None:
    mesh = flagged_surface([DUPLICATE_CELL]).cast_to_unstructured_grid()
    mesh.point_data["index"] = np.arange(mesh.n_points, dtype=np.float32)
    save_surface(tmp_path, mesh, "surface.vtu")
    mapping = surface_mapping('index = "index"', file="{case}/surface.vtu", domain='association = "point"')
    given = load(tmp_path, mapping)
    mesh.RemoveGhostCells()
    assert len(given["surface_index"]) == mesh.n_points
    assert set(given["surface_index"]) == set(mesh.point_data["index"])


def point_flags(n_points: int) -> NDArray[np.uint8]:
    """Return flags: every fourth point is a duplicate, every fifth hidden, every seventh has a bit without meaning."""
    index = np.arange(n_points)
    flags: NDArray[np.uint8] = ((index % 4 == 0) + (index % 5 == 0) * 2 + (index % 7 == 0) * 4).astype(np.uint8)
    return flags


def test_ghost_points_are_left_out_but_shape_cells(tmp_path: Path) -> None:
    mesh = pyvista.read(VTK / "run_1" / "surface.vtp")
    fields = 'index = { file = "{case}/index.npy" }\nnormals = { derive = "normals" }\narea = { derive = "area" }'
    mapping = surface_mapping(fields, domain='association = "point"')
    save_surface(tmp_path, mesh)
    np.save(tmp_path / "run_1" / "index.npy", np.arange(mesh.n_points, dtype=np.float32))
    whole = load(tmp_path, mapping)
    mesh.point_data[GHOSTS] = point_flags(mesh.n_points)
    save_surface(tmp_path, mesh)
    own = point_flags(mesh.n_points) & 3 == 0
    given = load(tmp_path, mapping)
    for field, values in whole.items():
        np.testing.assert_array_equal(given[field], values[own])


def test_ghost_points_and_unused_points_are_left_out_together(tmp_path: Path) -> None:
    mesh = pyvista.read(VTK / "run_1" / "surface.vtp")
    n_points = mesh.n_points
    mesh.points = np.concatenate([mesh.points, np.full((8, 3), 9.0, mesh.points.dtype)])
    mesh.point_data["index"] = np.arange(mesh.n_points, dtype=np.float32)
    mesh.point_data[GHOSTS] = point_flags(mesh.n_points)
    np_file = save_surface(tmp_path, mesh) / "run_1" / "rows.npy"
    np.save(np_file, np.arange(mesh.n_points, dtype=np.float32))
    fields = 'index = "index"\nrows = { file = "{case}/rows.npy" }'
    mapping = surface_mapping(fields, domain='association = "point"\nunused_points = "drop"')
    own = np.flatnonzero(point_flags(mesh.n_points) & 3 == 0)
    for values in (load(tmp_path, mapping)[f"surface_{name}"] for name in ("index", "rows")):
        np.testing.assert_array_equal(values, own[own < n_points])


def test_a_distance_is_not_measured_to_ghosts(tmp_path: Path) -> None:
    mesh = flagged_surface([DUPLICATE_CELL])
    save_surface(tmp_path, mesh)
    fields = 'pressure = "p"\ndistance = { derive = "distance", to = "body" }'
    text = (
        'name = "s"\nid = "{case}"\n[domains.body]\nfile = "{case}/surface.vtp"\nassociation = "cell"\n'
        '[domains.surface]\nfile = "{case}/whole.vtp"\nassociation = "cell"\n[domains.surface.fields]\n' + fields
    )
    whole = flagged_surface([2])
    save_surface(tmp_path, whole, "whole.vtp")
    distances = load(tmp_path, parse_mapping(text, "mapping"))["surface_distance"]
    ghosts = mesh.cell_data[GHOSTS] == 1
    assert np.median(distances[ghosts]) > 1e-3
    assert distances[~ghosts].max() < 1e-3


@pytest.mark.parametrize("association", ["cell", "point"])
def test_a_pvtu_joins_its_pieces_without_ghosts(tmp_path: Path, association: Literal["cell", "point"]) -> None:
    fields = 'pressure = "p"' if association == "cell" else ""
    given = load(save_volume(tmp_path), volume_mapping("vol.pvtu", association, fields))
    pieces = volume_in_pieces()
    for piece in pieces:
        piece.RemoveGhostCells()
    if association == "cell":
        expected = np.concatenate([piece.cell_data["p"] for piece in pieces]).astype(np.float32)
        np.testing.assert_array_equal(given["volume_pressure"], expected)
        np.testing.assert_allclose(given["volume_position"][:, 0] * 100 // 100, expected // 100)
        positions = np.concatenate([piece.cell_centers().points for piece in pieces])
        assert len(np.unique(positions, axis=0)) == len(positions) == 32
    else:
        positions = np.concatenate([piece.points for piece in pieces])
    # VTK sorts the remaining points by their first use.
    lists = (sorted(values.round(3).tolist()) for values in (given["volume_position"], positions))
    assert next(lists) == next(lists)


def test_a_pvtp_joins_its_pieces(tmp_path: Path) -> None:
    mesh = pyvista.read(VTK / "run_1" / "surface.vtp")
    halves = []
    for number in (0, 1):
        half = mesh.copy()
        half.cell_data[GHOSTS] = (np.arange(mesh.n_cells) % 2 == number).astype(np.uint8)
        half.RemoveGhostCells()
        halves.append(half)
    for number, half in enumerate(halves):
        save_surface(tmp_path, half, f"half_{number}.vtp")
    (tmp_path / "run_1" / "surface.pvtp").write_text(pieced(".pvtp", ["half_0.vtp", "half_1.vtp"], ghosts=False))
    given = load(tmp_path, surface_mapping(file="{case}/surface.pvtp"))
    np.testing.assert_array_equal(given["surface_pressure"], np.concatenate([half.cell_data["p"] for half in halves]))


def test_a_missing_piece_is_named(tmp_path: Path) -> None:
    save_volume(tmp_path, missing=True)
    with pytest.raises(SourceError) as error:
        load(tmp_path, volume_mapping("vol.pvtu"))
    message = "sample 'run_1': run_1/vol.pvtu lacks 1 of its 2 pieces, such as 'pieces/vol &1.vtu'; expected"
    assert str(error.value).startswith(message)


def test_a_damaged_piece_is_refused(tmp_path: Path) -> None:
    save_volume(tmp_path)
    piece = tmp_path / "run_1" / "pieces" / "vol &1.vtu"
    piece.write_bytes(piece.read_bytes()[:-600])
    with pytest.raises(SourceError, match=r"run_1/vol\.pvtu cannot be read"):
        load(tmp_path, volume_mapping("vol.pvtu"))


def test_a_piece_outside_of_the_source_is_refused(tmp_path: Path) -> None:
    save_volume(tmp_path)
    (tmp_path / "run_1" / "vol.pvtu").write_text(pieced(".pvtu", ["../../elsewhere.vtu"]))
    with pytest.raises(SourceError, match="which is outside of"):
        load(tmp_path, volume_mapping("vol.pvtu"))


def test_a_changed_piece_changes_the_sample(tmp_path: Path) -> None:
    save_volume(tmp_path)
    before = MappedSource(tmp_path, volume_mapping("vol.pvtu")).fingerprint("run_1")
    with (tmp_path / "run_1" / "pieces" / "vol &1.vtu").open("ab") as file:
        file.write(b"\n")
    assert MappedSource(tmp_path, volume_mapping("vol.pvtu")).fingerprint("run_1") != before


def test_pieces_are_fetched_from_object_storage(in_memory: Place, tmp_path: Path) -> None:
    save_volume(tmp_path)
    for path in tmp_path.rglob("*.*"):
        in_memory.fs.pipe_file(f"{in_memory.path}/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    mapping = volume_mapping("vol.pvtu")
    given = MappedSource(in_memory.root, mapping, in_memory.options).load("run_1").fields
    np.testing.assert_array_equal(given["volume_pressure"], load(tmp_path, mapping)["volume_pressure"])
    for place in (in_memory.root, f"{in_memory.root}/run_1/vol.pvtu"):
        found = inspect(place, in_memory.options)
        assert [(file.key.rpartition("/")[2], file.problem) for file in found.files] == [("vol.pvtu", None)]


def test_empty_lists_of_faces_mean_no_polyhedra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VTK's reader of pieces returns such lists for about one mesh in a hundred."""
    save_volume(tmp_path)
    expected = load(tmp_path, volume_mapping("vol.pvtu"))["volume_pressure"]
    update = MeshFile._update

    def with_lists(mesh: MeshFile) -> Any:
        blocks: Any = update(mesh)
        for _, grid in blocks:
            types = pyvista.convert_array(np.asarray(grid.celltypes))
            grid.SetPolyhedralCells(types, grid.GetCells(), vtkCellArray(), vtkCellArray())
        return blocks

    monkeypatch.setattr(MeshFile, "_update", with_lists)
    np.testing.assert_array_equal(load(tmp_path, volume_mapping("vol.pvtu"))["volume_pressure"], expected)


def test_inspect_counts_ghosts_and_reads_the_rest(tmp_path: Path) -> None:
    save_volume(tmp_path)
    found = inspect(tmp_path)
    assert [file.key for file in found.files] == ["run_1/vol.pvtu"]
    (part,) = found.files[0].parts
    assert (part.n_cells, part.n_ghost_cells, part.n_points, part.n_ghost_points) == (32, 8, 90, 18)
    shapes = {(array.name, array.shape) for array in found.files[0].arrays}
    assert shapes == {("(positions)", (90, 3)), ("p", (32,))}
    mapping = parse_mapping(found.mapping, "proposal")
    (sample_id,) = (source := MappedSource(tmp_path, mapping)).sample_ids()
    assert len(source.load(sample_id).fields["volume_pressure"]) == 32
    assert "left out, as ghosts of other pieces (vtkGhostType): 18 points, 8 cells" in call("inspect", tmp_path).output


def test_a_header_does_not_state_the_number_of_ghosts(tmp_path: Path) -> None:
    save_surface(tmp_path, flagged_surface([DUPLICATE_CELL]))
    assert MappedSource(tmp_path, surface_mapping(domain='association = "cell"')).describe("run_1") is None


def test_an_export_covers_all_pieces_of_a_pvtu(tmp_path: Path) -> None:
    save_volume(tmp_path)
    (part,) = read_parts(tmp_path / "run_1" / "vol.pvtu")
    given = load(tmp_path, volume_mapping("vol.pvtu"))
    np.testing.assert_array_equal(part.data("cell")["p"], given["volume_pressure"])
    assert part.distances("cell", given["volume_position"]).max() < 1e-6


def test_an_export_covers_the_converted_cells(tmp_path: Path) -> None:
    mesh = flagged_surface([DUPLICATE_CELL])
    (part,) = read_parts(save_surface(tmp_path, mesh) / "run_1" / "surface.vtp")
    np.testing.assert_array_equal(part.data("cell")["p"], mesh.cell_data["p"][mesh.cell_data[GHOSTS] == 0])
    assert GHOSTS not in part.data("cell")


JOINED = ('file = "{case}/volume.vtu"', 'file = "{case}/volume.vtu"\nconcatenate = "{case}/volume.vtu.{part}.part"')


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf\n"], ids=["plain", "marked"])
def test_complete_files_as_pieces_are_refused(tmp_path: Path, mark: bytes) -> None:
    data = (copy_case("vtk", tmp_path) / "volume.vtu").read_bytes()
    (tmp_path / "run_1" / "volume.vtu").unlink()
    for number in (0, 1):
        (tmp_path / "run_1" / f"volume.vtu.{number}.part").write_bytes(mark + data)
    source = MappedSource(tmp_path, cut_mapping("vtk", JOINED))
    for look in (source.load, source.describe):
        with pytest.raises(SourceError) as error:
            look("run_1")
        assert str(error.value).startswith("sample 'run_1': run_1/volume.vtu.1.part is a whole VTK file, expected a ")
        assert "write a .pvtu" in str(error.value)


@pytest.mark.parametrize(("n_pieces", "said"), [(1, "1 piece"), (2, "2 pieces")])
def test_a_file_joined_from_too_few_pieces_is_refused(tmp_path: Path, n_pieces: int, said: str) -> None:
    file = copy_case("vtk", tmp_path) / "volume.vtu"
    data, third = file.read_bytes(), file.stat().st_size // 3
    file.unlink()
    for number in range(n_pieces):  # of three
        (tmp_path / "run_1" / f"volume.vtu.{number}.part").write_bytes(data[number * third : (number + 1) * third])
    with pytest.raises(SourceError) as error:
        MappedSource(tmp_path, cut_mapping("vtk", JOINED)).load("run_1")
    assert str(error.value).startswith(f"sample 'run_1': run_1/volume.vtu (joined from {said}) cannot be read (")
    assert str(error.value).endswith("; one piece may be missing: fetch all of them again")
