"""Laws of exports: for all shuffles and cells, a value is exported to its original place."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store import FileMap, ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.export import PredictionWriter, export_sample
from noether.data.zarr_store.export.meshes import Part, Ragged
from support.export_meshes import CORNERS, assert_same_bits, by_type, case_parts, cells_around, corners, read_with_vtk
from support.reading import write_samples

KINDS = st.lists(st.sampled_from(sorted(CORNERS)), min_size=1, max_size=40)


@given(kinds=KINDS, seed=st.integers(0, 2**31), chunk_points=st.integers(1, 50))
def test_predictions_from_a_read_sample_give_the_source_back(kinds: list[int], seed: int, chunk_points: int) -> None:
    rng = np.random.default_rng(seed)
    position, pressure = rng.normal(size=(len(kinds), 3)).astype("f4"), rng.normal(size=len(kinds)).astype("f4")
    fields = {"volume_position": position, "volume_pressure": pressure}
    filemap = FileMap(volume_position="x.npy", volume_pressure="p.npy")
    grid = cells_around(position, kinds)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = {"shuffle_seed": seed, "chunk_points": chunk_points, "values_dtype": "float32"}
        write_samples(root / "store", {"run_1": fields}, filemap, **settings)
        grid.save(root / "mesh.vtu")
        stored = ZarrChunkReader(root / "store").read_arrays("run_1")
        predictions = {"copy": stored["volume_pressure"], "negative": -stored["volume_position"]}
        for target in ("out.vtu", "out.case"):
            export_sample(
                root / "store",
                "run_1",
                root / target,
                onto=root / "mesh.vtu",
                association="cell",
                predictions=predictions,
            )
        as_vtu, as_case = read_with_vtk(root / "out.vtu"), case_parts(root / "out.case")["mesh"]
    order = by_type(grid)
    assert corners(as_vtu) == corners(grid)
    assert corners(as_case) == [corners(grid)[number] for number in order]
    for name, values in {"copy": pressure, "negative": -position}.items():
        assert_same_bits(np.asarray(as_vtu.cell_data[name]), values)
        assert_same_bits(np.asarray(as_case.cell_data[name]), values[order])


@given(rows=st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=8), data=st.data())
def test_ragged_rows_are_taken_as_from_a_list(rows: list[list[int]], data: st.DataObject) -> None:
    offsets = np.cumsum([0, *map(len, rows)])
    ragged = Ragged(offsets, np.array([value for row in rows for value in row], dtype=np.int64))
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    lengths, values = ragged.take(np.array(wanted, dtype=np.int64))
    assert lengths.tolist() == [len(rows[number]) for number in wanted]
    assert values.tolist() == [value for number in wanted for value in rows[number]]


@given(kinds=KINDS, seed=st.integers(0, 2**31))
def test_distances_to_cells_match_their_bounding_boxes(kinds: list[int], seed: int) -> None:
    """A distance is measured along the axes, and is 0 inside the box."""
    rng = np.random.default_rng(seed)
    grid = cells_around(rng.normal(size=(len(kinds), 3)), kinds)
    position = rng.normal(size=(len(kinds), 3))
    boxes = [np.array(grid.get_cell(number).bounds).reshape(3, 2) for number in range(len(kinds))]
    expected = [
        max(
            0.0,
            *(low - x for x, (low, _) in zip(p, box, strict=True)),
            *(x - high for x, (_, high) in zip(p, box, strict=True)),
        )
        for p, box in zip(position, boxes, strict=True)
    ]
    np.testing.assert_array_equal(Part("mesh", grid).distances("cell", position), expected)


@given(n_points=st.integers(1, 60), data=st.data(), width=st.none() | st.integers(1, 3), seed=st.integers(0, 99))
def test_the_order_of_row_ranges_does_not_matter(
    n_points: int, data: st.DataObject, width: int | None, seed: int
) -> None:
    """The file equals the file of a single export."""
    cuts = data.draw(st.sets(st.integers(1, n_points), max_size=12))
    ranges = data.draw(st.permutations(list(pairwise(sorted({0, n_points} | cuts)))))
    rng = np.random.default_rng(seed)
    predicted = rng.normal(size=(n_points,) if width is None else (n_points, width)).astype("f4")
    fields = {"volume_position": rng.normal(size=(n_points, 3)).astype("f4")}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_samples(root / "store", {"run_1": fields}, FileMap(volume_position="x.npy"), shuffle_seed=seed)
        export_sample(root / "store", "run_1", root / "once.npz", predictions={"q": predicted})
        with PredictionWriter(root / "store", "run_1", root / "parts.npz") as writer:
            for first, stop in ranges:
                writer.add((first, stop), {"q": predicted[first:stop]})
        assert (root / "parts.npz").read_bytes() == (root / "once.npz").read_bytes()


@given(n_points=st.integers(1, 40), data=st.data())
def test_missing_and_repeated_rows_are_detected(n_points: int, data: st.DataObject) -> None:
    """The file is written only if every row was added exactly once."""
    bounds = st.tuples(st.integers(0, n_points), st.integers(0, n_points)).map(sorted).filter(lambda b: b[0] < b[1])
    ranges = data.draw(st.lists(bounds, min_size=1, max_size=6))
    given_rows = [row for first, stop in ranges for row in range(first, stop)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fields = {"volume_position": np.zeros((n_points, 3), "f4")}
        write_samples(root / "store", {"run_1": fields}, FileMap(volume_position="x.npy"))
        writer = PredictionWriter(root / "store", "run_1", root / "out.npz")
        complete = sorted(given_rows) == list(range(n_points))
        with nullcontext() if complete else pytest.raises(ArgumentError, match=r"expected (each row once|all .* rows)"):
            add_all(writer, ranges)
        assert (root / "out.npz").exists() == complete


def add_all(writer: PredictionWriter, ranges: list[list[int]]) -> None:
    with writer:
        for first, stop in ranges:
            writer.add((first, stop), {"q": np.zeros(stop - first)})
