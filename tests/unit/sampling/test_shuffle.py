"""The frozen shuffle: its vectors are part of the format."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.sampling.shuffle import SHUFFLE_ALGORITHM, SHUFFLE_ALGORITHMS, permutation

N_LARGE = 100_000

VECTORS: dict[str, list[Any]] = {}
VECTORS["mt19937-v1"] = [
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


VECTORS["hash-v1"] = [
    pytest.param(
        (0, "run_1", "surface"),
        [7, 1, 6, 8, 2, 4, 9, 5, 3, 0],
        "56bbae9f61dbb03652e428dfe04d392bc03bb33e54a3f0182adcadd4bc3639d9",
        id="surface",
    ),
    pytest.param(
        (0, "run_1", "volume"),
        [8, 3, 5, 9, 6, 2, 4, 1, 7, 0],
        "efaf23bbe8dbe3628e6560cdabb0a303bf4c3c24cc83a4f5389d9f3824439384",
        id="another-domain",
    ),
    pytest.param(
        (1, "run_1", "surface"),
        [9, 5, 2, 6, 3, 8, 1, 4, 7, 0],
        "5aa91fb0a3d8fa6b48d422679fe747c26d036c4c0c3ce54dea16fa626507cc82",
        id="another-seed",
    ),
    pytest.param(
        (42, "param1/6f0a", "volume"),
        [2, 1, 8, 4, 7, 9, 0, 5, 6, 3],
        "440dd3e47269fad0448b19a392f6e3151b19697b4405d1a4561dd28d87e3f509",
        id="nested-id",
    ),
    pytest.param(
        (-3, "run_1", "surface_stl"),
        [2, 5, 4, 3, 9, 6, 0, 7, 1, 8],
        "3dd2af8cf23b6963170e76bf3037b173bb394ba50a5e8de4fae8516ef5b6f3b7",
        id="negative-seed",
    ),
    pytest.param(
        (2**70, "Ölkühler/翼-1", "volume"),
        [9, 7, 8, 4, 2, 1, 3, 6, 5, 0],
        "4bcfe11284cf81bb3e1c8250af516ba1e5297c8ac23c0e6201d9e172e924d652",
        id="unicode-id-and-large-seed",
    ),
]
FROZEN = [
    pytest.param(algorithm, *one.values, id=f"{algorithm}-{one.id}")
    for algorithm, vectors in VECTORS.items()
    for one in vectors
]
OF_ONE: dict[str, Any] = {"sample_id": "run_1", "domain": "surface"}


def digest(algorithm: str, n_points: int, seed: int, sample_id: str, domain: str) -> str:
    order = permutation(n_points, algorithm=algorithm, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    return hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()


def test_the_algorithms_keep_their_names() -> None:
    assert SHUFFLE_ALGORITHM == "hash-v1"
    assert sorted(SHUFFLE_ALGORITHMS) == ["hash-v1", "mt19937-v1"]
    with pytest.raises(ValueError, match="algorithm: expected one of hash-v1, mt19937-v1, got 'philox'"):
        permutation(3, algorithm="philox", shuffle_seed=0, **OF_ONE)


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize(("algorithm", "key", "of_ten", "_large"), FROZEN)
def test_the_order_of_ten_points_is_frozen(
    algorithm: str, key: tuple[int, str, str], of_ten: list[int], _large: str
) -> None:
    seed, sample_id, domain = key
    order = permutation(10, algorithm=algorithm, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    assert order.tolist() == of_ten


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize(("algorithm", "key", "_of_ten", "sha256"), FROZEN)
def test_the_order_of_a_hundred_thousand_points_is_frozen(
    algorithm: str, key: tuple[int, str, str], _of_ten: list[int], sha256: str
) -> None:
    assert digest(algorithm, N_LARGE, *key) == sha256


@pytest.mark.parametrize("algorithm", SHUFFLE_ALGORITHMS)
def test_the_order_is_int64_and_owned_by_the_caller(algorithm: str) -> None:
    order = permutation(5, algorithm=algorithm, shuffle_seed=0, **OF_ONE)
    assert order.dtype == np.int64
    order[:] = 0
    assert sorted(permutation(5, algorithm=algorithm, shuffle_seed=0, **OF_ONE)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("algorithm", SHUFFLE_ALGORITHMS)
def test_the_order_neither_uses_nor_advances_the_global_random_state(algorithm: str) -> None:
    np.random.seed(1)
    expected_next = np.random.RandomState(1).randint(2**31)
    order = permutation(10, algorithm=algorithm, shuffle_seed=0, **OF_ONE)
    assert np.random.randint(2**31) == expected_next
    assert order.tolist() == VECTORS[algorithm][0].values[1]


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
@pytest.mark.parametrize("algorithm", SHUFFLE_ALGORITHMS)
def test_the_order_is_the_same_elsewhere(algorithm: str, executor: Callable[[], Executor]) -> None:
    settings: dict[str, Any] = {"algorithm": algorithm, "shuffle_seed": 3, "domain": "volume"}
    ids = [f"run_{i}" for i in range(1, 17)]
    with executor() as pool:
        futures = [pool.submit(permutation, 1_000, sample_id=sample_id, **settings) for sample_id in ids]
        elsewhere = [future.result().tolist() for future in futures]
    here = [permutation(1_000, sample_id=sample_id, **settings).tolist() for sample_id in ids]
    assert elsewhere == here
