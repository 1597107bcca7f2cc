"""Check of one array against the manifest: the indexes of its shards, its chunks, and their values."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MISSING, ShardIndex, index_size
from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.reading import ReadableArray, ShardedArray
from noether.data.zarr_store.sampling import ChunkPart, ReadPlan
from noether.data.zarr_store.upkeep.verify.context import Context, ListedSample
from noether.data.zarr_store.upkeep.verify.findings import FindingKind
from noether.data.zarr_store.upkeep.verify.tasks import Task
from noether.data.zarr_store.writing import StoredRows

__all__ = ["ArrayCheck"]

# Uncompressed bytes that a task reads: large enough that threads seldom wait for each other, and small enough for the
# cache of a core.
_BLOCK_BYTES = 2 << 20


@dataclass(slots=True)
class ArrayCheck:
    """Checks one array of one sample, in tasks. Safe to use from many threads.

    Attributes
    ----------
    context : Context
        State of the verification.
    sample : ListedSample
        Sample of the array.
    layout : ArrayLayout
        Field of the array.
    grid : Grid
        Chunks and shards according to the manifest.
    array : ReadableArray
        Reader of the array.
    sharded : ShardedArray or None
        The same reader, if this library decodes the shards; None if zarr-python does.
    key : str
        Key of the array, relative to the root of the store.
    shards : dict of int to int
        Sizes of the existing shards, by number.
    lengths : ndarray of uint32, shape (n_chunks,), or None
        Lengths of the chunks according to the chunk index.
    reads_chunks : bool
        Whether to read the chunks, and not only the shards' indexes.
    expected : StoredRows or None
        Expected rows.
    """

    context: Context
    sample: ListedSample
    layout: ArrayLayout
    grid: Grid
    array: ReadableArray[Any]
    sharded: ShardedArray | None
    key: str
    shards: dict[int, int]
    lengths: NDArray[np.uint32] | None
    reads_chunks: bool
    expected: StoredRows | None = None
    _n_done: int = 0
    _n_damaged: int = 0
    _n_non_finite: int = 0
    _n_differing: int = 0
    _first_differing: float = math.inf
    _lock: Lock = field(default_factory=Lock)

    def tasks(self) -> Iterator[Task]:
        """Yield tasks that check the shards' indexes; these return tasks that read the chunks."""
        array = self.sharded
        if array is not None:
            per_shard = array.chunks_per_shard
            # Missing shards are found in the listing; in stores of other programs, they stand for fill values.
            there = {shard: self._chunks(shard, per_shard) for shard in sorted(self.shards)}
            n_chunks = sum(map(len, there.values()))
            self._finish(self.grid.n_chunks - n_chunks, n_damaged=self.grid.n_chunks - n_chunks)
            for shard, chunks in there.items():
                if chunks:
                    yield partial(self._check_shard, array, shard, chunks)
        elif self.reads_chunks:
            yield from self._blocks(range(self.grid.n_chunks), self.key)

    def _chunks(self, shard: int, per_shard: int) -> range:
        return range(shard * per_shard, min((shard + 1) * per_shard, self.grid.n_chunks))

    def _check_shard(self, array: ShardedArray, shard: int, chunks: range) -> Iterator[Task]:
        """Check the index of a shard, and return the tasks for its chunks."""
        key = f"{self.key}/c/{shard}/0"
        try:
            index = array.read_index(shard)
            if array.missing_is_error:
                _require_tight(index, len(chunks), self.shards[shard])
        except CorruptDataError as error:
            self._add("shard_index_damaged", _reason(error), key)
            self._finish(len(chunks), n_damaged=len(chunks))
            return iter(())
        if self.lengths is not None and not _has_lengths(index, self.lengths[chunks.start : chunks.stop]):
            self._add("chunk_index_damaged", "the chunk index and the shard have different lengths of chunks", key)
        return self._blocks(chunks, key) if self.reads_chunks else iter(())

    def _blocks(self, chunks: range, key: str) -> Iterator[Task]:
        """Yield tasks that read a few chunks each; `key` is the key of their shard or array."""
        chunk_bytes = self.grid.chunk_points * self.layout.dim * np.dtype(self.layout.dtype).itemsize
        step = max(_BLOCK_BYTES // chunk_bytes, 1)
        for first in range(chunks.start, chunks.stop, step):
            yield partial(self._check_block, range(first, min(first + step, chunks.stop)), key)

    def _check_block(self, chunks: range, key: str) -> tuple[()]:
        damaged = self._find_damaged(chunks)
        for chunk, reason in damaged.items():
            self.context.findings.add_chunk(
                chunk, reason, sample_id=self.sample.sample_id, field=self.layout.field, key=key
            )
        self._finish(len(chunks), n_damaged=len(damaged))
        return ()

    def _find_damaged(self, chunks: range) -> dict[int, str]:
        """Read chunks together or, if that fails, one by one; return the errors of damaged chunks, by number."""
        try:
            self._check_rows(chunks)
        except CorruptDataError as error:
            if len(chunks) == 1:
                return {chunks.start: _reason(error)}
            damaged: dict[int, str] = {}
            for chunk in chunks:
                damaged |= self._find_damaged(range(chunk, chunk + 1))
            return damaged
        return {}

    def _check_rows(self, chunks: range) -> None:
        plan = ReadPlan(self.grid, tuple(ChunkPart(chunk, ((0, self.grid.chunk_size(chunk)),)) for chunk in chunks))
        rows = self._read(plan)
        n_non_finite = _count_non_finite(rows)
        differing = np.empty(0, np.int64) if self.expected is None else _differing_rows(rows, self.expected, plan)
        with self._lock:
            self._n_non_finite += n_non_finite
            self._n_differing += len(differing)
            if len(differing):
                self._first_differing = min(self._first_differing, int(differing[0]))

    def _read(self, plan: ReadPlan) -> NDArray[Any]:
        """Read the rows of a plan in the stored dtype, by the same code as the reader."""
        rows = np.empty((plan.n_points, self.layout.dim), self.array.dtype)
        for request in self.array.requests(plan):
            try:
                self.array.read(request, rows)
            except StorageError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
                    raise CorruptDataError(f"the disk cannot read the data ({error})") from None
                raise
            self.context.count_bytes(rows.nbytes if request.length is None else request.length)
        return rows

    def _finish(self, n_chunks: int, *, n_damaged: int) -> None:
        """Count finished chunks; after the last chunk, add the findings about the array as a whole."""
        with self._lock:
            self._n_done += n_chunks
            self._n_damaged += n_damaged
            if self._n_done < self.grid.n_chunks:
                return
        fidelity = self.sample.entry.fidelity.get(self.layout.field)
        counted = None if fidelity is None else fidelity.non_finite
        if counted not in (None, self._n_non_finite) and not self._n_damaged:
            self._add(
                "not_finite",
                f"expected {counted:,} NaN or infinite values, as when the sample was written, got "
                f"{self._n_non_finite:,}",
            )
        if self._n_differing:
            self._add(
                "source_differs",
                f"{self._n_differing:,} of {self.grid.n_points:,} points have other values than the source, the first "
                f"in stored row {self._first_differing:,}",
            )

    def _add(self, kind: FindingKind, explanation: str, key: str | None = None) -> None:
        self.context.findings.add(
            kind, explanation, sample_id=self.sample.sample_id, field=self.layout.field, key=key or self.key
        )


def _reason(error: CorruptDataError) -> str:
    """Return the text of an error without sample and field, because a finding names them itself."""
    return str(error.__cause__ if isinstance(error.__cause__, CorruptDataError) else error)


def _require_tight(index: ShardIndex, n_chunks: int, size: int) -> None:
    """Raise `CorruptDataError` unless a shard consists of its contiguous chunks, followed by its index."""
    stored = index.lengths != MISSING
    if not stored[:n_chunks].all():
        lost = np.count_nonzero(~stored[:n_chunks])
        raise CorruptDataError(f"{lost:,} of the {n_chunks:,} chunks of the shard are not stored")
    lengths = index.lengths[:n_chunks]
    ends = np.cumsum(lengths)
    expected_size = int(ends[-1]) + index_size(len(stored))
    if np.any(index.offsets[:n_chunks] != ends - lengths) or size != expected_size:
        raise CorruptDataError("the chunks of the shard are not contiguous from its start to its index")


def _has_lengths(index: ShardIndex, lengths: NDArray[np.uint32]) -> bool:
    stored = index.lengths[: len(lengths)]
    return bool(np.array_equal(np.where(stored == MISSING, 0, stored), lengths))


def _count_non_finite(rows: NDArray[Any]) -> int:
    """Count the values that are NaN or infinite."""
    if rows.dtype.kind != "f" or not rows.size:
        return 0
    # Test the exponent bits, because numpy.isfinite is fifty times slower for float16.
    exponent = np.array(np.inf, rows.dtype).view(f"u{rows.itemsize}")
    bits = rows.view(exponent.dtype) & exponent
    return int(np.count_nonzero(bits == exponent)) if bits.max() == exponent else 0


def _differing_rows(rows: NDArray[Any], expected: StoredRows, plan: ReadPlan) -> NDArray[np.int64]:
    """Return the stored rows of a plan that differ bitwise from the expected rows; all NaNs count as equal."""
    differing = [np.empty(0, np.int64)]
    first = 0
    for part in plan.parts:
        at = plan.grid.rows(part.chunk, part.chunk + 1)
        found, wanted = rows[first : first + part.n_points], expected.chunk(at.start, at.stop)
        bits = f"u{found.itemsize}"
        unequal = found.view(bits) != wanted.view(bits)
        if unequal.any():
            unequal &= ~(np.isnan(found) & np.isnan(wanted))
            differing.append(at.start + np.flatnonzero(unequal.any(axis=1)))
        first += part.n_points
    return np.concatenate(differing)
