"""Centres, areas and normals: exact values for simple shapes, and laws for all shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import pyvista
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.sources.cells import Cells, Polyhedra, dimension_of, faces
from noether.data.zarr_store.sources.geometry import cell_centers, face_vectors, outward_sign, point_vectors
from noether.data.zarr_store.sources.mesh_part import LoadedPart

pytestmark = pytest.mark.usefixtures("compiled_or_not")

Floats = NDArray[np.float64]

CUBE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)
CUBE_FACES = ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7))
HEXAHEDRON, QUAD, POLYGON, POLYHEDRON = 12, 9, 7, 42

coordinates = st.floats(-1.0, 1.0, width=32)
seeds = st.integers(0, 2**32 - 1)


def one_cell(kind: int, n_points: int) -> Cells:
    return Cells(np.array([kind]), np.array([0, n_points]), np.arange(n_points))


def surface(*loops: tuple[int, ...]) -> Cells:
    offsets = np.cumsum([0, *map(len, loops)])
    return Cells(np.full(len(loops), POLYGON), offsets, np.concatenate(loops))


def as_polyhedron(loops: tuple[tuple[int, ...], ...]) -> Cells:
    offsets, points = np.cumsum([0, *map(len, loops)]), np.unique(np.concatenate(loops))
    polyhedra = Polyhedra(np.array([0, len(loops)]), np.arange(len(loops)), offsets, np.concatenate(loops))
    return Cells(np.array([POLYHEDRON]), np.array([0, len(points)]), points, polyhedra)


def warped_cube(seed: int, amount: float = 0.3) -> Floats:
    return CUBE + np.random.default_rng(seed).uniform(-amount, amount, CUBE.shape)


def tetrahedra_of(points: Floats, loops: tuple[tuple[int, ...], ...]) -> tuple[Floats, Floats]:
    """Return volumes and centroids of the tetrahedra that fill a cell: one for each edge of each face."""
    inner = points.mean(axis=0)
    corners = [
        (points[a], points[b], points[list(loop)].mean(axis=0), inner)
        for loop in loops
        for a, b in pairwise((*loop, loop[0]))
    ]
    volumes = np.array([np.dot(np.cross(a - d, b - d), c - d) / 6 for a, b, c, d in corners])
    return volumes, np.array(corners).mean(axis=1)


KINDS = {
    "tetrahedron": (10, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [0.25, 0.25, 0.25]),
    "voxel": (11, CUBE[[0, 1, 3, 2, 4, 5, 7, 6]].tolist(), [0.5, 0.5, 0.5]),
    "hexahedron": (12, CUBE.tolist(), [0.5, 0.5, 0.5]),
    "wedge": (13, [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 3], [0, 1, 3], [1, 0, 3]], [1 / 3, 1 / 3, 1.5]),
    "pyramid": (14, [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [0, 0, 4]], [0, 0, 1]),
    "triangle": (5, [[0, 0, 0], [3, 0, 0], [0, 3, 3]], [1, 1, 1]),
    "quadrilateral": (9, [[0, 0, 0], [4, 0, 0], [2, 2, 0], [0, 2, 0]], [14 / 9, 8 / 9, 0]),
    "pixel": (8, [[0, 0, 0], [4, 0, 0], [0, 2, 0], [4, 2, 0]], [2, 1, 0]),
    "polygon": (7, [[0, 0, 1], [2, 0, 1], [2, 2, 1], [1, 3, 1], [0, 2, 1]], [1, 19 / 15, 1]),
    "line": (3, [[0, 0, 0], [2, 4, 6]], [1, 2, 3]),
    "quadratic triangle": (22, [[0, 0, 0], [6, 0, 0], [0, 6, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]], [2, 2, 0]),
}


@pytest.mark.parametrize(("kind", "points", "center"), KINDS.values(), ids=KINDS)
def test_the_centre_of_a_cell_is_its_centroid(kind: int, points: list[list[float]], center: list[float]) -> None:
    np.testing.assert_allclose(cell_centers(np.array(points, float), one_cell(kind, len(points))), [center], atol=1e-15)


@given(seeds, st.floats(0.1, 3.0))
def test_a_cell_with_flat_faces_has_its_exact_centroid(seed: int, taper: float) -> None:
    frustum = np.where(CUBE[:, 2:] == 1, CUBE * [taper, taper, 1], CUBE)
    points = frustum @ (np.eye(3) + np.random.default_rng(seed).uniform(-0.3, 0.3, (3, 3)))
    volumes, centroids = tetrahedra_of(points, CUBE_FACES)
    np.testing.assert_allclose(cell_centers(points, one_cell(HEXAHEDRON, 8))[0], volumes @ centroids / volumes.sum())


@given(seeds)
def test_a_polyhedron_has_the_centre_of_the_same_hexahedron(seed: int) -> None:
    points = warped_cube(seed)
    expected = cell_centers(points, one_cell(HEXAHEDRON, 8))
    np.testing.assert_allclose(cell_centers(points, as_polyhedron(CUBE_FACES)), expected, atol=1e-13)


@given(seeds, st.floats(0.1, 10.0), st.tuples(coordinates, coordinates, coordinates))
def test_centres_move_with_their_points(seed: int, scale: float, shift: tuple[float, float, float]) -> None:
    points, cells = warped_cube(seed), as_polyhedron(CUBE_FACES)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    moved = scale * points @ rotation + shift
    expected = scale * cell_centers(points, cells) @ rotation + shift
    np.testing.assert_allclose(cell_centers(moved, cells), expected, atol=1e-11)


@given(seeds)
def test_centres_far_from_the_origin_keep_their_digits(seed: int) -> None:
    points, far = warped_cube(seed), np.array([1e6, -2e6, 3e6])
    near_center = cell_centers(points, one_cell(HEXAHEDRON, 8))
    np.testing.assert_allclose(cell_centers(points + far, one_cell(HEXAHEDRON, 8)) - far, near_center, atol=1e-8)
    _, near = face_vectors(points, surface(*CUBE_FACES))
    np.testing.assert_allclose(face_vectors(points + far, surface(*CUBE_FACES))[1], near, atol=1e-8)


def test_a_cell_without_volume_has_the_mean_of_its_face_centres() -> None:
    flat = CUBE * [1, 1, 0]
    np.testing.assert_allclose(cell_centers(flat, one_cell(HEXAHEDRON, 8)), [[0.5, 0.5, 0]])


def test_many_cells_of_mixed_types_are_computed_in_blocks() -> None:
    n_cells = 40_000
    shifts = np.arange(n_cells)[:, None, None] * [[[2.0, 0.0, 0.0]]]
    points = (CUBE + shifts).reshape(-1, 3)
    types = np.where(np.arange(n_cells) % 3 == 0, QUAD, HEXAHEDRON)
    sizes = np.where(types == QUAD, 4, 8)
    connectivity = np.concatenate([8 * cell + np.arange(size) for cell, size in enumerate(sizes)])
    cells = Cells(types, np.concatenate([[0], np.cumsum(sizes)]), connectivity)
    expected = np.where(types == QUAD, 0.0, 0.5)[:, None] * [[0, 0, 1]] + [[0.5, 0.5, 0]] + shifts[:, 0]
    np.testing.assert_allclose(cell_centers(points, cells), expected, atol=1e-9)


@given(seeds)
def test_area_vectors_of_a_closed_surface_sum_to_zero(seed: int) -> None:
    _, vectors = face_vectors(warped_cube(seed), surface(*CUBE_FACES))
    np.testing.assert_allclose(vectors.sum(axis=0), 0, atol=1e-14)


@given(seeds)
def test_triangles_of_a_sphere_have_its_area_and_point_outward(seed: int) -> None:
    sphere = pyvista.Sphere(radius=2.0, theta_resolution=60, phi_resolution=60)
    shift = np.random.default_rng(seed).uniform(-100, 100, 3)
    points, loops = np.asarray(sphere.points, float) + shift, sphere.faces.reshape(-1, 4)[:, 1:]
    centers, vectors = face_vectors(points, surface(*map(tuple, loops)))
    areas = np.linalg.norm(vectors, axis=1)
    assert areas.sum() == pytest.approx(4 * np.pi * 2.0**2, rel=0.005)
    away = (centers - shift) / np.linalg.norm(centers - shift, axis=1, keepdims=True)
    assert ((vectors * away).sum(axis=1) / areas).min() > 0.999
    assert outward_sign(centers, vectors) == pytest.approx(1, abs=1e-3)
    assert outward_sign(centers, -vectors) == pytest.approx(-1, abs=1e-3)


@given(seeds, st.booleans())
def test_the_sign_of_a_closed_surface_equals_its_volume_sign(seed: int, is_reversed: bool) -> None:
    loops = tuple(loop[::-1] for loop in CUBE_FACES) if is_reversed else CUBE_FACES
    centers, vectors = face_vectors(warped_cube(seed) + 50, surface(*loops))
    assert np.sign(outward_sign(centers, vectors)) == (-1 if is_reversed else 1)


def test_a_body_with_an_open_side_points_outward() -> None:
    loops = CUBE_FACES[1:]  # without the side at x = 0
    assert outward_sign(*face_vectors(CUBE + 9, surface(*loops))) > 0.5


@pytest.mark.parametrize("points", [CUBE[:4] + 7, np.zeros((4, 3))], ids=["a plane", "no area"])
def test_a_flat_surface_has_no_sign(points: Floats) -> None:
    assert outward_sign(*face_vectors(points, surface((0, 1, 2, 3)))) == pytest.approx(0, abs=1e-12)


@given(seeds)
def test_points_share_all_of_the_area_of_their_faces(seed: int) -> None:
    cells = surface(*CUBE_FACES[:5], (4, 5, 6), (4, 6, 7))
    _, vectors = face_vectors(warped_cube(seed), cells)
    summed, areas = point_vectors(9, cells, vectors)  # the ninth point belongs to no face
    assert areas.sum() == pytest.approx(np.linalg.norm(vectors, axis=1).sum())
    assert (areas[8], summed[8].tolist()) == (0, [0, 0, 0])


def test_normals_at_the_corners_of_a_cube_are_its_diagonals() -> None:
    _, vectors = face_vectors(CUBE, surface(*CUBE_FACES))
    summed, areas = point_vectors(8, surface(*CUBE_FACES), vectors)
    np.testing.assert_allclose(summed, 2 * (CUBE - 0.5))
    np.testing.assert_allclose(areas, 0.75)


def test_a_mesh_without_cells_has_no_faces() -> None:
    none = np.empty(0, int)
    assert not LoadedPart("a", CUBE, Cells(none, np.zeros(1, int), none)).has_faces_only
    assert LoadedPart("a", CUBE, surface(*CUBE_FACES)).has_faces_only


@pytest.mark.parametrize("kind", list(pyvista.CellType), ids=lambda kind: kind.name)
def test_cells_have_the_dimensions_of_vtk(kind: pyvista.CellType) -> None:
    assert dimension_of(np.array([1, int(kind)])) == kind.dimension


def test_every_face_of_every_cell_is_yielded_once() -> None:
    grid = pyvista.examples.load_hexbeam()
    cells = Cells(np.asarray(grid.celltypes), np.arange(0, 8 * grid.n_cells + 1, 8), np.asarray(grid.cell_connectivity))
    owners = np.concatenate([owners for owners, _ in faces(cells)])
    np.testing.assert_array_equal(np.bincount(owners), 6)
