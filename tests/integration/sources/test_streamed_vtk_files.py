"""Large VTK files are read lazily: they make the same stores in little memory, and remote files by byte ranges."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import SourceError, StorageError
from noether.data.zarr_store.sources import (
    MappedSource,
    MeshFile,
    mesh_domains,
    spilled_arrays,
    streamed_files,
    streamed_part,
)
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.vtk_xml import array_values
from support.counting_disk import CountingDisk, counted_root
from support.out_of_core import scratch_files, shrink
from support.vtk_bytes import Parts, blocks_of, cube_arrays, vtu_bytes

FILE = 'file = "{case}/volume.vtu"'
MAPPING = (
    f'name = "v"\nid = "{{case}}"\n[domains.volume]\n{FILE}\nassociation = "cell"\n'
    '[domains.volume.fields]\npressure = "p"\n'
)
IN_PARTS = MAPPING.replace(FILE, f'{FILE}\nconcatenate = "{{case}}/volume.vtu.{{part}}"')


def source_of(root: Path | str, mapping: str = MAPPING) -> MappedSource:
    return MappedSource(root, parse_mapping(mapping, "mapping test.toml"))


def save(root: Path, parts: Parts, name: str = "volume.vtu", sample: str = "run_1") -> Path:
    path = root / sample / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(vtu_bytes(parts))
    return path


def store_of(source: MappedSource, root: Path) -> dict[str, bytes]:
    """Convert all samples; return the files of their groups."""
    report = convert(source, ZarrStoreWriter(root, source.filemap, "v", chunk_points=100), workers=0)
    assert not report.having("failed")
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.zarr/*/**/*") if path.is_file()}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every array as large: files are read while samples are written, a few cells at a time."""
    shrink(monkeypatch, bucket_bytes=1_000, block_bytes=4_000)
    monkeypatch.setattr(mesh_domains, "SMALL_DOMAIN_BYTES", 0)
    monkeypatch.setattr(streamed_part, "_STEP_CELLS", 64)
    monkeypatch.setattr(streamed_part, "_STEP_BYTES", 1_000)
    monkeypatch.setattr(spilled_arrays, "SMALL_ARRAY_BYTES", 1_000)
    monkeypatch.setattr(array_values, "SMALL_ARRAY_BYTES", 1_000)
    monkeypatch.setattr(array_values, "_STEP_VALUES", 20_000)


@pytest.mark.parametrize("polyhedra", [False, True])
def test_a_streamed_file_makes_the_same_store(tmp_path: Path, request: pytest.FixtureRequest, polyhedra: bool) -> None:
    save(tmp_path / "in", cube_arrays(1_000, polyhedra=polyhedra))
    source = source_of(tmp_path / "in")
    assert isinstance(source.load("run_1").fields["volume_position"], np.ndarray)
    expected = store_of(source, tmp_path / "loaded")
    request.getfixturevalue("large")
    assert not isinstance(source.load("run_1").fields["volume_position"], np.ndarray)
    assert store_of(source, tmp_path / "streamed") == expected


@pytest.mark.usefixtures("large")
def test_a_split_file_is_converted_without_joining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "in", cube_arrays(1_000))
    expected = store_of(source_of(tmp_path / "in"), tmp_path / "whole")
    data = path.read_bytes()
    path.unlink()
    for number, start in enumerate(range(0, len(data), 20_000)):
        path.with_name(f"volume.vtu.{number}").write_bytes(data[start : start + 20_000])

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the parts are joined")

    monkeypatch.setattr("noether.data.zarr_store.sources.local_copies.LocalCopies._fetch", refuse)
    assert store_of(source_of(tmp_path / "in", IN_PARTS), tmp_path / "parts") == expected


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_memory_holds_the_points_and_a_few_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_part, "_STEP_CELLS", 2_048)
    n_cells = 100_000  # connectivity takes 6.4 MB, and the cells computed from it as much again
    save(tmp_path, cube_arrays(n_cells))
    positions = source_of(tmp_path).load("run_1").fields["volume_position"]
    tracemalloc.start()
    try:
        for start in range(0, n_cells, 10_000):
            positions[start : start + 10_000]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # the points, 9.6 MB, are in a temporary file


@pytest.mark.usefixtures("large")
def test_late_damage_fails_only_its_sample(tmp_path: Path, scratch: Path) -> None:
    save(tmp_path / "in", cube_arrays(1_000), sample="run_1")
    broken = cube_arrays(1_000)
    blob = bytearray(blocks_of(broken.arrays["CellData"]["p"]))
    blob[-20] ^= 0xFF
    broken.blobs["p"] = bytes(blob)
    save(tmp_path / "in", broken, sample="run_2")
    source = source_of(tmp_path / "in")
    root = tmp_path / "store"
    report = convert(source, ZarrStoreWriter(root, source.filemap, "v", chunk_points=100), workers=0)
    [failed] = report.having("failed")
    assert failed.sample_id == "run_2"
    assert "sample 'run_2': run_2/volume.vtu cannot be read (array 'p': block " in failed.reason
    assert [path.name for path in root.glob("*.zarr")] == ["run_1.zarr"]
    gc.collect()  # frees the error, whose frames hold the temporary files
    assert scratch_files(scratch) == []


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.mark.usefixtures("large")
def test_only_requested_arrays_are_fetched(tmp_path: Path, scratch: Path) -> None:
    parts = cube_arrays(1_000)
    large = np.random.default_rng(0).normal(size=(1_000, 300)).astype(np.float32)
    parts.arrays["CellData"] = {"unused": large, **parts.arrays["CellData"], "other": large}
    path = save(tmp_path, parts)
    expected = source_of(tmp_path).load("run_1").fields
    fields = source_of(counted_root(tmp_path)).load("run_1").fields
    for name, values in expected.items():
        np.testing.assert_array_equal(np.asarray(fields[name]), np.asarray(values))
    fetched = sum(CountingDisk.read.values())
    assert fetched < path.stat().st_size - 2 * large.nbytes + 300_000
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("association", ["cell", "point"])
def test_a_cell_is_named_by_its_number_in_the_file(tmp_path: Path, association: str) -> None:
    parts = cube_arrays(1_000)
    parts.arrays["Cells"]["connectivity"][8 * 700] = 8_000
    save(tmp_path, parts)
    mapping = MAPPING if association == "cell" else MAPPING.replace('"cell"', '"point"\nunused_points = "drop"')
    if association == "point":
        mapping = mapping.replace('pressure = "p"', "")
    with pytest.raises(SourceError, match=r"run_1/volume\.vtu .*cell 700 names point 8000; there are 8000"):
        np.asarray(source_of(tmp_path, mapping).load("run_1").fields["volume_position"])


def test_too_many_pieces_are_left_to_vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save(tmp_path, cube_arrays(2), name=f"{number}.vtu")
    named = "".join(f'<Piece Source="{number}.vtu"/>' for number in range(3))
    (tmp_path / "run_1" / "volume.pvtu").write_text(
        '<VTKFile type="PUnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
        '<PUnstructuredGrid><PPoints><PDataArray type="Float32" NumberOfComponents="3"/></PPoints><PCellData>'
        f'<PDataArray type="Float32" Name="p"/></PCellData>{named}</PUnstructuredGrid></VTKFile>'
    )
    source = source_of(tmp_path, MAPPING.replace(".vtu", ".pvtu"))
    expected = source.load("run_1").fields
    opened: list[str] = []

    def open_by_vtk(path: Path, where: str, *given: Any) -> MeshFile:
        opened.append(where)
        return MeshFile(path, where, *given)

    monkeypatch.setattr(streamed_files, "MAX_OPEN_FILES", 2)
    monkeypatch.setattr(mesh_domains, "MeshFile", open_by_vtk)
    for field, values in source.load("run_1").fields.items():
        np.testing.assert_array_equal(values, expected[field])
    assert opened == ["sample 'run_1': run_1/volume.pvtu"]


@pytest.mark.usefixtures("large")
def test_a_remote_file_that_changes_while_read_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, cube_arrays(1_000))
    fields = source_of(counted_root(tmp_path)).load("run_1").fields
    path.write_bytes(path.read_bytes()[:-30_000])
    with pytest.raises((StorageError, SourceError), match=r"run_1/volume\.vtu"):
        np.asarray(fields["volume_position"])
