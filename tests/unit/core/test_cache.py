"""The cache keeps the most recently used values, up to its maximum size."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.cache import BoundedCache


def test_least_recently_used_values_are_dropped() -> None:
    """A value that is used stays."""
    cache = BoundedCache[int](3)
    cache.put("kept", -1)
    for number in range(100):
        cache.put(f"other {number}", number)
        assert cache.get("kept") == -1
    assert [number for number in range(100) if cache.get(f"other {number}") is not None] == [98, 99]


def test_oversized_value_is_kept_until_the_next_put() -> None:
    cache = BoundedCache[str](3, len)
    cache.put("large", "xxxxx")
    assert cache.get("large") == "xxxxx"
    cache.put("small", "x")
    assert (cache.get("large"), cache.get("small")) == (None, "x")


def test_setdefault_returns_the_same_value_to_all_threads() -> None:
    cache = BoundedCache[list[int]](3)
    first = cache.setdefault("a", [1])
    assert cache.setdefault("a", [1]) is first
    assert cache.get("a") is first


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9))), st.integers(9, 30))
def test_the_sizes_of_all_values_together_stay_within_the_bound(puts: list[tuple[str, int]], bound: int) -> None:
    cache = BoundedCache[list[None]](bound, len)
    for key, size in puts:
        cache.put(key, [None] * size)
        assert len(cache.get(key) or []) == size
    kept = [value for key in "abcdef" if (value := cache.get(key)) is not None]
    assert sum(map(len, kept)) <= bound


def test_value_dropped_during_get_is_returned() -> None:
    """`get` takes no lock, so another thread can put a value between its two operations."""
    cache = BoundedCache[str](1)

    class Meddling(OrderedDict[str, str]):
        def move_to_end(self, key: str, last: bool = True) -> None:
            cache.put("other", "y")
            super().move_to_end(key, last)

    cache.put("a", "x")
    cache._values = Meddling(cache._values)
    assert cache.get("a") == "x"
    assert cache.get("other") == "y"
