"""Sizes of the samples of a mapping, from the headers of their files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista as pv
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter, vtkXMLUnstructuredGridWriter

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert, plan_conversion
from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource, SourceMapping, describing, vtk_heads
from noether.data.zarr_store.sources.ensight_gold.records import GoldFile
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.counting_disk import CountingDisk, counted_root
from support.ensight_files import EnSightPart, write_ensight
from support.meshes import ENSIGHT, VTK, copy_case, cut_mapping, edited, surface_mapping

WITH_SDF = ('velocity = "U"', 'velocity = "U"\nsdf = { derive = "distance", to = "surface" }')


def save_appended(mesh: Any, path: Path) -> None:
    """Save a file like a solver, with the values of all arrays at its end."""
    writer = vtkXMLUnstructuredGridWriter() if path.suffix == ".vtu" else vtkXMLPolyDataWriter()
    writer.SetInputData(mesh)
    writer.SetFileName(str(path))
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToNone()
    writer.Write()


@pytest.fixture
def appended(tmp_path: Path) -> Path:
    run = copy_case("vtk", tmp_path / "appended")
    for name in ("surface.vtp", "volume.vtu"):
        save_appended(pv.read(run / name), run / name)
    return run.parent


def arrays_mapping(file: str, group: str = "") -> SourceMapping:
    return parse_mapping(
        f'name = "a"\nid = "run_{{n}}"\n[domains.volume]\nfile = "{file}"\n{group}\n[domains.volume.fields]\n'
        'position = "x"\npressure = "p"\nsdf = { derive = "distance", to = "surface", method = "positions" }\n'
        f'[domains.surface]\nfile = "{file}"\n{group}\nfields.position = "xs"\n',
        "mapping",
    )


def save_arrays(root: Path, kind: str, n_points: int = 70) -> SourceMapping:
    arrays = {"x": np.ones((n_points, 3)), "p": np.ones((n_points, 1), "f2"), "xs": np.ones((9, 3), "f4")}
    if kind == "npz":
        np.savez(root / "run_1.npz", **arrays)  # type: ignore[arg-type]  # its stub takes them for allow_pickle
        return arrays_mapping("run_{n}.npz")
    with h5py.File(root / ("all.h5" if kind == "groups" else "run_1.h5"), "w") as file:
        for name, values in arrays.items():
            file[f"set/run_1/{name}" if kind == "groups" else name] = values
    return arrays_mapping("all.h5", 'group = "set/run_{n}"') if kind == "groups" else arrays_mapping("run_{n}.h5")


def require_told_as_loaded(source: MappedSource) -> None:
    told, sample = source.describe("run_1"), source.load("run_1")
    assert told is not None
    loaded = sample.fields
    positions = {domain: told[f"{domain}_position"] for domain in source.mapping.domains}
    associations = {domain: one.association for domain, one in positions.items() if one.association is not None}
    assert associations == sample.associations
    assert {field: (one.shape, one.dtype) for field, one in told.items()} == {
        field: (tuple(values.shape), values.dtype) for field, values in loaded.items()
    }
    assert {one.in_memory for field, one in told.items() if field.endswith("position")} == {
        isinstance(values, np.ndarray) for field, values in loaded.items() if field.endswith("position")
    }


def test_vtk_files_with_inline_values_are_described_as_loaded() -> None:
    require_told_as_loaded(MappedSource(VTK, cut_mapping("vtk", WITH_SDF)))


@pytest.mark.parametrize("association", ["cell", "point"])
def test_vtk_files_with_appended_values_are_described_as_loaded(appended: Path, association: str) -> None:
    require_told_as_loaded(MappedSource(appended, cut_mapping("vtk", WITH_SDF)))
    require_told_as_loaded(MappedSource(appended, surface_mapping(domain=f'association = "{association}"')))


def test_ensight_cases_are_described_as_loaded() -> None:
    require_told_as_loaded(MappedSource(ENSIGHT, cut_mapping("ensight", WITH_SDF)))
    two = 'association = "cell"\nparts = { include = ["body", "ground"] }'
    fields = 'friction = "wallShearStress"\narea = { derive = "area" }'
    require_told_as_loaded(MappedSource(ENSIGHT, surface_mapping(fields, CASE, two)))
    require_told_as_loaded(MappedSource(ENSIGHT, surface_mapping("", CASE, f'association = "point"{BODY}')))


def test_describing_an_ensight_case_reads_only_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that do not fit in memory count as a temporary file."""
    monkeypatch.setattr(describing, "SMALL_ARRAY_BYTES", 100)
    reads: list[int] = []
    read = GoldFile.read

    def watched(file: GoldFile, start: int, stop: int) -> bytes:
        reads.append(stop - start)
        return read(file, start, stop)

    monkeypatch.setattr(GoldFile, "read", watched)
    triangles = np.arange(600).reshape(-1, 3)
    write_ensight(
        tmp_path / "run_1" / "run_1.case",
        [EnSightPart("body", np.ones((600, 3)), "tria3", triangles, {"p": np.ones(200)})],
    )
    told = MappedSource(tmp_path, surface_mapping(file=CASE, domain=f'association = "cell"{BODY}')).describe("run_1")
    assert told is not None
    assert told["surface_position"].scratch_bytes == 7200
    assert max(reads) <= 88


@pytest.mark.parametrize("kind", ["npz", "h5", "groups"])
def test_files_of_arrays_are_described_as_loaded(tmp_path: Path, kind: str) -> None:
    require_told_as_loaded(MappedSource(tmp_path, save_arrays(tmp_path, kind)))


def test_single_array_files_are_described_as_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "run_1_x.npy", np.ones((5, 3), "f4"))
    np.save(tmp_path / "run_1_p.npy", np.ones(5))
    text = 'name = "a"\nid = "run_{n}"\n[domains.volume.fields]\n'
    text += 'position = { file = "run_{n}_x.npy" }\npressure = { file = "run_{n}_p.npy" }'
    require_told_as_loaded(MappedSource(tmp_path, parse_mapping(text, "mapping")))


@pytest.mark.parametrize("kind", ["h5", "vtu"])
def test_only_the_header_of_a_large_remote_file_is_read(tmp_path: Path, kind: str) -> None:
    n_points = 100_000
    if kind == "h5":
        mapping = save_arrays(tmp_path, "h5", n_points)
    else:
        cloud = pv.PolyData(np.ones((n_points, 3), "f4")).cast_to_unstructured_grid()
        cloud.point_data["p"] = np.ones(n_points, "f4")
        save_appended(cloud, tmp_path / "run_1.vtu")
        text = 'name = "a"\nid = "run_{n}"\n[domains.volume]\nfile = "run_{n}.vtu"\nfields.pressure = "p"'
        mapping = parse_mapping(text, "mapping")
    source = MappedSource(counted_root(tmp_path), mapping)
    CountingDisk.read.clear()
    told = source.describe("run_1")
    assert told is not None
    assert told["volume_pressure"].shape[0] == n_points
    assert sum(CountingDisk.read.values()) <= 4 << 16


def test_pieces_are_described_by_the_first_one(appended: Path) -> None:
    path = appended / "run_1" / "volume.vtu"
    data = path.read_bytes()
    path.unlink()
    for piece, half in enumerate((data[: len(data) // 2], data[len(data) // 2 :])):
        path.with_suffix(f".vtu.{piece}.part").write_bytes(half)
    pieces = ('file = "{case}/volume.vtu"', 'file = "{case}/volume.vtu"\nconcatenate = "{case}/volume.vtu.{part}.part"')
    require_told_as_loaded(MappedSource(appended, cut_mapping("vtk", pieces)))


def scratch_bytes(source: MappedSource) -> dict[str, int]:
    told = source.describe("run_1")
    assert told is not None
    return {field: one.scratch_bytes for field, one in told.items() if one.scratch_bytes}


def test_the_copy_of_a_remote_file_is_described(appended: Path, tmp_path: Path) -> None:
    assert scratch_bytes(MappedSource(VTK, cut_mapping("vtk"))) == {}
    (tmp_path / "root").mkdir()
    shutil.copytree(VTK / "run_1", tmp_path / "root" / "run_1")
    assert scratch_bytes(MappedSource(counted_root(tmp_path / "root"), cut_mapping("vtk"))) == {
        f"{domain}_position": (VTK / "run_1" / file).stat().st_size
        for domain, file in (("surface", "surface.vtp"), ("volume", "volume.vtu"))
    }
    shutil.copytree(appended / "run_1", tmp_path / "root" / "run_1", dirs_exist_ok=True)
    assert scratch_bytes(MappedSource(counted_root(tmp_path / "root"), cut_mapping("vtk"))) == {}


def test_parts_of_a_file_need_no_copy(appended: Path) -> None:
    path = appended / "run_1" / "volume.vtu"
    pieces = ('file = "{case}/volume.vtu"', 'file = "{case}/volume.vtu"\nconcatenate = "{case}/volume.vtu.{part}.part"')
    path.rename(path.with_suffix(".vtu.0.part"))
    path.with_suffix(".vtu.1.part").write_bytes(b"\n")
    assert scratch_bytes(MappedSource(appended, cut_mapping("vtk", pieces))) == {}


@pytest.mark.parametrize("block_bytes", [64, 1000, 1 << 16])
def test_a_header_is_the_same_for_any_block_size(
    appended: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(vtk_heads, "_BLOCK_BYTES", block_bytes)
    require_told_as_loaded(MappedSource(appended, cut_mapping("vtk")))


def test_arrays_far_behind_have_the_widths_of_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays beyond the bytes that are read for a header are assumed to have their fields' widths."""
    monkeypatch.setattr(vtk_heads, "_MAX_BYTES", 1 << 10)
    monkeypatch.setattr(vtk_heads, "_BLOCK_BYTES", 1 << 10)
    source = MappedSource(VTK, cut_mapping("vtk"))
    told, loaded = source.describe("run_1"), source.load("run_1").fields
    assert told is not None
    assert {field: one.shape for field, one in told.items()} == {field: one.shape for field, one in loaded.items()}


def test_a_missing_array_is_found_from_the_header(appended: Path) -> None:
    source = MappedSource(appended, cut_mapping("vtk", ('velocity = "U"', 'velocity = "Umean"')))
    with pytest.raises(SourceError, match=r"field volume_velocity: run_1/volume\.vtu has no array 'Umean' in its cell"):
        source.describe("run_1")


@pytest.mark.parametrize("data", [b"", b"<VTKFile>", b"no mesh", b'<Piece NumberOfPoints="-1">', b"<Piece NumberOf"])
def test_a_file_without_a_header_is_named(tmp_path: Path, data: bytes) -> None:
    (copy_case("vtk", tmp_path) / "surface.vtp").write_bytes(data)
    with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/surface\.vtp cannot be read .*make the file again"):
        MappedSource(tmp_path, cut_mapping("vtk")).describe("run_1")


DROP = 'association = "point"\nunused_points = "drop"'
CASE, BODY = "{case}/{case}.case", '\nparts = { include = ["body"] }'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("root", "mapping"),
    [
        pytest.param(ENSIGHT, surface_mapping("", CASE, DROP + BODY), id="EnSight"),
        pytest.param(VTK, surface_mapping(domain=DROP), id="drop"),
    ],
)
def test_a_plan_loads_the_first_sample_if_headers_are_not_enough(
    tmp_path: Path, root: Path, mapping: SourceMapping
) -> None:
    source = MappedSource(root, mapping)
    assert source.describe("run_1") is None
    plan = plan_conversion(source, ZarrStoreWriter(tmp_path / "store", source.filemap, "n"), source.sample_ids())
    n_points = {field: len(values) for field, values in source.load("run_1").fields.items()}
    assert {one.domain: one.points_max for one in plan.domains} == {
        domain: n_points[f"{domain}_position"] for domain in mapping.domains
    }


@pytest.mark.slow
def test_a_plan_counts_points_from_the_headers_of_meshes(tmp_path: Path, appended: Path) -> None:
    shutil.copytree(appended / "run_1", appended / "run_2")
    path = appended / "run_2" / "surface.vtp"
    some = pv.read(path).extract_cells(range(100)).extract_surface(algorithm="dataset_surface")
    save_appended(some, path)
    source = MappedSource(appended, cut_mapping("vtk"))
    plan = plan_conversion(source, ZarrStoreWriter(tmp_path / "store", source.filemap, "n"), source.sample_ids())
    assert (plan.n_described, plan.failures) == (2, {})
    assert [(one.domain, one.points_min, one.points_max) for one in plan.domains] == [
        ("surface", 100, 2041),
        ("volume", 1976, 1976),
    ]


@pytest.mark.slow
def test_planned_memory_of_a_mesh_is_within_30_percent(tmp_path: Path) -> None:
    (tmp_path / "in" / "run_1").mkdir(parents=True)
    volume = pv.ImageData(dimensions=(91, 91, 91)).cast_to_unstructured_grid()
    surface = pv.ImageData(dimensions=(151, 151, 151)).extract_surface(algorithm="dataset_surface")
    for mesh, name in ((volume, "volume.vtu"), (surface, "surface.vtp")):
        mesh.clear_data()
        mesh.cell_data["p"] = np.ones(mesh.n_cells, "f4")
        save_appended(mesh, tmp_path / "in" / "run_1" / name)
    text = (
        'name = "n"\nid = "{case}"\n[domains.surface]\nfile = "{case}/surface.vtp"\nassociation = "cell"\n'
        '[domains.surface.fields]\npressure = "p"\nnormals = { derive = "normals" }\n'
        '[domains.volume]\nfile = "{case}/volume.vtu"\nassociation = "cell"\nfields.pressure = "p"\n'
    )
    source = MappedSource(tmp_path / "in", edited(text))
    writer = ZarrStoreWriter(tmp_path / "store", source.filemap, "n")
    plan = plan_conversion(source, writer, source.sample_ids())
    taken = max(result.peak_memory_bytes for result in convert(source, writer, workers=1).results)
    # The mesh is a third of the memory. Without it, the plan would still be 0.8 of the memory in use.
    assert 0.85 * taken <= plan.memory_bytes <= 1.3 * taken
