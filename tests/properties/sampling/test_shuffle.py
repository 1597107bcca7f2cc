"""Laws of the shuffle, against a second implementation of the format's text."""

from __future__ import annotations

import hashlib
import random

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from noether.data.zarr_store.sampling.shuffle import invert, permutation

SEEDS = st.integers(-(2**64), 2**64)
IDS = st.text(min_size=1, max_size=30)
DOMAINS = st.sampled_from(["surface", "volume", "surface_stl", "surface_stl_resampled"])


def permutation_by_hand(n_points: int, seed: int, sample_id: str, domain: str) -> list[int]:
    """The format's text with the standard library alone: its Mersenne Twister, and Fisher-Yates from the end.

    Both seed the twister from eight 32-bit words by `init_by_array`, of which Python takes an int's, the lowest first.
    """
    key = hashlib.sha256(f"{seed}:{sample_id}:{domain}".encode()).digest()
    twister = random.Random(int.from_bytes(key, "little"))
    order = list(range(n_points))
    for last in range(n_points - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        pick = twister.getrandbits(32) & mask
        while pick > last:
            pick = twister.getrandbits(32) & mask
        order[last], order[pick] = order[pick], order[last]
    return order


@given(st.integers(0, 400), SEEDS, IDS, DOMAINS)
def test_the_order_is_what_the_format_says(n_points: int, seed: int, sample_id: str, domain: str) -> None:
    order = permutation(n_points, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    assert order.tolist() == permutation_by_hand(n_points, seed, sample_id, domain)


@given(st.integers(0, 3_000), SEEDS, IDS, DOMAINS)
def test_the_inverse_undoes_the_order_from_both_sides(n_points: int, seed: int, sample_id: str, domain: str) -> None:
    order = permutation(n_points, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    identity = np.arange(n_points)
    np.testing.assert_array_equal(invert(order)[order], identity)
    np.testing.assert_array_equal(order[invert(order)], identity)


@given(SEEDS, SEEDS, IDS, IDS, DOMAINS, DOMAINS)
def test_another_seed_or_id_or_domain_gives_another_order(
    seed: int, other_seed: int, sample_id: str, other_id: str, domain: str, other_domain: str
) -> None:
    others = {(other_seed, sample_id, domain), (seed, other_id, domain), (seed, sample_id, other_domain)}
    others.discard((seed, sample_id, domain))
    assume(others)
    orders = [
        permutation(100, shuffle_seed=s, sample_id=i, domain=d).tolist()
        for s, i, d in [(seed, sample_id, domain), *others]
    ]
    assert all(orders[0] != other for other in orders[1:])
