"""A binary EnSight Gold case of any form, parts and elements is read with the same result as in VTK."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.sources.ensight_gold import GoldMesh
from noether.data.zarr_store.sources.lazy_arrays import LazyArray
from noether.data.zarr_store.sources.meshes import MeshFile
from support.ensight_files import SIZES, GoldBlock, GoldForm, GoldPart, write_gold
from support.vtk_files import assert_same_part

SOURCES = "noether.data.zarr_store.sources"
WIDTHS: dict[str, tuple[int, ...]] = {"s": (), "v": (3,), "symm": (6,), "asym": (9,)}
SOLIDS = (
    ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)),
    ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (0, 1, 6, 5), (1, 2, 7, 6), (2, 3, 8, 7), (3, 4, 9, 8), (4, 0, 5, 9)),
)
seeds = st.integers(0, 2**32 - 1)
ids = st.sampled_from(["assign", "off", "given", "ignore"])
forms = st.builds(
    GoldForm, fortran=st.booleans(), big_endian=st.booleans(), node_id=ids, element_id=ids, extents=st.booleans()
)
kinds = st.lists(
    st.sampled_from([*SIZES, "nsided", "nfaced", "g_hexa8", "g_tria3", "g_nsided"]), unique=True, max_size=6
)
# Kinds of elements of a part, its node arrays, its element arrays, and whether it is empty.
shapes = st.tuples(kinds, st.sets(st.sampled_from([*WIDTHS])), st.sets(st.sampled_from([*WIDTHS])), st.booleans())


@pytest.fixture(autouse=True, params=[False, True], ids=["", "small-steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also read a few cells, numbers and bytes at a time, as for large files."""
    if request.param:
        monkeypatch.setattr(f"{SOURCES}.streamed_part._STEP_BYTES", 100)
        monkeypatch.setattr(f"{SOURCES}.streamed_part._STEP_CELLS", 3)
        monkeypatch.setattr(f"{SOURCES}.ensight_gold.list_table._MARK_EVERY", 2)
        monkeypatch.setattr(f"{SOURCES}.ensight_gold.records._STEP_VALUES", 5)
        monkeypatch.setattr(f"{SOURCES}.ensight_gold.gold_piece._STEP_POINTS", 3)
        monkeypatch.setattr(f"{SOURCES}.spilled_arrays.SMALL_ARRAY_BYTES", 64)


def element_of(kind: str, rng: np.random.Generator, n_points: int) -> Any:
    points = rng.permutation(n_points)
    kind = kind.removeprefix("g_")
    if kind == "nfaced":
        return [[points[corner] for corner in face] for face in SOLIDS[rng.integers(len(SOLIDS))]]
    return points[: rng.integers(3, 7) if kind == "nsided" else SIZES[kind]]


def part_of(shape: tuple[list[str], set[str], set[str], bool], number: int, seed: int) -> GoldPart:
    kinds, nodes, elements, is_empty = shape
    rng = np.random.default_rng([seed, number])
    if is_empty:  # VTK loses everything after lists without elements, and after several kinds without values
        kinds = [kind for kind in kinds if kind in SIZES][:1]
    n_points = 0 if is_empty else 12
    counts = [0 if is_empty else int(rng.integers(kind not in SIZES, 8)) for kind in kinds]
    blocks = [
        GoldBlock(kind, [element_of(kind, rng, n_points) for _ in range(count)])
        for kind, count in zip(kinds, counts, strict=True)
    ]
    n_cells = sum(count for kind, count in zip(kinds, counts, strict=True) if not kind.startswith("g_"))
    elements = elements if n_cells or len(kinds) < 2 else set()
    return GoldPart(
        ["", " x " * 26, "ä" * 30, f"part {number}"][rng.integers(4)],
        rng.normal(size=(n_points, 3)),
        blocks,
        {name: rng.normal(size=(n_points, *WIDTHS[name])) for name in sorted(nodes)},
        {name: rng.normal(size=(n_cells, *WIDTHS[name])) for name in sorted(elements)},
        int(rng.integers(1, 9)) * 7 + number,
    )


def assert_read_as_vtk_does(path: Path) -> None:
    by_vtk, streamed = MeshFile(path, "sample"), GoldMesh(path, "sample", "")
    assert by_vtk.names == streamed.names
    expected, given = by_vtk.read(streamed.names), streamed.read(streamed.names)
    assert [part.name for part in given] == [part.name for part in expected]
    for one, other in zip(given, expected, strict=True):
        assert all(isinstance(values, LazyArray) for arrays in one.data.values() for values in arrays.values())
        assert_same_part(one, other)


@given(seeds, st.lists(shapes, min_size=1, max_size=4), forms)
def test_a_case_matches_vtk(
    seed: int, shapes: list[tuple[list[str], set[str], set[str], bool]], form: GoldForm
) -> None:
    # One part is never empty: VTK reports a case of only empty parts as a case without a mesh.
    last = (["hexa8", "nfaced"], {"s"}, {"s", "v"}, False)
    parts = [part_of(shape, number, seed) for number, shape in enumerate([*shapes, last])]
    with TemporaryDirectory() as directory:
        assert_read_as_vtk_does(write_gold(Path(directory, "a.case"), parts, form))


def test_values_keep_their_bits(tmp_path: Path) -> None:
    patterns = np.array([0x7FC00001, 0x7F800001, 0xFF812345, 0x80000000, 0x00000001, 0x7F800000], np.uint32)
    part = GoldPart("a", np.zeros((6, 3)), nodes={"s": patterns.view(np.float32)})
    for big_endian in (False, True):
        mesh = GoldMesh(write_gold(tmp_path / "a.case", [part], GoldForm(big_endian=big_endian)), "sample", "")
        values = np.asarray(mesh.read(mesh.names)[0].data["point"]["s"])
        np.testing.assert_array_equal(values.view(np.uint32), patterns)


def test_the_name_of_a_part_can_have_any_encoding(tmp_path: Path) -> None:
    path = write_gold(tmp_path / "a.case", [GoldPart("Fluegel", np.eye(3))])
    data = path.with_suffix(".geo").read_bytes()
    for name in ("Flügel".encode(), "Flügel".encode("latin-1")):
        path.with_suffix(".geo").write_bytes(data.replace(b"Fluegel", name.ljust(7)))
        assert [part.name for part in GoldMesh(path, "sample", "").read({"cell": [], "point": []})] == ["Flügel"]


def test_an_empty_part_hides_no_other(tmp_path: Path) -> None:
    """VTK skips the parts after values of several kinds that have no elements."""
    none = [GoldBlock(kind, []) for kind in ("hexa8", "nsided", "nfaced")]
    values = {"s": np.zeros(0, np.float32)}
    empty = GoldPart("empty", np.zeros((0, 3)), none, elements=values, number=4)
    full = GoldPart("full", np.eye(3), [GoldBlock("tria3", [[0, 1, 2]])], elements={"s": np.array([2.5])}, number=3)
    for fortran in (False, True):
        mesh = GoldMesh(write_gold(tmp_path / "a.case", [empty, full], GoldForm(fortran=fortran)), "sample", "")
        [part] = mesh.read(mesh.names)
        assert (part.name, np.asarray(part.data["cell"]["s"]).tolist()) == ("full", [2.5])
