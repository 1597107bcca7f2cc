"""The shuffle of a domain that is too large for memory: buckets, each with a contiguous range of stored rows."""

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

# Function that runs tasks in threads, a few at a time, and waits for all of them.
RunAll = Callable[[Iterable[Callable[[], object]]], None]

BUCKET_BYTES = 16 << 20
"""Target size of a bucket. A bucket is loaded as a whole, so this limits the memory for a field."""

# Number of rows whose buckets are computed in one step.
_BLOCK_ROWS = 1 << 20
RANK_BYTES = 4
"""Number of bytes, in temporary files, of a rank: the index of a row within its bucket."""

_RANK = np.dtype(f"<u{RANK_BYTES}")
_MAX_RANKED_ROWS = 1 << 32


@dataclass(frozen=True, slots=True)
class BucketOrder:
    """The buckets of a domain. Thread-safe.

    Attributes
    ----------
    starts : list of int
        First stored row of each bucket, then the number of points.
    buckets : callable
        Function of a first and a stop row that returns the bucket of each of these source rows, as uint16.
    ranks_file : ScratchFile
        File that holds the ranks.
    """

    starts: list[int]
    buckets: Callable[[int, int], NDArray[np.uint16]]
    ranks_file: ScratchFile

    @property
    def n_buckets(self) -> int:
        """Number of buckets."""
        return len(self.starts) - 1

    def ranks(self, bucket: int) -> NDArray[np.uint32]:
        """Return the rank of each stored row of a bucket: its index among the bucket's rows in source order."""
        start, stop = self.starts[bucket : bucket + 2]
        ranks: NDArray[np.uint32] = np.empty(stop - start, _RANK)
        self.ranks_file.read_into(ranks, start * RANK_BYTES)
        return ranks


def n_buckets_for(n_points: int, row_bytes: int) -> int:
    """Return the number of buckets, a power of two, that keeps each bucket within `BUCKET_BYTES` on average.

    `row_bytes` is the number of bytes of a row of the widest field. The result is at most `MAX_BUCKETS`.
    """
    wanted = -(-n_points * row_bytes // BUCKET_BYTES)
    return min(1 << max(wanted - 1, 0).bit_length(), MAX_BUCKETS)


def hashed_buckets(
    n_points: int, key: HashKey, n_buckets: int, where: str, run: RunAll, held: ExitStack
) -> BucketOrder:
    """Return the buckets of the shuffle ``hash-v1``: each has the rows whose hashes begin with the same bits.

    Row numbers are scattered into buckets and sorted there. So memory holds only a few buckets at a time. The temporary
    files take 4 bytes per point, and for a short time 8.

    Parameters
    ----------
    n_points : int
        Number of points of the domain.
    key : HashKey
        Key of the hash; see `sampling.hash_key`.
    n_buckets : int
        Number of buckets, a power of two; see `n_buckets_for`.
    where : str
        Sample and domain, to begin error messages.
    run : callable
        Function that runs tasks in threads, a few at a time, and waits for all of them.
    held : ExitStack
        Stack that closes the files of the result.

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
    """Return buckets of equal size for any permutation; see `hashed_buckets` for the other parameters and the errors.

    In addition to the permutation, this takes 2 bytes of memory per point as long as the result exists.
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
    """Write the ranks of all buckets to a new file, in the order of the buckets, and return the file."""
    file = held.enter_context(ScratchFile(starts[-1] * RANK_BYTES, where))

    def write(bucket: int) -> None:
        file.write(ranks(bucket).astype(_RANK), starts[bucket] * RANK_BYTES)

    run(partial(write, bucket) for bucket in range(len(starts) - 1))
    return file
