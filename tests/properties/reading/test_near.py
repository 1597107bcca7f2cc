"""Reads of a byte range of which a cache has some chunks, possibly damaged."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.reading.near import NearArray
from noether.data.zarr_store.reading.ranges import RangeRequest
from noether.data.zarr_store.stores import RangeCache


class Kept(RangeCache):
    """A cache of one shard in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.counted: dict[str, int] = {}

    def read(self, name: str, start: int, length: int) -> bytes:  # noqa: ARG002  # the signature is that of the cache
        return bytes(self.data[start : start + length])

    def store(self, name: str, start: int, data: bytes | memoryview) -> None:  # noqa: ARG002  # as above
        self.data.extend(bytes(max(start + len(data) - len(self.data), 0)))
        self.data[start : start + len(data)] = data

    def count(self, **numbers: int) -> None:
        self.counted = numbers


@given(
    chunks=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["there", "hole", "damaged"])), min_size=1, max_size=50
    ),
    before=st.integers(0, 5),
    cut=st.none() | st.integers(0, 60),
)
def test_a_range_is_right_whatever_the_cache_has(chunks: list[tuple[int, str]], before: int, cut: int | None) -> None:
    """At most one range is fetched, from the first missing chunk to the last; then the cache has all chunks."""
    shard = bytes(before) + b"".join(bytes([number + 1]) * length for number, (length, _) in enumerate(chunks))
    bounds = list(accumulate((length for length, _ in chunks), initial=0))
    kept = bytearray(shard)
    for (start, stop), (_, state) in zip(pairwise(bounds), chunks, strict=True):
        if state != "there" and start < stop:
            kept[before + start : before + stop] = bytes(stop - start)
            kept[before + start] = 0 if state == "hole" else 255
    cache = Kept(bytes(kept if cut is None else kept[:cut]))
    request = RangeRequest(0, before, (), 0, bounds)
    fetched: list[tuple[int, int]] = []

    def check(chunk: bytes | memoryview) -> None:
        if len(set(chunk)) != 1 or 0 in set(chunk) or 255 in set(chunk):
            raise CorruptDataError("its checksum does not match its bytes")

    def fetch(start: int, length: int) -> bytes:
        fetched.append((start, length))
        return shard[start : start + length]

    near = NearArray(cache, lambda _: "name")
    missing = [
        (before + start, before + stop)
        for start, stop in pairwise(bounds)
        if start < stop and cache.data[before + start : before + stop] != shard[before + start : before + stop]
    ]
    data, hits, misses = near.fetch(request, check, fetch)
    assert data == shard[before:]
    assert (hits, misses) == (cache.counted.get("hits", 0), cache.counted.get("misses", 0))
    assert fetched == ([(missing[0][0], missing[-1][1] - missing[0][0])] if missing else [])
    assert cache.counted.get("hit_bytes", 0) + cache.counted.get("missed_bytes", 0) == bounds[-1]
    assert cache.counted.get("hits", 0) + cache.counted.get("misses", 0) == sum(length > 0 for length, _ in chunks)
    assert near.fetch(request, check, fetch)[0] == shard[before:]
    assert len(fetched) <= 1
