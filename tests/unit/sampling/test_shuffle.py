"""The frozen shuffle: its vectors are part of the format."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from noether.data.zarr_store.sampling.shuffle import SHUFFLE_ALGORITHM, permutation

N_LARGE = 100_000

VECTORS = [
    pytest.param(
        (0, "run_1", "surface"),
        [0, 3, 6, 4, 8, 9, 5, 2, 7, 1],
        "dcaceb541569f03408167897cd7f1dd91618a6dc2b6705890bb81b0a7ae530d9",
        id="surface",
    ),
    pytest.param(
        (0, "run_1", "volume"),
        [3, 9, 2, 6, 8, 1, 5, 4, 7, 0],
        "916d16679e6cf8901af3d9b37882c7fdfeddba8f6084486d450d0ab04d4bb7f1",
        id="another-domain",
    ),
    pytest.param(
        (1, "run_1", "surface"),
        [3, 2, 9, 4, 0, 5, 6, 8, 1, 7],
        "2fc6c1726dcb855de85980af22572168328abc968244ed71a64960d2726311e8",
        id="another-seed",
    ),
    pytest.param(
        (42, "param1/6f0a", "volume"),
        [5, 0, 3, 8, 7, 9, 6, 4, 2, 1],
        "26d3f67e11722403a42961aacbf3537724df1adbe2fef604e99d8e337a438c18",
        id="nested-id",
    ),
    pytest.param(
        (-3, "run_1", "surface_stl"),
        [3, 7, 9, 5, 4, 8, 0, 2, 1, 6],
        "25e6a610c652f5cfb21a26554851f3a5089bae6cd33895db49ebf11cf234d5fc",
        id="negative-seed",
    ),
    pytest.param(
        (2**70, "Ölkühler/翼-1", "volume"),
        [5, 8, 2, 7, 0, 3, 9, 1, 6, 4],
        "a1b59cf6728a403316ed95ad997af9931dbf4f4e4b6c50d2ad0875074fd50212",
        id="unicode-id-and-large-seed",
    ),
]


def digest(n_points: int, seed: int, sample_id: str, domain: str) -> str:
    order = permutation(n_points, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    return hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()


def test_the_algorithm_keeps_its_name() -> None:
    assert SHUFFLE_ALGORITHM == "mt19937-v1"


@pytest.mark.parametrize(("key", "of_ten", "_large"), VECTORS)
def test_the_order_of_ten_points_is_frozen(key: tuple[int, str, str], of_ten: list[int], _large: str) -> None:
    seed, sample_id, domain = key
    assert permutation(10, shuffle_seed=seed, sample_id=sample_id, domain=domain).tolist() == of_ten


@pytest.mark.parametrize(("key", "_of_ten", "sha256"), VECTORS)
def test_the_order_of_a_hundred_thousand_points_is_frozen(
    key: tuple[int, str, str], _of_ten: list[int], sha256: str
) -> None:
    assert digest(N_LARGE, *key) == sha256


def test_the_order_is_int64_and_owned_by_the_caller() -> None:
    order = permutation(5, shuffle_seed=0, sample_id="run_1", domain="surface")
    assert order.dtype == np.int64
    order[:] = 0
    assert sorted(permutation(5, shuffle_seed=0, sample_id="run_1", domain="surface")) == [0, 1, 2, 3, 4]


def test_the_global_random_state_neither_sets_the_order_nor_is_advanced_by_it() -> None:
    np.random.seed(1)
    expected_next = np.random.RandomState(1).randint(2**31)
    order = permutation(10, shuffle_seed=0, sample_id="run_1", domain="surface")
    assert np.random.randint(2**31) == expected_next
    assert order.tolist() == [0, 3, 6, 4, 8, 9, 5, 2, 7, 1]


@pytest.mark.parametrize(
    "executor",
    [
        pytest.param(lambda: ThreadPoolExecutor(8), id="threads"),
        pytest.param(
            lambda: ProcessPoolExecutor(1, multiprocessing.get_context("spawn")),
            id="spawned-process",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_order_is_the_same_elsewhere(executor: Callable[[], Executor]) -> None:
    ids = [f"run_{i}" for i in range(1, 17)]
    with executor() as pool:
        futures = [
            pool.submit(permutation, 1_000, shuffle_seed=3, sample_id=sample_id, domain="volume") for sample_id in ids
        ]
        elsewhere = [future.result().tolist() for future in futures]
    here = [permutation(1_000, shuffle_seed=3, sample_id=sample_id, domain="volume").tolist() for sample_id in ids]
    assert elsewhere == here
