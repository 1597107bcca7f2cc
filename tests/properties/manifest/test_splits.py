"""Properties of splits: the split of a sample, and the changes that do not move it."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from noether.data.zarr_store.manifest.splits import split_samples

SAMPLE_IDS = st.sets(st.text(min_size=1, max_size=8), max_size=40)
SEEDS = st.integers()
FRACTIONS = st.floats(0, 1, exclude_min=True, exclude_max=True)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[float, float]:
    """Return fractions for test and validation that leave samples for training."""
    test, validation = draw(FRACTIONS), draw(FRACTIONS)
    assume(test + validation < 1)
    return test, validation


@given(SAMPLE_IDS, pairs(), SEEDS)
def test_every_sample_is_in_one_split(sample_ids: set[str], fractions: tuple[float, float], seed: int) -> None:
    splits = split_samples(sample_ids, test=fractions[0], validation=fractions[1], seed=seed)
    assert list(splits) == ["train", "validation", "test"]
    assert sorted(sample_id for ids in splits.values() for sample_id in ids) == sorted(sample_ids)
    assert all(ids == sorted(ids) for ids in splits.values())


@given(SAMPLE_IDS, SAMPLE_IDS, pairs(), SEEDS)
def test_no_sample_moves_when_others_are_added_or_removed(
    sample_ids: set[str], others: set[str], fractions: tuple[float, float], seed: int
) -> None:
    test, validation = fractions
    alone = split_samples(sample_ids, test=test, validation=validation, seed=seed)
    among = split_samples(sample_ids | others, test=test, validation=validation, seed=seed)
    assert alone == {name: [one for one in ids if one in sample_ids] for name, ids in among.items()}


@given(SAMPLE_IDS, pairs(), FRACTIONS, SEEDS)
def test_a_larger_test_fraction_takes_samples_only_from_training(
    sample_ids: set[str], fractions: tuple[float, float], share: float, seed: int
) -> None:
    test, validation = fractions
    larger = test + share * (1 - test - validation)
    assume(larger + validation < 1)
    before = split_samples(sample_ids, test=test, validation=validation, seed=seed)
    after = split_samples(sample_ids, test=larger, validation=validation, seed=seed)
    assert set(before["test"]) <= set(after["test"])
    assert before["validation"] == after["validation"]


@given(SAMPLE_IDS, pairs(), SEEDS)
def test_exact_counts_are_the_fractions_rounded_up_or_down_and_add_up(
    sample_ids: set[str], fractions: tuple[float, float], seed: int
) -> None:
    test, validation = fractions
    splits = split_samples(sample_ids, test=test, validation=validation, seed=seed, exact=True)
    assert list(splits) == ["train", "validation", "test"]
    assert sorted(sample_id for ids in splits.values() for sample_id in ids) == sorted(sample_ids)
    assert all(ids == sorted(ids) for ids in splits.values())
    for name, fraction in {"test": test, "validation": validation}.items():
        assert abs(len(splits[name]) - Fraction(repr(fraction)) * len(sample_ids)) < 1


@pytest.mark.parametrize(
    ("n_samples", "test", "validation", "counts"),
    [
        (100, 0.29, 0.0, (71, 0, 29)),
        (484, 0.1, 0.1, (387, 48, 49)),
        (6, 0.1, 0.0, (5, 0, 1)),
        (10, 0.25, 0.25, (5, 2, 3)),
        (7, 0.2, 0.2, (4, 1, 2)),
        (1, 0.5, 0.0, (0, 0, 1)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_largest_remainders_are_rounded_up(
    n_samples: int, test: float, validation: float, counts: tuple[int, int, int], seed: int
) -> None:
    """With equal remainders, test is rounded up first and train last."""
    sample_ids = [f"run_{i}" for i in range(n_samples)]
    splits = split_samples(sample_ids, test=test, validation=validation, seed=seed, exact=True)
    assert tuple(len(splits.get(name, [])) for name in ("train", "validation", "test")) == counts


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=20), pairs(), SEEDS, st.randoms())
def test_exact_splits_do_not_depend_on_the_order_of_samples(
    sample_ids: list[str], fractions: tuple[float, float], seed: int, rng: Random
) -> None:
    test, validation = fractions
    shuffled = rng.sample(sample_ids, len(sample_ids))
    first, second = (
        split_samples(ids, test=test, validation=validation, seed=seed, exact=True) for ids in (sample_ids, shuffled)
    )
    assert first == second


def test_exact_splits_of_different_seeds_are_independent() -> None:
    sample_ids = [f"run_{i}" for i in range(2000)]
    first, second = (set(split_samples(sample_ids, test=0.5, seed=seed, exact=True)["test"]) for seed in (0, 1))
    assert abs(len(first & second) - 500) < 4.5 * math.sqrt(2000 / 16)


@given(SAMPLE_IDS, FRACTIONS, SEEDS)
def test_without_a_validation_fraction_there_is_no_validation_split(
    sample_ids: set[str], test: float, seed: int
) -> None:
    assert list(split_samples(sample_ids, test=test, seed=seed)) == ["train", "test"]


@pytest.mark.parametrize("test", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_of_many_samples_each_split_has_its_fraction(test: float, seed: int) -> None:
    n_samples, validation = 20_000, 0.1
    splits = split_samples([f"run_{i}" for i in range(n_samples)], test=test, validation=validation, seed=seed)
    for name, fraction in {"test": test, "validation": validation}.items():
        deviation = math.sqrt(fraction * (1 - fraction) * n_samples)
        assert abs(len(splits[name]) - fraction * n_samples) < 4.5 * deviation


def test_the_hashes_of_two_seeds_are_independent() -> None:
    sample_ids = [f"run_{i}" for i in range(20_000)]
    first, second = (set(split_samples(sample_ids, test=0.5, seed=seed)["test"]) for seed in (0, 1))
    assert abs(len(first & second) - 5000) < 4.5 * math.sqrt(20_000 * 0.25 * 0.75)


def test_exact_splits_are_the_same_in_all_releases() -> None:
    sample_ids = [*(f"run_{i}" for i in range(1, 13)), "part/äß", "翼"]
    assert split_samples(sample_ids, test=0.25, validation=0.25, seed=7, exact=True) == {
        "train": ["part/äß", "run_1", "run_10", "run_6", "run_7", "run_8", "翼"],
        "validation": ["run_11", "run_2", "run_5"],
        "test": ["run_12", "run_3", "run_4", "run_9"],
    }


def test_splits_are_the_same_in_all_releases() -> None:
    sample_ids = [*(f"run_{i}" for i in range(1, 13)), "part/äß", "翼"]
    assert split_samples(sample_ids, test=0.25, validation=0.25, seed=7) == {
        "train": ["part/äß", "run_1", "run_6", "run_7", "run_8", "翼"],
        "validation": ["run_10", "run_11", "run_2", "run_5"],
        "test": ["run_12", "run_3", "run_4", "run_9"],
    }
