"""Streams of random choices, one for each key. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Protocol, TypeVar

__all__ = ["Choices", "random_stream"]

_T = TypeVar("_T")
_BITS_OF_BLOCK = 512


class Choices(Protocol):
    """What a plan asks of a source of randomness; `random.Random` is one."""

    def randrange(self, stop: int, /) -> int:
        """Return a whole number from 0 up to, but not including, `stop`; each with the same chance."""

    def getrandbits(self, k: int, /) -> int:
        """Return a whole number of `k` random bits."""

    def sample(self, population: Sequence[_T], /, k: int) -> list[_T]:
        """Return `k` different members, each set of them with the same chance."""


class _HashStream:
    """The bits of BLAKE2b over a key and a counter. A plan takes a handful of numbers, and so one block.

    Generators with a large state take longer to be made than the whole plan, in a process whose caches hold other
    things: NumPy's some 200 µs and Python's 40, where a draw takes 400.
    """

    __slots__ = ("_bits", "_counter", "_key", "_n_bits")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = self._n_bits = self._bits = 0

    def getrandbits(self, k: int, /) -> int:
        """Return a whole number of `k` random bits."""
        while self._n_bits < k:
            block = blake2b(self._key, salt=self._counter.to_bytes(16, "little")).digest()
            self._bits |= int.from_bytes(block, "little") << self._n_bits
            self._n_bits += _BITS_OF_BLOCK
            self._counter += 1
        value = self._bits & (1 << k) - 1
        self._bits >>= k
        self._n_bits -= k
        return value

    def randrange(self, stop: int, /) -> int:
        """Return a whole number from 0 up to, but not including, `stop`."""
        if stop < 1:
            raise ValueError(f"stop: expected at least 1, got {stop}")
        k = (stop - 1).bit_length()
        # What is too large is thrown away, so that all others have the same chance, exactly.
        while (value := self.getrandbits(k)) >= stop:
            pass
        return value

    def sample(self, population: Sequence[_T], /, k: int) -> list[_T]:
        """Return `k` different members."""
        return Random(self.getrandbits(_BITS_OF_BLOCK)).sample(population, k)


def random_stream(*key: int | str) -> Choices:
    """Start a stream of random choices; the same key gives the same stream, in every process."""
    return _HashStream(repr(key).encode())
