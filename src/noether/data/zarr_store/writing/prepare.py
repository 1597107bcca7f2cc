"""The fields of a sample on their way into a store: values checked, losses measured, rows put in stored order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import FieldFidelity, Origin
from noether.data.zarr_store.sampling import permutation
from noether.data.zarr_store.writing.cast_loss import CastCheck, CastMeter, NonFinite, measure_cast
from noether.data.zarr_store.writing.group_encoding import DomainArrays
from noether.data.zarr_store.writing.origin import minus_origin
from noether.data.zarr_store.writing.position_loss import PositionLoss, PositionMeter, measure_positions
from noether.data.zarr_store.writing.reorder import (
    Block,
    ExternalShuffle,
    GatheredRows,
    SourceRows,
    StoredRows,
    destinations,
)
from noether.data.zarr_store.writing.validation import FieldValues

__all__ = ["PreparedSample"]

_WIDE, _READ_AS = "float64", "float32"


class PreparedSample:
    """Checks and measures the values of one sample on entry, and gives its rows in stored order until it is left.

    What is not in memory is read then, once, into temporary files, which are removed at the end.

    Parameters
    ----------
    sample_id : str
        Which sample.
    fields : mapping of str to list of (ArrayLayout, ndarray or SourceRows)
        Its domains, as `validation.check_fields` gives them.
    grids : mapping of str to Grid
        Chunks and shards of each domain.
    shuffle_algorithm : str
        The shuffle of the store, one of `SHUFFLE_ALGORITHMS`.
    shuffle_seed : int
        Its seed.
    non_finite : {"raise", "allow"}
        What to do with NaN and infinity.
    threads : int
        Threads that check and shuffle.
    positions : collection of str
        The canonical names of the fields that are positions.
    origin : tuple of three floats, optional
        What is subtracted from positions.

    Attributes
    ----------
    fidelity : dict of str to FieldFidelity
        By canonical field name, what storing it loses.
    position_losses : list of PositionLoss
        The positions that lose more than they should.

    Raises
    ------
    ValueOverflowError, NonFiniteError
        On entry, where values must not be stored.
    SampleDataError
        On entry, where an array that is not in memory cannot be read.
    StorageError
        On entry, where temporary files cannot be written.
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
        self._temporary = ExitStack()
        self._scattered: dict[str, ExternalShuffle] = {}
        self.fidelity: dict[str, FieldFidelity] = {}
        self.position_losses: list[PositionLoss] = []

    def __enter__(self) -> Self:
        with self._temporary as temporary:
            measured = self._measure_in_memory()
            for domain in self._fields:
                measured |= self._scatter(domain, temporary)
            # In the order of the layouts, wherever the values were.
            self.fidelity = {
                layout.field: measured[layout.field] for domain in self._fields.values() for layout, _ in domain
            }
            self._temporary = temporary.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.close()

    def domains(self) -> Iterator[tuple[str, DomainArrays]]:
        """Yield each domain with its rows; one permutation is in memory at a time, if each domain is forgotten."""
        for domain in self._fields:
            yield domain, self._domain(domain)

    def _domain(self, domain: str) -> DomainArrays:
        fields, order = self._fields[domain], np.empty(0, np.int64)
        if any(layout.field not in self._scattered for layout, _ in fields):
            order = self._order(domain)
        arrays = [(layout, self._stored_rows(layout, values, order)) for layout, values in fields]
        return DomainArrays(self._grids[domain], arrays)

    def _stored_rows(
        self, layout: ArrayLayout, values: NDArray[Any] | SourceRows, order: NDArray[np.int64]
    ) -> StoredRows:
        if isinstance(values, SourceRows):
            return self._scattered[layout.field]
        return GatheredRows(values, order, np.dtype(layout.dtype), self._origin_of(layout))

    def _order(self, domain: str) -> NDArray[np.int64]:
        return permutation(
            self._grids[domain].n_points,
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

    def _measure_in_memory(self) -> dict[str, FieldFidelity]:
        in_memory = [
            (layout, values)
            for domain in self._fields.values()
            for layout, values in domain
            if not isinstance(values, SourceRows)
        ]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="noether-check") as pool:
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
        """Return what measures a field if it is a position that loses digits by the cast, or by one to float32."""
        # float64 is read as float32, unless more is asked for.
        dtype = _READ_AS if layout.dtype == _WIDE else layout.dtype
        origin = self._origin_of(layout)
        given = values.dtype if origin is None else np.dtype(_WIDE)
        if layout.field not in self._positions or np.can_cast(given, dtype, "safe"):
            return None
        return PositionMeter(values.shape[0], layout.dim, dtype, origin)

    def _with_position_loss(self, lost: FieldFidelity, layout: ArrayLayout, meter: PositionMeter) -> FieldFidelity:
        """Take note of what a meter has found; return the loss with what the manifest says of it."""
        loss = meter.loss(self._sample_id, layout.field)
        if loss is None:
            return lost
        if layout.dtype != _WIDE:
            self.position_losses.append(loss)
        return replace(lost, needs_float64=True)

    def _scatter(self, domain: str, temporary: ExitStack) -> dict[str, FieldFidelity]:
        """Read the fields of a domain that are not in memory into files; the same pass measures them."""
        sources = [(layout, values) for layout, values in self._fields[domain] if isinstance(values, SourceRows)]
        if not sources:
            return {}
        stored_rows = destinations(self._order(domain))
        measured = {}
        for layout, source in sources:
            meter = CastMeter(self._check(layout), source.dtype)
            positions = self._position_meter(layout, source)
            with _scratch(source.where, temporary) as directory:
                rows = ExternalShuffle(directory, self._grids[domain], stored_rows, layout.dim, np.dtype(layout.dtype))
                rows.scatter(_metered(source.blocks(), meter, positions, self._origin_of(layout)))
            lost = meter.result()
            measured[layout.field] = lost if positions is None else self._with_position_loss(lost, layout, positions)
            self._scattered[layout.field] = rows
        return measured


def _metered(
    blocks: Iterator[Block], meter: CastMeter, positions: PositionMeter | None, origin: Origin | None
) -> Iterator[Block]:
    for first_row, block in blocks:
        meter.add(block, first_row)
        if positions is not None:
            positions.add(block)
        yield first_row, minus_origin(block, origin)


@contextmanager
def _scratch(where: str, held: ExitStack) -> Iterator[Path]:
    """Yield a new directory for temporary files, which is removed with `held`, and report what fails in it."""
    # tempfile reads TMPDIR once, which may be before a program sets it.
    root = os.environ.get("TMPDIR") or tempfile.gettempdir()
    try:
        yield Path(held.enter_context(tempfile.TemporaryDirectory(prefix="noether-zarr-", dir=root)))
    except OSError as error:
        raise StorageError(
            f"{where}: cannot write temporary files below {root} ({error.strerror or error}); set TMPDIR to a "
            "directory with room for what does not fit in memory"
        ) from error
