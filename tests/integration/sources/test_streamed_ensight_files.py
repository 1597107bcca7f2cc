"""EnSight cases that this library reads lazily, and cases that it leaves to VTK."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.errors import WholeFileWarning
from noether.data.zarr_store.sources import (
    MappedSource,
    MeshFile,
    mesh_domains,
    spilled_arrays,
    streamed_files,
    streamed_part,
)
from noether.data.zarr_store.sources.ensight_gold import GoldMesh, gold_piece
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from support.ensight_files import GoldBlock, GoldForm, GoldPart, GoldWriter, write_gold
from support.out_of_core import shrink

WRITER = GoldWriter(GoldForm())
POINTS = np.random.default_rng(0).normal(size=(8, 3))
PART = GoldPart("fluid", POINTS, [GoldBlock("hexa8", [range(8)])], {"t": np.arange(8.0)}, {"p": np.array([2.5])})
Change = Callable[[Path], None]


def edited(path: Path, suffix: str, old: bytes, new: bytes) -> None:
    file = path.with_suffix(suffix)
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))


def with_undefined_values(path: Path) -> None:
    edited(path, ".t_node", WRITER.line("coordinates"), WRITER.line("coordinates undef") + WRITER.floats([3.0]))


def with_partial_values(path: Path) -> None:
    head = WRITER.line("coordinates partial") + WRITER.ints(2) + WRITER.ints(1, 8)
    edited(path, ".t_node", WRITER.line("coordinates") + WRITER.floats(np.arange(8.0)), head + WRITER.floats([4, 5]))


def with_curved_elements(path: Path) -> None:
    edge = WRITER.line("bar3") + WRITER.ints(1) + WRITER.ints(1, 2, 3)
    edited(path, ".geo", WRITER.line("hexa8"), edge + WRITER.line("hexa8"))


def with_a_structured_block(path: Path) -> None:
    head = WRITER.line("part") + WRITER.ints(2) + WRITER.line("grid") + WRITER.line("block") + WRITER.ints(2, 2, 2)
    with path.with_suffix(".geo").open("ab") as file:
        file.write(head + b"".join(map(WRITER.floats, POINTS.T)))


def with_complex_values(path: Path) -> None:
    path.write_text(f"{path.read_text()}complex scalar per node: c run_1.t_node run_1.t_node 5\n")


def as_text(path: Path) -> None:
    coordinates = "\n".join(f"{value:12.5e}" for axis in POINTS.T for value in axis)
    path.with_suffix(".geo").write_text(
        "text\n\nnode id assign\nelement id assign\npart\n         1\nfluid\ncoordinates\n         8\n"
        f"{coordinates}\nhexa8\n         1\n{''.join(f'{node:10}' for node in range(1, 9))}\n"
    )
    path.with_suffix(".p").write_text("p\npart\n         1\nhexa8\n 2.50000e+00\n")
    path.with_suffix(".t_node").write_text("t\npart\n         1\ncoordinates\n" + " 1.00000e+00\n" * 8)


@pytest.mark.parametrize(
    "change",
    [
        with_undefined_values,
        with_partial_values,
        with_curved_elements,
        with_a_structured_block,
        with_complex_values,
        as_text,
    ],
    ids=lambda change: change.__name__,
)
def test_a_case_that_only_vtk_reads_is_left_to_vtk(tmp_path: Path, change: Change) -> None:
    path = write_gold(tmp_path / "run_1" / "run_1.case", [PART])
    change(path)
    with pytest.raises(NotStreamedError):
        GoldMesh(path, "sample", "").read({"cell": ["p"], "point": ["t"]})
    text = 'name = "v"\nid = "{case}"\n[domains.volume]\nfile = "{case}/{case}.case"\nassociation = "point"\n'
    mapping = parse_mapping(f'{text}parts = {{ include = ["fluid"] }}\nfields.temperature = "t"', "mapping test.toml")
    values = MappedSource(tmp_path, mapping).load("run_1").fields["volume_temperature"]
    np.testing.assert_array_equal(values, MeshFile(path, "sample").read()[0].data["point"]["t"])


def test_a_large_case_that_is_read_whole_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_files, "_LARGE_BYTES", 700)
    source = write_cubes(tmp_path, 3)
    source.load("run_1")  # a WholeFileWarning would be an error
    edited(tmp_path / "run_1" / "run_1.case", ".p", WRITER.line("hexa8"), WRITER.line("hexa8 undef") + b"\0" * 4)
    with pytest.warns(WholeFileWarning, match=r"^\{case\}/\{case\}\.case: VTK .* because it has 'hexa8 undef'"):
        source.load("run_1")


def test_only_files_of_mapped_arrays_are_opened(tmp_path: Path) -> None:
    path = write_gold(tmp_path / "run_1.case", [PART])
    path.with_suffix(".p").unlink()
    [part] = GoldMesh(path, "sample", "").read({"cell": [], "point": ["t"]})
    assert np.asarray(part.data["point"]["t"]).tolist() == list(range(8))


MAPPING = (
    'name = "v"\nid = "{case}"\n[domains.volume]\nfile = "{case}/{case}.case"\nassociation = "cell"\n'
    'parts = { include = ["*"] }\n[domains.volume.fields]\npressure = "p"\nvelocity = "U"\n'
)


def write_cubes(root: Path, *n_cells: int) -> MappedSource:
    """Write a case whose parts are rows of cubes; return its source."""
    rng = np.random.default_rng(0)
    parts = []
    for count in n_cells:
        firsts = 4 * np.arange(count)[:, None]
        points = np.stack(
            [np.arange(4 * count + 4) // 4, np.tile([0, 1, 1, 0], count + 1), np.tile([0, 0, 1, 1], count + 1)]
        )
        values = {"p": rng.normal(size=count), "U": rng.normal(size=(count, 3))}
        parts.append(GoldPart(f"row of {count}", points.T, [GoldBlock("hexa8", firsts + np.arange(8))], {}, values))
    write_gold(root / "run_1" / "run_1.case", parts)
    return MappedSource(root, parse_mapping(MAPPING, "mapping test.toml"))


def store_of(source: MappedSource, root: Path) -> dict[str, bytes]:
    """Convert the sample; return the files of its group."""
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
    monkeypatch.setattr(gold_piece, "_STEP_POINTS", 10_000)


def test_a_streamed_case_makes_the_same_store(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source = write_cubes(tmp_path / "in", 700, 300)
    assert isinstance(source.load("run_1").fields["volume_position"], np.ndarray)
    expected = store_of(source, tmp_path / "loaded")
    request.getfixturevalue("large")
    assert not isinstance(source.load("run_1").fields["volume_position"], np.ndarray)
    assert store_of(source, tmp_path / "streamed") == expected


@pytest.mark.usefixtures("large")
def test_memory_holds_the_points_and_a_few_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_part, "_STEP_CELLS", 2_048)
    n_cells = 100_000  # the nodes of the elements take 3.2 MB, and the cells computed from them twice as much
    positions = write_cubes(tmp_path, n_cells).load("run_1").fields["volume_position"]
    tracemalloc.start()
    try:
        for start in range(0, n_cells, 10_000):
            positions[start : start + 10_000]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # the points, 4.8 MB, are in a temporary file


def test_inspect_lists_the_parts_of_all_samples_without_vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("pyvista", "vtkmodules"):
        monkeypatch.setitem(sys.modules, library, None)
    for number, wall in enumerate(("wall", "wheel"), 1):
        triangles = GoldPart(wall, POINTS, [GoldBlock("tria3", [[0, 1, 2]])], elements={"p": np.array([1.5])})
        write_gold(tmp_path / f"run_{number}" / f"run_{number}.case", [PART, triangles])
    assert '# other parts in "run_2/run_2.case": "wheel"' in inspect(tmp_path).mapping
