"""A VTK XML file of any form and cells is read with the same result as in VTK."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.sources.byte_source import local_bytes
from noether.data.zarr_store.sources.geometry import cell_centers
from noether.data.zarr_store.sources.lazy_arrays import ReadArray, chosen_rows, joined
from noether.data.zarr_store.sources.meshes import MeshFile
from noether.data.zarr_store.sources.streamed_part import StreamedPart
from noether.data.zarr_store.sources.vtk_xml import StreamedMesh
from support.meshes import VTK
from support.vtk_bytes import cube_arrays, vtu_bytes
from support.vtk_files import (
    KINDS,
    POLYHEDRON,
    Encoding,
    assert_same_part,
    grid_of,
    old_polyhedra,
    surface_of,
    write_vtk,
)

seeds = st.integers(0, 2**32 - 1)
encodings = st.builds(
    Encoding,
    mode=st.sampled_from(["ascii", "binary", "base64", "raw"]),
    compressor=st.sampled_from(["None", "ZLib", "LZ4", "LZMA"]),
    header=st.sampled_from([32, 64]),
    big_endian=st.booleans(),
    block_bytes=st.sampled_from([64, 1024, 32768]),
    n_pieces=st.integers(1, 3),
)
kinds = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=40)


@pytest.fixture(autouse=True, params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "small-steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also read blocks of a few cells, and a few bytes at a time, as for large files."""
    if request.param:
        monkeypatch.setattr("noether.data.zarr_store.sources.streamed_part._STEP_BYTES", 100)
        monkeypatch.setattr("noether.data.zarr_store.sources.streamed_part._STEP_CELLS", 3)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.xml_cells._BLOCK_CELLS", 2)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.tags._BLOCK_BYTES", 64)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.text_numbers._STEP_BYTES", 64)
        monkeypatch.setattr("noether.data.zarr_store.sources.spilled_arrays.SMALL_ARRAY_BYTES", 256)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.array_values.SMALL_ARRAY_BYTES", 256)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.array_values._STEP_VALUES", 16)
        monkeypatch.setattr("noether.data.zarr_store.sources.vtk_xml.array_values._LARGE_BLOCK_BYTES", 512)


def streamed(path: Path, pieces: list[Path] | None = None) -> StreamedPart:
    """Read a file with all its arrays, or the `pieces` that it names."""
    summary = None if pieces is None else local_bytes([path])
    mesh = StreamedMesh([local_bytes([one]) for one in pieces or [path]], path.stem, "sample", "", summary)
    [part] = mesh.read(mesh.names)
    return part


def assert_read_as_vtk_does(path: Path, pieces: list[Path] | None = None) -> None:
    by_vtk = MeshFile(path, "sample")
    assert by_vtk.names is not None
    [expected] = by_vtk.read({of: set(names) for of, names in by_vtk.names.items()})
    assert_same_part(streamed(path, pieces), expected)


def write_summary(path: Path, arrays: list[str], pieces: list[Path]) -> Path:
    """Write a file that names pieces and their cell data."""
    kinds = {"id": "Int64", "zone": "UInt8"}
    listed = "".join(f'<PDataArray type="{kinds[name]}" Name="{name}"/>' for name in arrays)
    named = "".join(f'<Piece Source="{piece.name}"/>' for piece in pieces)
    path.write_text(
        '<VTKFile type="PUnstructuredGrid" version="1.0" byte_order="LittleEndian"><PUnstructuredGrid><PPoints>'
        f'<PDataArray type="Float32" NumberOfComponents="3"/></PPoints><PCellData>{listed}</PCellData>'
        f"{named}</PUnstructuredGrid></VTKFile>"
    )
    return path


@given(seeds, kinds, encodings, st.booleans())
def test_a_grid_matches_vtk(seed: int, kinds: list[int], encoding: Encoding, wide: bool) -> None:
    with TemporaryDirectory() as directory:
        grid = grid_of(np.random.default_rng(seed), kinds, wide=wide)
        if POLYHEDRON in kinds:
            encoding = replace(encoding, n_pieces=1)  # VTK 9.7 writes the points of the first piece into all pieces
        assert_read_as_vtk_does(write_vtk(grid, Path(directory, "a.vtu"), encoding))


@given(seeds, st.integers(1, 30), encodings)
def test_a_surface_matches_vtk(seed: int, n_faces: int, encoding: Encoding) -> None:
    with TemporaryDirectory() as directory:
        mesh = surface_of(np.random.default_rng(seed), n_faces)
        assert_read_as_vtk_does(write_vtk(mesh, Path(directory, "a.vtp"), encoding))


@given(seeds, kinds, st.lists(st.sampled_from([0, 0, 1, 2, 8, 32]), min_size=1, max_size=5), encodings)
def test_ghosts_match_vtk(seed: int, kinds: list[int], bits: list[int], encoding: Encoding) -> None:
    with TemporaryDirectory() as directory:
        grid = grid_of(np.random.default_rng(seed), kinds)
        if POLYHEDRON in kinds:
            encoding = replace(encoding, n_pieces=1)
        grid.cell_data["vtkGhostType"] = np.resize(np.array(bits, np.uint8), grid.n_cells)
        grid.point_data["vtkGhostType"] = np.resize(np.array(bits, np.uint8) & 3, grid.n_points)
        assert_read_as_vtk_does(write_vtk(grid, Path(directory, "a.vtu"), encoding))


@given(seeds, st.lists(st.sampled_from([42, 42, 12, 3]), min_size=1, max_size=20))
def test_polyhedra_of_older_files_have_the_same_faces(seed: int, kinds: list[int]) -> None:
    with TemporaryDirectory() as directory:
        grid = grid_of(np.random.default_rng(seed), kinds, wide=True)
        assert_read_as_vtk_does(old_polyhedra(grid, Path(directory, "a.vtu")))


def test_a_polyhedron_without_faces_has_the_mean_of_its_points(tmp_path: Path) -> None:
    parts = cube_arrays(2, polyhedra=True)
    faces = parts.arrays["Cells"]["faces"][31:]
    parts.arrays["Cells"] |= {"faces": np.concatenate([[0], faces]), "faceoffsets": np.array([1, 32])}
    (tmp_path / "a.vtu").write_bytes(vtu_bytes(parts))
    centers = np.asarray(streamed(tmp_path / "a.vtu").cell_positions())
    np.testing.assert_allclose(centers, [[0.5, 0.5, 0.5], [1.5, 0.5, 0.5]])


@given(seeds, st.lists(st.sampled_from([42, 42, 12]), min_size=2, max_size=20))
def test_faces_that_are_far_apart_are_looked_up(seed: int, kinds: list[int]) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("noether.data.zarr_store.sources.vtk_xml.xml_cells._MOST_SPREAD", 0)
        grid = grid_of(np.random.default_rng(seed), kinds)
        assert_read_as_vtk_does(write_vtk(grid, Path(directory, "a.vtu"), Encoding()))


@given(seeds, st.lists(kinds, min_size=1, max_size=3), encodings)
def test_pieces_are_read_one_after_the_other(seed: int, pieces: list[list[int]], encoding: Encoding) -> None:
    with TemporaryDirectory() as directory:
        rng = np.random.default_rng(seed)
        files = [
            write_vtk(grid_of(rng, kinds), Path(directory, f"{number}.vtu"), replace(encoding, n_pieces=1))
            for number, kinds in enumerate(pieces)
        ]
        part = streamed(write_summary(Path(directory, "a.pvtu"), ["id"], files), files)
        # Read each file on its own: VTK 9.7 gives the faces of all pieces the points of the first.
        expected = [MeshFile(file, "sample").read()[0] for file in files]
        assert list(part.data["cell"]) == ["id"]
        for given, values in (
            (part.data["cell"]["id"], [one.data["cell"]["id"] for one in expected]),
            (part.cell_positions(), [one.cell_positions() for one in expected]),
            (part.point_positions(), [one.points for one in expected]),
            (part.used_points(), [one.used_points() for one in expected]),
            (cell_centers(part.points, part.cells), [one.cell_positions() for one in expected]),
        ):
            np.testing.assert_array_equal(np.asarray(given), np.concatenate(values), strict=True)


def test_a_summary_of_pieces_matches_vtk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = [write_vtk(grid_of(rng, [12, 10, 3]), tmp_path / f"{number}.vtu", Encoding()) for number in range(3)]
    summary = write_summary(tmp_path / "a.pvtu", ["id", "zone"], files)
    assert_read_as_vtk_does(summary, files)


@pytest.mark.parametrize("name", ["volume.vtu", "surface.vtp"])
def test_files_of_a_solver_match_vtk(name: str) -> None:
    assert_read_as_vtk_does(VTK / "run_1" / name)


def test_a_split_file_is_read_without_joining(tmp_path: Path) -> None:
    grid = grid_of(np.random.default_rng(0), [12, 42, 10] * 20)
    path = write_vtk(grid, tmp_path / "a.vtu", Encoding(block_bytes=256))
    data = path.read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(data), 1000)):
        parts.append(tmp_path / f"a.vtu.{number:02}")
        parts[-1].write_bytes(data[start : start + 1000])
    [expected] = MeshFile(path, "sample").read()
    names: Any = {of: list(arrays) for of, arrays in expected.data.items()}
    path.unlink()
    [part] = StreamedMesh([local_bytes(parts)], "a", "sample", "").read(names)
    assert_same_part(part, expected)


@given(seeds, st.lists(st.integers(0, 50), min_size=1, max_size=4), st.data())
def test_slices_of_lazy_arrays_equal_those_of_arrays(seed: int, sizes: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(size, 2)) for size in sizes]
    whole = np.concatenate(arrays)
    mask = rng.random(len(whole)) < 0.5
    lazy = joined([read_array(array) for array in arrays])
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(0, len(whole)))
    np.testing.assert_array_equal(lazy[start:stop], whole[start:stop], strict=True)
    chosen = chosen_rows(lazy, mask)
    assert chosen.shape == whole[mask].shape
    np.testing.assert_array_equal(chosen[start:stop], whole[mask][start:stop], strict=True)


def read_array(array: Any) -> Any:
    """Return the array as a `ReadArray`."""
    return ReadArray(array.shape, array.dtype, lambda start, stop: array[start:stop], 7)
