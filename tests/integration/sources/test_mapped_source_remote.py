"""Cases in object storage, which are fetched while they are read, and leave no temporary files."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista

from noether.data.zarr_store.errors import SourceError, StorageError
from noether.data.zarr_store.sources import MappedSource, SourceMapping, local_copies
from noether.data.zarr_store.stores import StoredObject, open_storage
from support.meshes import MESHES, cut_mapping, load_cut
from support.places import Place, make_place
from support.vtk_files import Encoding, write_vtk

PIECES = ('file = "{case}/volume.vtu"', 'file = "{case}/volume.vtu"\nconcatenate = "{case}/volume.vtu.{part}.part"')


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.s3) for kind in ("s3-obstore", "s3-s3fs"))])
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.fixture
def in_memory(request: pytest.FixtureRequest) -> Place:
    return make_place("memory", request)


@pytest.fixture(autouse=True)
def scratch_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "scratch"
    root.mkdir()
    monkeypatch.setenv("TMPDIR", str(root))
    yield root
    assert list(root.glob("noether-zarr-*")) == []


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the files that are fetched."""
    keys: list[str] = []
    fetch = local_copies.LocalCopies._fetch

    def watched(self: local_copies.LocalCopies, key: str, objects: Any) -> Path:
        keys.append(key)
        return fetch(self, key, objects)

    monkeypatch.setattr(local_copies.LocalCopies, "_fetch", watched)
    return keys


def upload(place: Place, kind: str) -> None:
    for file in sorted((MESHES / kind).rglob("*")):
        if file.is_file():
            place.fs.pipe_file(f"{place.path}/{file.relative_to(MESHES / kind).as_posix()}", file.read_bytes())


def open_source(place: Place, mapping: SourceMapping) -> MappedSource:
    return MappedSource(place.root, mapping, place.options)


def assert_same(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert given.keys() == expected.keys()
    for field, values in expected.items():
        np.testing.assert_array_equal(given[field], values, err_msg=field)


@pytest.mark.parametrize("kind", ["vtk", "ensight"])
def test_a_remote_case_is_the_same_as_a_local_one(place: Place, kind: str) -> None:
    upload(place, kind)
    source = open_source(place, cut_mapping(kind))
    assert source.sample_ids() == ["run_1"]
    assert_same(source.load("run_1").fields, load_cut(kind))


@pytest.mark.parametrize("n_parts", [1, 3])
def test_appended_values_are_read_by_ranges_also_in_pieces(
    place: Place, tmp_path: Path, fetched: list[str], n_parts: int
) -> None:
    upload(place, "vtk")
    arrays = load_cut("vtk")
    path = tmp_path / "volume.vtu"
    mesh: Any = pyvista.read(MESHES / "vtk" / "run_1" / "volume.vtu")
    data = write_vtk(mesh, path, Encoding(block_bytes=1024)).read_bytes()
    place.remove("run_1/volume.vtu")
    step = -(-len(data) // n_parts)
    for number, start in enumerate(range(0, len(data), step)):
        name = "volume.vtu" if n_parts == 1 else f"volume.vtu.{number}.part"
        place.fs.pipe_file(f"{place.path}/run_1/{name}", data[start : start + step])
    changes = () if n_parts == 1 else (PIECES,)
    assert_same(open_source(place, cut_mapping("vtk", *changes)).load("run_1").fields, arrays)
    assert fetched == ["run_1/surface.vtp"]


def test_blocks_that_a_vtm_names_are_fetched_with_it(in_memory: Place) -> None:
    upload(in_memory, "vtk")
    text = """<VTKFile type="vtkMultiBlockDataSet" version="1.0"><vtkMultiBlockDataSet>
    <DataSet name="inner" file="volume.vtu"/>
    <Block name="patches"><DataSet name="body" file='./surface.vtp'/></Block>
    </vtkMultiBlockDataSet></VTKFile>"""
    in_memory.fs.pipe_file(f"{in_memory.path}/run_1/case.vtm", text.encode())
    surface = ('file = "{case}/surface.vtp"', 'file = "{case}/case.vtm"\nparts = { include = ["patches/body"] }')
    volume = ('file = "{case}/volume.vtu"', 'file = "{case}/case.vtm"\nparts = { include = ["inner"] }')
    assert_same(open_source(in_memory, cut_mapping("vtk", surface, volume)).load("run_1").fields, load_cut("vtk"))


def test_only_the_files_that_are_read_are_fetched(in_memory: Place, fetched: list[str]) -> None:
    upload(in_memory, "ensight")
    for name in ("data/T.500", "log.txt", "run_1.vtu", "../run_2/run_2.txt"):
        in_memory.fs.pipe_file(f"{in_memory.path}/run_1/{name}", b"-")
    open_source(in_memory, cut_mapping("ensight")).load("run_1")
    arrays = ("U", "p", "row", "totalPressureCoeff", "vorticity", "wallShearStress")
    assert sorted(fetched) == [*(f"run_1/data/{name}.500" for name in arrays), "run_1/geometry", "run_1/run_1.case"]


def test_pieces_of_several_blocks_are_joined(in_memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(in_memory, "vtk")
    data = in_memory.files()["run_1/volume.vtu"]
    in_memory.remove("run_1/volume.vtu")
    for number, start in enumerate(range(0, len(data), 40_000)):
        in_memory.fs.pipe_file(f"{in_memory.path}/run_1/volume.vtu.{number}.part", data[start : start + 40_000])
    monkeypatch.setattr(local_copies, "_BLOCK_BYTES", 7_001)
    assert_same(open_source(in_memory, cut_mapping("vtk", PIECES)).load("run_1").fields, load_cut("vtk"))


def test_a_damaged_file_leaves_no_temporary_files(in_memory: Place) -> None:
    upload(in_memory, "vtk")
    in_memory.replace("run_1/volume.vtu", in_memory.files()["run_1/volume.vtu"][:5000])
    with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/volume\.vtu cannot be read"):
        open_source(in_memory, cut_mapping("vtk")).load("run_1")


def test_a_file_that_vanished_since_listing_is_named(in_memory: Place) -> None:
    upload(in_memory, "vtk")
    source = open_source(in_memory, cut_mapping("vtk"))
    in_memory.remove("run_1/volume.vtu")
    with pytest.raises(StorageError, match=r"cannot read memory://.*/run_1/volume\.vtu"):
        source.load("run_1")


def test_a_file_that_shrank_since_listing_is_named(in_memory: Place) -> None:
    upload(in_memory, "vtk")
    source = open_source(in_memory, cut_mapping("vtk"))
    in_memory.replace("run_1/surface.vtp", b"short")
    with pytest.raises(StorageError, match=r"run_1/surface\.vtp: it changed since it was listed; try again"):
        source.load("run_1")


def test_an_unwritable_scratch_directory_is_named(
    in_memory: Place, scratch_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(in_memory, "vtk")
    monkeypatch.setenv("TMPDIR", str(scratch_root / "nowhere"))
    with pytest.raises(StorageError, match=rf"cannot write temporary files below {scratch_root}/nowhere .*set TMPDIR"):
        open_source(in_memory, cut_mapping("vtk")).load("run_1")


@pytest.fixture
def small_files() -> Iterator[None]:
    """Limit files to 100,000 bytes, like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_named(in_memory: Place, scratch_root: Path) -> None:
    upload(in_memory, "vtk")
    with pytest.raises(StorageError, match=rf"cannot write temporary files below {scratch_root} \(No space left on"):
        open_source(in_memory, cut_mapping("vtk")).load("run_1")


def test_a_key_that_leaves_the_scratch_directory_is_refused(in_memory: Place, tmp_path: Path) -> None:
    storage = open_storage(in_memory.root)
    with pytest.raises(ValueError, match="a segment of it starts with a dot"):
        local_copies.LocalCopies(storage, tmp_path).local_file("../out.vtp", [StoredObject("x", 1, "")])
