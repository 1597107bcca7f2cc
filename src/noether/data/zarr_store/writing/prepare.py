"""Preparation of the fields of a sample for a store: check values, measure losses, shuffle rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import Grid, ScratchFile, run_all
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import FieldFidelity, Origin
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHM, hash_key, permutation
from noether.data.zarr_store.writing.bucket_order import (
    BUCKET_BYTES,
    BucketOrder,
    RunAll,
    hashed_buckets,
    n_buckets_for,
    permuted_buckets,
)
from noether.data.zarr_store.writing.cast_loss import CastCheck, CastMeter, NonFinite, measure_cast
from noether.data.zarr_store.writing.external_shuffle import ExternalShuffle
from noether.data.zarr_store.writing.group_encoding import DomainArrays
from noether.data.zarr_store.writing.origin import minus_origin
from noether.data.zarr_store.writing.position_loss import PositionLoss, PositionMeter, measure_positions
from noether.data.zarr_store.writing.scattered_rows import ScatteredRows
from noether.data.zarr_store.writing.source_rows import BLOCK_BYTES, SourceRows
from noether.data.zarr_store.writing.stored_rows import GatheredRows, StoredRows
from noether.data.zarr_store.writing.validation import FieldValues

__all__ = ["PreparedSample", "memory_of_blocks"]

_WIDE, _READ_AS = "float64", "float32"
# Maximum number of blocks that are in memory at a time. With few threads, it is one block per thread, and the next one.
_MAX_BLOCKS = 9


class PreparedSample:
    """A context manager that checks the values of a sample on entry, and then returns its rows in stored order.

    On entry, arrays that are not in memory are read once, into temporary files. These are removed on exit.

    Parameters
    ----------
    sample_id : str
        Id of the sample.
    fields : mapping of str to list of (ArrayLayout, ndarray or SourceRows)
        Fields by domain, as `validation.check_fields` returns them.
    grids : mapping of str to Grid
        Chunks and shards of each domain.
    shuffle_algorithm : str
        Shuffle of the store, one of `SHUFFLE_ALGORITHMS`.
    shuffle_seed : int
        Seed of the shuffle.
    non_finite : {"raise", "allow"}
        Rule for NaN and infinity.
    threads : int
        Number of threads that check and shuffle.
    positions : collection of str
        Canonical names of the fields that are positions.
    origin : tuple of three floats, optional
        Point that is subtracted from positions.
    compared : collection of str
        Canonical names of fields that are only compared and not stored. Their loss is not measured.
    in_stored_order : bool
        Whether the rows are already in stored order. They must then be in memory.

    Attributes
    ----------
    fidelity : dict of str to FieldFidelity
        Loss of storing each field, by canonical name.
    position_losses : list of PositionLoss
        Positions that lose too many digits.

    Raises
    ------
    ValueOverflowError, NonFiniteError
        On entry, if values cannot be stored.
    SampleDataError
        On entry, if an array that is not in memory cannot be read.
    StorageError
        On entry, if temporary files cannot be written.
    """

    def __init__(
        self,
        sample_id: str,
        fields: Mapping[str, list[FieldValues]],
        grids: Mapping[str, Grid],
        *,
        shuffle_algorithm: str,
        shuffle_seed: int,
        non_finite: NonFinite,
        threads: int,
        positions: Collection[str],
        origin: Origin | None,
        compared: Collection[str] = (),
        in_stored_order: bool = False,
    ) -> None:
        self._sample_id = sample_id
        self._fields = fields
        self._grids = grids
        self._shuffle_algorithm = shuffle_algorithm
        self._shuffle_seed = shuffle_seed
        self._non_finite: NonFinite = non_finite
        self._threads = threads
        self._positions = positions
        self._origin = origin
        self._compared = compared
        self._in_stored_order = in_stored_order
        self._temporary = ExitStack()
        self._scattered: dict[str, list[tuple[ArrayLayout, ExternalShuffle]]] = {}
        self.fidelity: dict[str, FieldFidelity] = {}
        self.position_losses: list[PositionLoss] = []

    def __enter__(self) -> Self:
        with self._temporary as temporary:
            # The threads of the pool must end before the files are closed.
            with ThreadPoolExecutor(self._threads, thread_name_prefix="noether-check") as pool:
                measured = self._measure_in_memory(pool)
                for domain in self._fields:
                    measured |= self._scatter(domain, pool, temporary)
            # Sort by the order of the layouts, because `measured` has the arrays in memory first.
            self.fidelity = {
                layout.field: measured[layout.field]
                for domain in self._fields.values()
                for layout, _ in domain
                if layout.field in measured
            }
            self._temporary = temporary.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.close()

    def domains(self) -> Iterator[tuple[str, DomainArrays]]:
        """Yield each domain with its rows.

        Memory holds one permutation at a time if the caller releases each domain before the next one.
        """
        for domain in self._fields:
            yield domain, self._domain(domain)

    def _domain(self, domain: str) -> DomainArrays:
        in_memory = [(layout, rows) for layout, rows in self._fields[domain] if not isinstance(rows, SourceRows)]
        arrays: list[tuple[ArrayLayout, StoredRows]] = list(self._scattered.get(domain, ()))
        if in_memory:
            order = self._order(domain)
            arrays = [
                (layout, GatheredRows(values, order, np.dtype(layout.dtype), self._origin_of(layout)))
                for layout, values in in_memory
            ]
        return DomainArrays(self._grids[domain], arrays)

    def _order(self, domain: str) -> NDArray[np.int64]:
        n_points = self._grids[domain].n_points
        if self._in_stored_order:
            return np.arange(n_points)
        return permutation(
            n_points,
            algorithm=self._shuffle_algorithm,
            shuffle_seed=self._shuffle_seed,
            sample_id=self._sample_id,
            domain=domain,
            threads=self._threads,
        )

    def _check(self, layout: ArrayLayout) -> CastCheck:
        return CastCheck(self._sample_id, layout.field, layout.dtype, self._non_finite, self._origin_of(layout))

    def _origin_of(self, layout: ArrayLayout) -> Origin | None:
        return self._origin if layout.field in self._positions else None

    def _measure_in_memory(self, pool: ThreadPoolExecutor) -> dict[str, FieldFidelity]:
        in_memory = [
            (layout, values)
            for domain in self._fields.values()
            for layout, values in domain
            # A field that is only compared has no loss. It can be memory-mapped, and only some of its rows are read.
            if not isinstance(values, SourceRows) and layout.field not in self._compared
        ]
        measured = {}
        for layout, values in in_memory:
            lost = measure_cast(values, self._check(layout), pool.map)
            meter = self._position_meter(layout, values)
            if meter is not None and (lost.max_abs_error or layout.dtype == _WIDE):
                measure_positions(values, meter, pool.map)
                lost = self._with_position_loss(lost, layout, meter)
            measured[layout.field] = lost
        return measured

    def _position_meter(self, layout: ArrayLayout, values: NDArray[Any] | SourceRows) -> PositionMeter | None:
        """Return a meter for positions that lose digits when they are stored or read; None for other fields."""
        # By default, readers return float64 as float32.
        dtype = _READ_AS if layout.dtype == _WIDE else layout.dtype
        origin = self._origin_of(layout)
        given = values.dtype if origin is None else np.dtype(_WIDE)
        is_stored_position = layout.field in self._positions and layout.field not in self._compared
        if not is_stored_position or np.can_cast(given, dtype, "safe"):
            return None
        return PositionMeter(values.shape[0], layout.dim, dtype, origin)

    def _with_position_loss(self, lost: FieldFidelity, layout: ArrayLayout, meter: PositionMeter) -> FieldFidelity:
        """Record the result of a position meter; return the loss with `needs_float64` set if the loss is too large."""
        loss = meter.loss(self._sample_id, layout.field)
        if loss is None:
            return lost
        if layout.dtype != _WIDE:
            self.position_losses.append(loss)
        return replace(lost, needs_float64=True)

    def _scatter(self, domain: str, pool: ThreadPoolExecutor, held: ExitStack) -> dict[str, FieldFidelity]:
        """Copy the fields of a domain that are not in memory into temporary files, and measure them."""
        sources = [(layout, values) for layout, values in self._fields[domain] if isinstance(values, SourceRows)]
        if not sources:
            return {}
        run = partial(run_all, pool, ahead=_n_blocks(self._threads))
        order = self._bucket_order(domain, max(_row_bytes(layout) for layout, _ in sources), run, held)
        measured, shuffled = {}, []
        for layout, source in sources:
            file = held.enter_context(ScratchFile(source.shape[0] * _row_bytes(layout), source.where))
            rows = ScatteredRows(file, order.n_buckets, layout.dim, np.dtype(layout.dtype))
            meter, positions = CastMeter(self._check(layout), source.dtype), self._position_meter(layout, source)
            blocks = _Blocks(rows, order, meter, positions, self._origin_of(layout))
            run(partial(blocks.take, *block) for block in source.blocks())
            lost = meter.result()
            measured[layout.field] = lost if positions is None else self._with_position_loss(lost, layout, positions)
            shuffled.append((layout, ExternalShuffle(rows, order, self._grids[domain].chunk_points)))
        self._scattered[domain] = shuffled
        return measured

    def _bucket_order(self, domain: str, row_bytes: int, run: RunAll, held: ExitStack) -> BucketOrder:
        where, n_points = f"sample {self._sample_id!r}, domain {domain}", self._grids[domain].n_points
        n_buckets = n_buckets_for(n_points, row_bytes)
        if self._shuffle_algorithm == SHUFFLE_ALGORITHM:
            key = hash_key(self._shuffle_seed, self._sample_id, domain)
            return hashed_buckets(n_points, key, n_buckets, where, run, held)
        return permuted_buckets(self._order(domain), n_buckets, where, run, held)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Measures the blocks of a field, and scatters them into buckets. Thread-safe."""

    rows: ScatteredRows
    order: BucketOrder
    meter: CastMeter
    positions: PositionMeter | None
    origin: Origin | None

    def take(self, first_row: int, block: NDArray[Any]) -> None:
        """Process a block; see `SourceRows.blocks`."""
        self.meter.add(block, first_row)
        if self.positions is not None:
            self.positions.add(block)
        self.rows.add(
            first_row, minus_origin(block, self.origin), self.order.buckets(first_row, first_row + len(block))
        )


def memory_of_blocks(threads: int) -> int:
    """Return the memory, in bytes, for the fields of a sample that are read in blocks, whatever their size."""
    blocks = 2 * _n_blocks(threads) * BLOCK_BYTES  # the blocks in source order, and grouped by bucket
    buckets = 5 * BUCKET_BYTES // 2  # two buckets with the ranks of their rows
    return max(blocks, buckets)


def _n_blocks(threads: int) -> int:
    return min(threads + 1, _MAX_BLOCKS)


def _row_bytes(layout: ArrayLayout) -> int:
    return layout.dim * np.dtype(layout.dtype).itemsize
