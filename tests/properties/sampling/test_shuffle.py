"""Laws of the shuffle, against a second implementation of the format's text."""

from __future__ import annotations

import hashlib
import random

from hypothesis import assume, given
from hypothesis import strategies as st

from noether.data.zarr_store.sampling.shuffle import SHUFFLE_ALGORITHMS, permutation

SEEDS = st.integers(-(2**64), 2**64)
IDS = st.text(min_size=1, max_size=30)
ALGORITHMS = st.sampled_from(SHUFFLE_ALGORITHMS)
DOMAINS = st.sampled_from(["surface", "volume", "surface_stl", "surface_stl_resampled"])


def twisted_by_hand(n_points: int, seed: int, sample_id: str, domain: str) -> list[int]:
    """Implement the text of the format with the standard library: its Mersenne Twister, and Fisher-Yates from the end.

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


def hashed_by_hand(n_points: int, seed: int, sample_id: str, domain: str) -> list[int]:
    """Implement the text of the format with Python's integers."""
    key = hashlib.sha256(f"{seed}:{sample_id}:{domain}".encode()).digest()
    first, second = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")

    def mix(hashed: int) -> int:
        hashed = (hashed ^ hashed >> 33) * 0xFF51AFD7ED558CCD % 2**64
        hashed = (hashed ^ hashed >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
        return hashed ^ hashed >> 33

    return sorted(range(n_points), key=lambda row: mix(mix((row + first) % 2**64) ^ second))


BY_HAND = {"mt19937-v1": twisted_by_hand, "hash-v1": hashed_by_hand}


@given(ALGORITHMS, st.integers(0, 400), SEEDS, IDS, DOMAINS)
def test_the_order_is_what_the_format_says(
    algorithm: str, n_points: int, seed: int, sample_id: str, domain: str
) -> None:
    order = permutation(n_points, algorithm=algorithm, shuffle_seed=seed, sample_id=sample_id, domain=domain)
    assert order.tolist() == BY_HAND[algorithm](n_points, seed, sample_id, domain)


@given(ALGORITHMS, SEEDS, SEEDS, IDS, IDS, DOMAINS, DOMAINS)
def test_another_seed_or_id_or_domain_gives_another_order(
    algorithm: str, seed: int, other_seed: int, sample_id: str, other_id: str, domain: str, other_domain: str
) -> None:
    others = {(other_seed, sample_id, domain), (seed, other_id, domain), (seed, sample_id, other_domain)}
    others.discard((seed, sample_id, domain))
    assume(others)
    orders = [
        permutation(100, algorithm=algorithm, shuffle_seed=s, sample_id=i, domain=d).tolist()
        for s, i, d in [(seed, sample_id, domain), *others]
    ]
    assert all(orders[0] != other for other in orders[1:])
