"""Counting what the reads of one process cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import add, attrgetter, sub
from threading import Lock
from time import perf_counter
from typing import Any, Self, TypeVar

from noether.data.zarr_store.codec import new_tally

__all__ = ["IO_NAMES", "IoMeter", "IoStatistics"]

Answer = TypeVar("Answer")

_NS = 1e-9


@dataclass(frozen=True, slots=True)
class IoStatistics:
    """What reads cost so far. The difference of two is what was read in between: ``after - before``.

    Attributes
    ----------
    requests, n_bytes : int
        Ranges of chunks that were read, and their bytes, as `ZarrChunkReader.cost` counts them. A range of a local file
        counts like one of an object.
    metadata_requests, metadata_bytes : int
        Other reads: metadata of samples and indexes of shards. A store with a chunk index needs none.
    retries : int
        How often a request was sent again, as far as this library sends it: those to object storage. File systems of
        fsspec do not tell.
    seconds_waiting : float
        Time until the bytes of the requests were there, over all requests: of those that are in flight at the same
        time, each counts. Bytes that the operating system has in memory are there at once.
    seconds_decoding : float
        Time to check, decompress and cast chunks, over all threads. Where zarr-python reads, its time without the
        waiting.
    cache_hits, cache_misses : int
        Ranges that a cache of this machine had, and had not.
    """

    requests: int = 0
    n_bytes: int = 0
    metadata_requests: int = 0
    metadata_bytes: int = 0
    retries: int = 0
    seconds_waiting: float = 0.0
    seconds_decoding: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Self:
        """Make them of the values of all attributes in their order, whose types are those of the attributes."""
        values: list[Any] = [kind(number) for kind, number in zip(_KINDS, numbers, strict=True)]
        return cls(*values)

    def __add__(self, other: IoStatistics) -> IoStatistics:
        """Return the sums."""
        return IoStatistics.of(map(add, _values(self), _values(other)))

    def __sub__(self, other: IoStatistics) -> IoStatistics:
        """Return what came after `other`."""
        return IoStatistics.of(map(sub, _values(self), _values(other)))


IO_NAMES = tuple(one.name for one in fields(IoStatistics))
_KINDS: list[type[int] | type[float]] = [float if name.startswith("seconds") else int for name in IO_NAMES]
_values = attrgetter(*IO_NAMES)
_REQUESTS, _BYTES, _RETRIES = map(IO_NAMES.index, ("requests", "n_bytes", "retries"))
_WAITING, _DECODING = map(IO_NAMES.index, ("seconds_waiting", "seconds_decoding"))


class IoMeter:
    """Counts the reads of one process. Safe to use from many threads.

    Parameters
    ----------
    n_retries : callable
        Returns how often requests were sent again so far.

    Attributes
    ----------
    tally : Tally
        Where the compiled module counts the requests that it does alone.
    """

    def __init__(self, n_retries: Callable[[], int] = lambda: 0) -> None:
        self.tally = new_tally()
        self._n_retries = n_retries
        self._counts = [0.0] * len(IO_NAMES)
        self._taken = [0.0] * len(IO_NAMES)
        self._counting, self._taking = Lock(), Lock()

    @property
    def seconds_waiting(self) -> float:
        """The seconds of waiting that `add` counted."""
        return self._counts[_WAITING]

    def add(self, **counts: float) -> None:
        """Add to some attributes of `IoStatistics`, by name."""
        with self._counting:
            for name, count in counts.items():
                self._counts[IO_NAMES.index(name)] += count

    def of_metadata(self, read: Callable[[], Answer], n_bytes: Callable[[Answer], int]) -> Answer:
        """Count a request that reads no chunks; return what it reads."""
        begun, n_read = perf_counter(), 0
        try:
            answer = read()
            n_read = n_bytes(answer)
        finally:
            self.add(metadata_requests=1, metadata_bytes=n_read, seconds_waiting=perf_counter() - begun)
        return answer

    def so_far(self) -> IoStatistics:
        """Return all counts."""
        return IoStatistics.of(self._numbers())

    def take(self) -> list[float]:
        """Return what was counted since the last call, in the order of `IO_NAMES`: each read is in one result."""
        with self._taking:
            now = self._numbers()
            new, self._taken = [number - before for number, before in zip(now, self._taken, strict=True)], now
        return new

    def _numbers(self) -> list[float]:
        with self._counting:
            numbers = self._counts.copy()
        # All four at once, since other threads count meanwhile.
        requests, n_bytes, waiting_ns, decoding_ns = self.tally.tolist()
        numbers[_REQUESTS] += requests
        numbers[_BYTES] += n_bytes
        numbers[_WAITING] += waiting_ns * _NS
        numbers[_DECODING] += decoding_ns * _NS
        numbers[_RETRIES] += self._n_retries()
        return numbers
