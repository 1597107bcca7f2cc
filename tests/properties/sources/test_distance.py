"""The distance of positions to a surface, compared with other ways to compute it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import pyvista
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.sources import distance as module
from noether.data.zarr_store.sources.distance import distance_to_positions, distance_to_triangles
from noether.data.zarr_store.sources.meshes import MeshFile
from support.ahmed import AHMED
from support.meshes import VTK

Floats = NDArray[Any]

seeds = st.integers(0, 2**32 - 1)
TRIANGLE = np.array([[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])


def body() -> Floats:
    return MeshFile(VTK / "run_1" / "surface.vtp", "surface").read({"cell": [], "point": []})[0].triangles()


def by_vtk(positions: Floats, triangles: Floats) -> Floats:
    n = len(triangles)
    mesh = pyvista.PolyData(
        triangles.reshape(-1, 3), faces=np.c_[np.full(n, 3), np.arange(3 * n).reshape(n, 3)].ravel()
    )
    measured = pyvista.PolyData(positions.astype(float)).compute_implicit_distance(mesh)
    distances: Floats = np.abs(np.asarray(measured["implicit_distance"]))
    return distances


@pytest.mark.parametrize(
    ("position", "distance"),
    [
        pytest.param([1, 1, 5], 5, id="above the inside"),
        pytest.param([1, 1, -5], 5, id="below: it is not negative"),
        pytest.param([1, 1, 0], 0, id="on it"),
        pytest.param([2, -3, 4], 5, id="beside an edge"),
        pytest.param([-3, -4, 12], 13, id="beside a corner"),
        pytest.param([4, 3, 0], 2.4, id="beside the longest edge, in the plane"),
    ],
)
def test_the_distance_to_one_triangle(position: list[float], distance: float) -> None:
    assert distance_to_triangles(np.array([position], float), TRIANGLE) == pytest.approx([distance])


def test_far_float32_triangles_are_measured_in_float64() -> None:
    """The surface is a fan of many triangles around a hub. Their corners are integers, exact in float32 at 12,000 km.

    Seeds in float32 would all coincide with the hub, so that none would show the nearest triangle.
    """
    angles = np.linspace(0, 2 * np.pi, 97)
    rim = np.round(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) * 40)
    triangles = np.stack([np.zeros((96, 3)), rim[:-1], rim[1:]], axis=1)
    positions = np.random.default_rng(0).random((300, 3)) * (2, 2, 0.001) - (1, 1, 0)
    shift = np.array([12e6, 14e6, 0])
    far = distance_to_triangles(positions + shift, (triangles + shift).astype(np.float32))
    np.testing.assert_allclose(far, distance_to_triangles(positions, triangles), rtol=0, atol=1e-8)


def test_a_triangle_without_area_is_an_edge_or_a_point() -> None:
    edge, point = TRIANGLE[:, [0, 1, 1]], TRIANGLE[:, [0, 0, 0]]
    position = np.array([[2.0, 3.0, 4.0]])
    assert distance_to_triangles(position, edge) == pytest.approx([5])
    assert distance_to_triangles(position, point) == pytest.approx([29**0.5])


@cache
def sphere() -> Floats:
    mesh: Any = pyvista.Icosphere(radius=1.0, nsub=4)
    triangles: Floats = mesh.points[mesh.faces.reshape(-1, 4)[:, 1:]]
    return triangles


@given(seeds)
def test_the_distance_to_a_sphere(seed: int) -> None:
    """The distance is that to the centre minus the radius."""
    positions = np.random.default_rng(seed).normal(size=(50, 3))
    expected = np.abs(np.linalg.norm(positions, axis=1) - 1)
    np.testing.assert_allclose(distance_to_triangles(positions, sphere()), expected, atol=2e-3)


@given(seeds, st.integers(1, 40))
def test_the_distance_to_few_triangles_is_exact(seed: int, n_triangles: int) -> None:
    """The distance to up to four triangles is the smallest of the distances to each."""
    rng = np.random.default_rng(seed)
    triangles, positions = rng.uniform(size=(n_triangles, 3, 3)), rng.normal(size=(20, 3))
    # Up to four triangles have at most 16 seeds, so that all are measured.
    each = np.stack([by_vtk(positions, triangles[[one]]) for one in range(min(n_triangles, 4))])
    np.testing.assert_allclose(distance_to_triangles(positions, triangles[:4]), each.min(axis=0), atol=1e-9)


def test_the_distance_to_the_body_matches_vtk() -> None:
    positions = np.load(AHMED / "run_1" / "volume_cell_position.npy")
    np.testing.assert_allclose(distance_to_triangles(positions, body()), by_vtk(positions, body()), atol=5e-7)


def test_the_distance_to_the_body_matches_the_dataset() -> None:
    """It differs from the dataset's only by the distance between the mesh and the geometry."""
    positions, sdf = (np.load(AHMED / "run_1" / f"volume_cell_{name}.npy") for name in ("position", "sdf"))
    error = np.abs(distance_to_triangles(positions, body()) - sdf)
    # The dataset measures to the triangles of the geometry, which are up to 1.9 mm away from the faces of the mesh.
    assert (np.median(error) < 1e-6, error.max() < 1.7e-3) == (True, True)


def test_the_distance_to_positions_hardly_exceeds_the_surface() -> None:
    """The distance to face centres is never less than to the faces; beyond 1 m it is at most 1 % more."""
    positions = np.load(AHMED / "run_1" / "volume_cell_position.npy")
    surface = np.load(AHMED / "run_1" / "surface_position_vtp.npy")
    to_faces, to_positions = distance_to_triangles(positions, body()), distance_to_positions(positions, surface)
    excess = to_positions - to_faces
    assert excess.min() > -1e-3  # face centres are not quite on the triangles
    assert (excess / to_faces).max() > 0.5
    assert (excess / to_faces)[to_faces > 1].max() < 0.01


def test_the_nearest_position_matches_brute_force() -> None:
    rng = np.random.default_rng(5)
    positions, targets = rng.normal(size=(200, 3)), rng.normal(size=(300, 3))
    expected = np.linalg.norm(positions[:, None] - targets, axis=2).min(axis=1)
    np.testing.assert_allclose(distance_to_positions(positions, targets), expected)


def test_many_positions_are_measured_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = np.random.default_rng(2).uniform(-1, 1, (1000, 3)).astype(np.float32)
    whole = distance_to_triangles(positions, body())
    monkeypatch.setattr(module, "_BLOCK_POSITIONS", 300)
    monkeypatch.setattr(module, "_MEASURED_POSITIONS", 70)
    np.testing.assert_array_equal(distance_to_triangles(positions, body()), whole)
    assert whole.dtype == np.float32
