"""The compiled module computes the same centres and area vectors as NumPy, and finds the same unsound cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.sources.cells import Cells, Polyhedra, UnsoundCellError, require_sound
from noether.data.zarr_store.sources.geometry import cell_centers, face_vectors

pytestmark = pytest.mark.usefixtures("compiled")

_CUBE: list[list[float]] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
_PRISM: list[list[float]] = [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1]]
_PENTAGON: list[list[float]] = [[0, 0], [1, 0], [1.4, 1], [0.5, 1.6], [-0.4, 1]]
_DRUM: list[list[float]] = [[*place, height] for height in (0, 1) for place in _PENTAGON]
# Points of a cell of each VTK type. Polyhedra with other faces have the keys 142 and 242.
SHAPES: dict[int, list[list[float]]] = {
    3: [[0, 0, 0], [1, 1, 1]],
    5: [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
    7: [[0, 0, 0], [1, 0, 0], [1.5, 1, 0], [0.5, 1.5, 0], [-0.5, 1, 0]],
    8: [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],
    9: [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]],
    10: [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    11: [_CUBE[i] for i in (0, 1, 3, 2, 4, 5, 7, 6)],
    12: _CUBE,
    13: _PRISM,
    14: [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [0, 0, 2]],
    42: _CUBE,
    142: _CUBE,
    242: _DRUM,
}
FACES: dict[int, tuple[tuple[int, ...], ...]] = {
    42: ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),
    142: ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2), (0, 2, 1), (4, 5, 6, 7)),
    242: ((4, 3, 2, 1, 0), (0, 1, 6, 5), (1, 2, 7, 6), (5, 6, 7, 8, 9), (2, 3, 8, 7), (3, 4, 9, 8), (4, 0, 5, 9)),
}

seeds = st.integers(0, 2**32 - 1)
kinds = st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=60)
face_kinds = st.lists(st.sampled_from([5, 7, 8, 9]), min_size=1, max_size=60)
dtypes = st.sampled_from([np.float32, np.float64])


def mesh_of(seed: int, kinds: list[int], dtype: type) -> tuple[NDArray[Any], Cells]:
    """Return points and cells of these types, with warped faces and random places; points and faces are shuffled."""
    rng = np.random.default_rng(seed)
    shapes = [np.array(SHAPES[kind]) for kind in kinds]
    sizes = [len(shape) for shape in shapes]
    moved = [shape + rng.uniform(-0.15, 0.15, shape.shape) + rng.uniform(-50, 50, 3) for shape in shapes]
    order = rng.permutation(sum(sizes))
    points: NDArray[Any] = np.concatenate(moved)[np.argsort(order)].astype(dtype)
    offsets = np.cumsum([0, *sizes])
    loops: list[NDArray[np.int64]] = []
    counts = []
    for kind, first in zip(kinds, offsets, strict=False):
        of_cell = FACES.get(kind, ())
        loops += [order[first + np.array(face)] for face in of_cell]
        counts.append(len(of_cell))
    shuffled = rng.permutation(len(loops))
    faces = Polyhedra(
        np.cumsum([0, *counts]),
        np.argsort(shuffled),
        np.cumsum([0, *(len(loops[face]) for face in shuffled)]),
        np.concatenate([np.empty(0, np.int64), *(loops[face] for face in shuffled)]),
    )
    return points, Cells(np.array([kind % 100 for kind in kinds], np.uint8), offsets, order, faces if loops else None)


@given(seeds, kinds, dtypes, st.integers(1, 3))
def test_centres_match_numpy(seed: int, kinds: list[int], dtype: type, threads: int) -> None:
    points, cells = mesh_of(seed, kinds, dtype)
    given = cell_centers(points, cells, threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "cell_centers", None)
        expected = cell_centers(points, cells)
    limit = 1e-12 if dtype is np.float64 else float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(given, expected, rtol=0, atol=limit * 50)
    assert given.dtype == expected.dtype == dtype


@given(seeds, face_kinds, dtypes, st.integers(1, 3))
def test_area_vectors_match_numpy(seed: int, kinds: list[int], dtype: type, threads: int) -> None:
    points, cells = mesh_of(seed, kinds, dtype)
    given = face_vectors(points, cells, threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "face_vectors", None)
        expected = face_vectors(points, cells)
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * 50)


@given(seeds, kinds, st.sampled_from(["connectivity", "offsets"]), st.sampled_from([-1, 2**40, -(2**62), 3]))
def test_an_unsound_cell_is_found(seed: int, kinds: list[int], array: str, wrong: int) -> None:
    points, cells = mesh_of(seed, kinds, np.float64)
    numbers = getattr(cells, array).copy()
    numbers[np.random.default_rng(seed).integers(len(numbers))] = wrong
    broken = replace(cells, **{array: numbers})
    try:
        require_sound(broken, len(points))
    except UnsoundCellError:
        is_sound = False
    else:
        is_sound = True
    assume(not is_sound)
    with pytest.raises(UnsoundCellError, match="cell"):
        cell_centers(points, broken)


@given(
    seeds, st.sampled_from(["cell_offsets", "face_ids", "face_offsets", "connectivity"]), st.sampled_from([-1, 2**40])
)
def test_invalid_faces_are_found(seed: int, array: str, wrong: int) -> None:
    points, cells = mesh_of(seed, [42, 12, 42], np.float32)
    assert cells.polyhedra is not None
    numbers = getattr(cells.polyhedra, array).copy()
    numbers[np.random.default_rng(seed).integers(len(numbers))] = wrong
    broken = replace(cells, polyhedra=replace(cells.polyhedra, **{array: numbers}))
    with pytest.raises(UnsoundCellError, match="cell"):
        cell_centers(points, broken)


def test_a_cell_without_points_of_its_type_is_named() -> None:
    points, cells = mesh_of(0, [12, 10, 14], np.float64)
    wrong = replace(cells, types=np.array([12, 12, 14], np.uint8))
    with pytest.raises(UnsoundCellError, match=r"^cell 1 of VTK's type 12 has 4 points; expected 8$"):
        cell_centers(points, wrong)
