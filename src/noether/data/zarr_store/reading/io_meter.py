"""Counting of the requests, bytes and seconds of one process's reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from operator import add, sub
from threading import Lock
from time import perf_counter
from typing import Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import Tally

__all__ = ["IO_NUMBERS", "IoMeter", "IoRow", "IoStatistics"]

IoRow: TypeAlias = NDArray[np.int64]
"""The counts of a meter, in the order of the attributes of `IoStatistics`, with times in nanoseconds."""

IO_NUMBERS = 9
"""Length of an `IoRow`."""

Answer = TypeVar("Answer")

_NS = 1_000_000_000
_WAITING = 2


@dataclass(frozen=True, slots=True)
class IoStatistics:
    """Counts of all reads so far. Subtract two objects for the reads in between: ``after - before``.

    Attributes
    ----------
    requests, n_bytes : int
        Number of byte ranges of chunks that were read, and their bytes, counted as by `ZarrChunkReader.cost`. A range
        of a local file counts like a range of an object.
    seconds_waiting : float
        Time from each request until its bytes arrived, summed over all requests. Requests that are in flight at the
        same time all count. Bytes in the page cache of the operating system arrive at once.
    seconds_decoding : float
        Time to check, decompress and cast chunks, summed over all threads. For arrays that zarr-python reads, the
        duration of its call minus the waiting.
    metadata_requests, metadata_bytes : int
        Number and bytes of other reads: metadata of samples and shard indexes. A store with a chunk index needs no
        such reads.
    retries : int
        Number of retries of requests that this library sends, which are the requests to object storage. File systems
        of fsspec do not report their retries.
    cache_hits, cache_misses : int
        Number of chunks of a remote store that were in the cache on this machine, and number that were not.
    """

    requests: int = 0
    n_bytes: int = 0
    seconds_waiting: float = 0.0
    seconds_decoding: float = 0.0
    metadata_requests: int = 0
    metadata_bytes: int = 0
    retries: int = 0
    cache_hits: int = 0
    cache_misses: int = 0

    @classmethod
    def of_row(cls, row: Sequence[int]) -> Self:
        """Return the statistics for the numbers of an `IoRow`."""
        requests, n_bytes, waiting_ns, decoding_ns, metadata_requests, metadata_bytes, *others = row
        return cls(requests, n_bytes, waiting_ns / _NS, decoding_ns / _NS, metadata_requests, metadata_bytes, *others)

    def __add__(self, other: IoStatistics) -> IoStatistics:
        """Return the sums."""
        return IoStatistics(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: IoStatistics) -> IoStatistics:
        """Return the counts of the reads since `other`."""
        return IoStatistics(*map(sub, astuple(self), astuple(other)))


class IoMeter:
    """Counts the reads of one process. Safe to use from many threads.

    Parameters
    ----------
    n_retries : callable
        Returns the number of retries so far.

    Attributes
    ----------
    tally : Tally
        Counts of the requests that the compiled module makes without Python.
    """

    tally: Tally

    def __init__(self, n_retries: Callable[[], int] = lambda: 0) -> None:
        self._n_retries = n_retries
        self._known_retries = 0
        self._lock = Lock()
        self.count_into(np.zeros(IO_NUMBERS, np.int64))

    def count_into(self, row: IoRow) -> None:
        """Add the counts to `row` from now on."""
        self._row, self.tally = row, row.data

    @property
    def seconds_waiting(self) -> float:
        """Seconds of waiting so far."""
        return int(self._row[_WAITING]) / _NS

    def add(
        self,
        *,
        requests: int = 0,
        n_bytes: int = 0,
        seconds_waiting: float = 0.0,
        seconds_decoding: float = 0.0,
        metadata_requests: int = 0,
        metadata_bytes: int = 0,
        cache_hits: int = 0,
        cache_misses: int = 0,
    ) -> None:
        """Add to the counts, which are named as in `IoStatistics`, and count the retries since the last call."""
        waiting, decoding = round(seconds_waiting * _NS), round(seconds_decoding * _NS)
        with self._lock:
            before, self._known_retries = self._known_retries, self._n_retries()
            retries = self._known_retries - before
            # One NumPy operation, which holds the GIL: the compiled module adds to the same numbers.
            self._row += (
                requests,
                n_bytes,
                waiting,
                decoding,
                metadata_requests,
                metadata_bytes,
                retries,
                cache_hits,
                cache_misses,
            )

    def of_metadata(self, read: Callable[[], Answer], n_bytes: Callable[[Answer], int]) -> Answer:
        """Call `read`, count it as a metadata request of `n_bytes(result)` bytes, and return its result."""
        begun, n_read = perf_counter(), 0
        try:
            answer = read()
            n_read = n_bytes(answer)
        finally:
            self.add(metadata_requests=1, metadata_bytes=n_read, seconds_waiting=perf_counter() - begun)
        return answer

    def so_far(self) -> IoStatistics:
        """Return all counts."""
        return IoStatistics.of_row(self._row.tolist())
