"""The shuffle of new stores is random: places, neighbours, chunks, and whole orders, over many samples.

Seeds are fixed, so nothing here depends on luck. The bounds are those of a test at the level of 0.1 % for each.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare, hypergeom

from noether.data.zarr_store.sampling.shuffle import SHUFFLE_ALGORITHM, permutation

pytestmark = pytest.mark.slow

P_MIN = 1e-3


def orders_of(n_points: int, n_samples: int) -> NDArray[np.int64]:
    """Return the orders of some samples of a store, shape (n_samples, n_points)."""
    made = [
        permutation(n_points, algorithm=SHUFFLE_ALGORITHM, shuffle_seed=0, sample_id=f"run_{number}", domain="volume")
        for number in range(n_samples)
    ]
    return np.stack(made)


def require_as_expected(counts: NDArray[Any], expected: NDArray[np.floating[Any]]) -> None:
    assert chisquare(counts.ravel(), expected.ravel()).pvalue > P_MIN


@pytest.mark.parametrize("n_points", range(1, 7))
def test_every_order_of_a_few_points_is_as_likely(n_points: int) -> None:
    numbers = {order: number for number, order in enumerate(permutations(range(n_points)))}
    found = [numbers[tuple(order)] for order in orders_of(n_points, 30_000).tolist()]
    counts = np.bincount(found, minlength=len(numbers))
    assert len(counts) == 1 or chisquare(counts).pvalue > P_MIN


@pytest.mark.parametrize(
    ("n_points", "n_samples"), [(2, 20_000), (3, 20_000), (29, 20_000), (1_000, 4_000), (70_000, 60)]
)
def test_every_point_is_as_likely_at_every_place(n_points: int, n_samples: int) -> None:
    """Places and points are counted in at most 20 classes each."""
    n_classes = min(n_points, 20)
    orders = orders_of(n_points, n_samples)
    class_of = np.arange(n_points) * n_classes // n_points
    sizes = np.bincount(class_of)
    places = np.broadcast_to(class_of, orders.shape)
    counts = np.bincount((places * n_classes + class_of[orders]).ravel(), minlength=n_classes**2)
    require_as_expected(counts, np.outer(sizes, sizes) * (n_samples / n_points))


@pytest.mark.parametrize(("n_points", "n_samples"), [(29, 20_000), (1_000, 2_000), (70_000, 40)])
@pytest.mark.parametrize("distance", [1, 7])
def test_neighbours_in_the_store_are_randomly_far_apart(n_points: int, n_samples: int, distance: int) -> None:
    orders = orders_of(n_points, n_samples)
    apart = (orders[:, distance:] - orders[:, :-distance]) % n_points
    counts = np.bincount(apart.ravel(), minlength=n_points)[1:]
    n_classes = min(n_points - 1, 50)
    classes = np.arange(n_points - 1) * n_classes // (n_points - 1)
    summed = np.bincount(classes, weights=counts, minlength=n_classes)
    require_as_expected(summed, np.bincount(classes) * (counts.sum() / (n_points - 1)))


@pytest.mark.parametrize(("n_points", "chunk", "n_marked"), [(50, 7, 20), (1_000, 64, 300), (70_000, 256, 7_000)])
def test_points_of_a_region_are_spread_over_chunks_by_chance(n_points: int, chunk: int, n_marked: int) -> None:
    """The first points of the source stand for a region; their number in a chunk is hypergeometric."""
    n_chunks = n_points // chunk
    orders = orders_of(n_points, max(20_000 // n_chunks, 1))[:, : n_chunks * chunk]
    # One chunk of each order, and no two that depend on each other.
    in_chunk = (orders < n_marked).reshape(len(orders), n_chunks, chunk).sum(axis=2)
    found = in_chunk[:, ::4].ravel()
    law = hypergeom(n_points, n_marked, chunk)
    edges = np.unique(law.ppf(np.linspace(0.02, 0.98, 13))).astype(int)
    counts = np.bincount(np.searchsorted(edges, found), minlength=len(edges) + 1)
    below = np.concatenate([[0.0], law.cdf(edges), [1.0]])
    require_as_expected(counts, np.diff(below) * len(found))
