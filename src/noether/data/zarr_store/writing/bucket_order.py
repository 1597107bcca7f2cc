"""The shuffle of a domain without an array of its size in memory: buckets, each a run of stored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MAX_BUCKETS, HashKey, hash_buckets, hash_order_of
from noether.data.zarr_store.core import ScratchFile
from noether.data.zarr_store.writing.scattered_rows import ScatteredRows

__all__ = ["BUCKET_BYTES", "RANK_BYTES", "BucketOrder", "RunAll", "hashed_buckets", "n_buckets_for", "permuted_buckets"]

# Runs tasks in threads, a few at a time, and waits for the last.
RunAll = Callable[[Iterable[Callable[[], object]]], None]

BUCKET_BYTES = 16 << 20
"""A bucket is read back whole, so this bounds the memory of a field that does not fit."""

# Rows whose buckets are found at once.
_BLOCK_ROWS = 1 << 20
RANK_BYTES = 4
"""The number of a row within its bucket, as temporary files have it for each point of a domain."""

_RANK = np.dtype(f"<u{RANK_BYTES}")
_MAX_RANKED_ROWS = 1 << 32


@dataclass(frozen=True, slots=True)
class BucketOrder:
    """The buckets of a domain. Safe to use from many threads.

    Attributes
    ----------
    starts : list of int
        The stored row where each bucket begins, and the number of points.
    buckets : callable
        For a first row and one past the last, the bucket of each of these source rows; uint16.
    ranks_file : ScratchFile
        Has the ranks.
    """

    starts: list[int]
    buckets: Callable[[int, int], NDArray[np.uint16]]
    ranks_file: ScratchFile

    @property
    def n_buckets(self) -> int:
        """How many buckets there are."""
        return len(self.starts) - 1

    def ranks(self, bucket: int) -> NDArray[np.uint32]:
        """Read, for each stored row of a bucket, its number among the bucket's rows in the source's order."""
        start, stop = self.starts[bucket : bucket + 2]
        ranks: NDArray[np.uint32] = np.empty(stop - start, _RANK)
        self.ranks_file.read_into(ranks, start * RANK_BYTES)
        return ranks


def n_buckets_for(n_points: int, row_bytes: int) -> int:
    """Return how many buckets, a power of two, keep one small; `row_bytes` is what the widest field has in a row."""
    wanted = -(-n_points * row_bytes // BUCKET_BYTES)
    return min(1 << max(wanted - 1, 0).bit_length(), MAX_BUCKETS)


def hashed_buckets(
    n_points: int, key: HashKey, n_buckets: int, where: str, run: RunAll, held: ExitStack
) -> BucketOrder:
    """Make the buckets of ``hash-v1``: rows whose hashes begin with the same bits.

    Row numbers are scattered into them and sorted there, so that memory holds a few buckets, and the disk 4 bytes a
    point, twice that for a moment.

    Parameters
    ----------
    n_points : int
        Points of the domain.
    key : HashKey
        See `sampling.hash_key`.
    n_buckets : int
        A power of two; see `n_buckets_for`.
    where : str
        Sample and domain, to begin an error with.
    run : callable
        Runs tasks in threads, a few at a time, and waits for the last.
    held : ExitStack
        Closes the files of the result.

    Raises
    ------
    StorageError
        Temporary files cannot be written.
    """
    bits = n_buckets.bit_length() - 1
    number = _RANK if n_points <= _MAX_RANKED_ROWS else np.dtype("<u8")

    def buckets(first_row: int, stop: int) -> NDArray[np.uint16]:
        return hash_buckets(first_row, stop - first_row, key, bits)

    with ScratchFile(n_points * number.itemsize, where) as file:
        rows = ScatteredRows(file, n_buckets, 1, number)

        def add(first_row: int) -> None:
            stop = min(first_row + _BLOCK_ROWS, n_points)
            numbers = np.arange(first_row, stop, dtype=number).reshape(-1, 1)
            rows.add(first_row, numbers, buckets(first_row, stop))

        run(partial(add, first_row) for first_row in range(0, n_points, _BLOCK_ROWS))
        starts = [0, *np.cumsum(rows.counts()).tolist()]

        def ranks(bucket: int) -> NDArray[np.int64]:
            return hash_order_of(rows.bucket(bucket).reshape(-1), key, bits)

        return BucketOrder(starts, buckets, _ranks_file(starts, ranks, where, run, held))


def permuted_buckets(order: NDArray[np.int64], n_buckets: int, where: str, run: RunAll, held: ExitStack) -> BucketOrder:
    """Make buckets of equal runs of any permutation; parameters and errors are otherwise those of `hashed_buckets`.

    Beside the permutation, memory holds 2 bytes a point for as long as the result is used.
    """
    bucket_rows = -(-len(order) // n_buckets)
    starts = [min(bucket * bucket_rows, len(order)) for bucket in range(n_buckets + 1)]
    numbers = np.empty(len(order), np.uint16)

    def ranks(bucket: int) -> NDArray[np.int64]:
        rows = order[starts[bucket] : starts[bucket + 1]]
        numbers[rows] = bucket
        ranks = np.empty_like(rows)
        ranks[np.argsort(rows)] = np.arange(len(rows))
        return ranks

    file = _ranks_file(starts, ranks, where, run, held)
    return BucketOrder(starts, lambda first_row, stop: numbers[first_row:stop], file)


def _ranks_file(
    starts: list[int],
    ranks: Callable[[int], NDArray[np.int64]],
    where: str,
    run: RunAll,
    held: ExitStack,
) -> ScratchFile:
    """Write the ranks of all buckets, one after the other, to a new file."""
    file = held.enter_context(ScratchFile(starts[-1] * RANK_BYTES, where))

    def write(bucket: int) -> None:
        file.write(ranks(bucket).astype(_RANK), starts[bucket] * RANK_BYTES)

    run(partial(write, bucket) for bucket in range(len(starts) - 1))
    return file
