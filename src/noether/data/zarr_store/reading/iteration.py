"""Iteration over whole samples in bounded memory: batches in stored order, the next batch prefetched by a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from noether.data.zarr_store.core import Grid, positive_int
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, TooLargeError
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.reading.fetch import Fetcher, empty_rows, flat_if_scalar
from noether.data.zarr_store.reading.result_dtypes import ResultDtypes
from noether.data.zarr_store.reading.tensors import to_tensors
from noether.data.zarr_store.sampling import PlannedRead, check_num_points, plan_window

if TYPE_CHECKING:
    import torch

__all__ = ["DomainBatches", "SampleBatch", "iter_batches", "plan_batches"]

# A read costs requests and a few hundred microseconds of Python, so small batches are cut out of larger reads.
_LEAST_READ_POINTS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """Contiguous points of one domain of a sample, in stored order.

    Attributes
    ----------
    sample_id, domain : str
        Id of the sample, and name of the domain.
    rows : range
        Stored rows of the domain that are in the batch.
    fields : dict of str to ndarray
        Values by canonical field name: shape ``(len(rows),)`` for scalars, ``(len(rows), width)`` otherwise.
    """

    sample_id: str
    domain: str
    rows: range
    fields: dict[str, NDArray[Any]]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the fields as CPU tensors that share their memory.

        Raises
        ------
        MissingDependencyError
            PyTorch is not installed.
        """
        return to_tensors(self.fields)


@dataclass(frozen=True, slots=True)
class DomainBatches:
    """The batches to read of one domain of a sample.

    Attributes
    ----------
    sample_id, domain : str
        Id of the sample, and name of the domain.
    layouts : tuple of ArrayLayout
        The fields to read.
    grid : Grid
        The grid of the domain.
    batch_points : int
        Number of points of each batch; the last one may have fewer.
    """

    sample_id: str
    domain: str
    layouts: tuple[ArrayLayout, ...]
    grid: Grid
    batch_points: int


def plan_batches(
    sample_id: str,
    grids: Mapping[str, Grid],
    wanted: Mapping[str, Sequence[ArrayLayout]],
    num_points: int | Mapping[str, int],
    domains: Mapping[str, DomainLayout],
) -> list[DomainBatches]:
    """Plan the batches of a sample, domain by domain.

    Parameters
    ----------
    sample_id : str
        Id of the sample.
    grids : mapping of str to Grid
        The grids of its domains.
    wanted : mapping of str to sequence of ArrayLayout
        The fields to read, by domain.
    num_points : int or mapping of str to int
        Number of points of each batch, for all domains or by domain.
    domains : mapping of str to DomainLayout
        All domains of the store.

    Raises
    ------
    ArgumentError
        A number is not a whole number of at least 1, or a mapping lacks a domain of `wanted`.
    UnknownNameError
        A mapping names a domain that the store does not have.
    """
    if isinstance(num_points, Mapping):
        counts = check_num_points(num_points, domains)
    else:
        counts = dict.fromkeys(wanted, positive_int(num_points, "num_points"))
    planned = []
    for domain, layouts in wanted.items():
        count = counts.get(domain)
        if count is None:
            raise ArgumentError(
                f"num_points (sample {sample_id!r}): expected a number for each domain that is read, got "
                f"none for {domain!r}; add {{{domain!r}: 65536}}, pass one number for all domains, or list only "
                "fields of other domains in fields"
            )
        planned.append(DomainBatches(sample_id, domain, tuple(layouts), grids[domain], count))
    return planned


def iter_batches(fetcher: Fetcher, domains: Sequence[DomainBatches], dtypes: ResultDtypes) -> Iterator[SampleBatch]:
    """Yield the batches of all domains, one after the other.

    A thread prefetches one batch. Closing the generator waits for the read in progress, and ends the thread.

    Parameters
    ----------
    fetcher : Fetcher
        Reads the chunks.
    domains : sequence of DomainBatches
        Batches to read, by domain.
    dtypes : ResultDtypes
        The dtypes of the fields.

    Raises
    ------
    StoreError
        The errors of `Fetcher.prepare` and `Fetcher.read`, raised in place of the first batch that cannot be read.
    """
    batches = chain.from_iterable(_read_domain(fetcher, one, dtypes) for one in domains)
    with ThreadPoolExecutor(1, thread_name_prefix="noether-iterate") as pool:
        upcoming = pool.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = pool.submit(next, batches, None)
            yield batch


def _read_domain(fetcher: Fetcher, wanted: DomainBatches, dtypes: ResultDtypes) -> Iterator[SampleBatch]:
    """Yield the batches of one domain. Each chunk is read once, whole; surplus rows go into the next batch."""
    grid, step = wanted.grid, wanted.batch_points
    fields = [layout.field for layout in wanted.layouts]
    held: list[NDArray[Any]] = []
    row = 0  # the first row that was not read
    for start in range(0, grid.n_points, step):
        stop = min(start + step, grid.n_points)
        if row < stop:
            needed, ahead = _end_of_chunk(grid, stop), _end_of_chunk(grid, max(stop, row + _LEAST_READ_POINTS))
            try:
                held = _read_on(fetcher, wanted, held, range(row, ahead), dtypes)
            except CorruptDataError:
                # The damage may be in a later batch, so read the chunks of this batch only.
                if ahead == needed:
                    raise
                ahead = needed
                held = _read_on(fetcher, wanted, held, range(row, ahead), dtypes)
            row = ahead
        rows, held = [one[: stop - start] for one in held], [one[stop - start :] for one in held]
        arrays = dict(zip(fields, map(flat_if_scalar, rows), strict=True))
        yield SampleBatch(wanted.sample_id, wanted.domain, range(start, stop), arrays)


def _end_of_chunk(grid: Grid, stop: int) -> int:
    """Return the end of the chunk that holds the row before `stop`."""
    return min(-(-stop // grid.chunk_points) * grid.chunk_points, grid.n_points)


def _read_on(
    fetcher: Fetcher,
    wanted: DomainBatches,
    held: Sequence[NDArray[Any]],
    rows: range,
    dtypes: ResultDtypes,
) -> list[NDArray[Any]]:
    """Return, for each field, the held rows followed by newly read rows."""
    try:
        plan = plan_window(wanted.grid, rows.start, len(rows))
    except TooLargeError as error:
        raise TooLargeError(f"sample {wanted.sample_id!r}, domain {wanted.domain!r}: {error}") from error
    (reads,) = fetcher.prepare([PlannedRead(wanted.sample_id, wanted.domain, wanted.layouts, plan)])
    n_held = len(held[0]) if held else 0
    arrays = [empty_rows(one, dtypes, n_held) for one in reads]
    for array, known in zip(arrays, held, strict=False):
        array[:n_held] = known
    fetcher.read(reads, dtypes, [array[n_held:] for array in arrays])
    return arrays
