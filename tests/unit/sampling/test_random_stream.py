"""Streams of random choices: reproducible, uniform, and endless."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest
from scipy import stats

from noether.data.zarr_store.sampling import random_stream


def bits_by_hand(key: str, n_blocks: int) -> int:
    """Return the first blocks of a stream as one number, whose lowest bits come first."""
    blocks = [blake2b(key.encode(), salt=i.to_bytes(16, "little")).digest() for i in range(n_blocks)]
    return int.from_bytes(b"".join(blocks), "little")


def test_a_stream_concatenates_hashes_of_its_key() -> None:
    """Numbers may have bits of two blocks or more."""
    stream, bits = random_stream(5, "volume"), bits_by_hand("(5, 'volume')", 4)
    for k in (10, 0, 500, 63, 700, 1):
        assert stream.getrandbits(k) == bits & (1 << k) - 1
        bits >>= k


def test_numbers_that_are_too_large_are_rejected() -> None:
    stream, bits = random_stream(0), bits_by_hand("(0,)", 20)
    expected: list[int] = []
    while len(expected) < 300:
        if bits & 7 < 5:
            expected.append(bits & 7)
        bits >>= 3
    assert [stream.randrange(5) for _ in range(300)] == expected
    assert [stream.randrange(1) for _ in range(3)] == [0, 0, 0]


def test_every_number_has_the_same_chance_over_the_keys() -> None:
    for stop in (3, 100, 305):
        counts = Counter(random_stream(seed, "volume").randrange(stop) for seed in range(200 * stop))
        assert stats.chisquare([counts[number] for number in range(stop)]).pvalue > 1e-4


def test_other_keys_give_other_streams() -> None:
    keys: list[tuple[int | str, ...]] = [(1, 2), (12,), (1, "2"), ("1", 2), (1, 2, ""), ()]
    assert len({random_stream(*key).getrandbits(128) for key in keys}) == len(keys)


def test_members_of_a_sample_are_different() -> None:
    chosen = random_stream(7).sample(range(1_000), 400)
    assert len(set(chosen)) == 400
    assert chosen == random_stream(7).sample(range(1_000), 400)
    assert chosen != random_stream(8).sample(range(1_000), 400)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="stop: expected at least 1, got 0"):
        random_stream(1).randrange(0)
