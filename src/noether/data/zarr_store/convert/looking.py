"""Descriptions of samples before their conversion: shapes, dtypes and memory, read in a worker process."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from noether.data.zarr_store.convert.executors.processes import ProcessExecutor
from noether.data.zarr_store.convert.report import Association
from noether.data.zarr_store.core import memory_bytes, peak_memory_bytes
from noether.data.zarr_store.errors import StoreError, WorkerDiedError, WorkerError, reason_of
from noether.data.zarr_store.layout import present_specs
from noether.data.zarr_store.sources import DescribedSource, FieldDescription, SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import SourceRows

__all__ = ["Descriptions", "TimeLimits", "describe_samples"]

# Descriptions of this number of samples are enough to estimate the rest.
_MAX_DESCRIBED = 200


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Time limits for the descriptions of samples.

    Attributes
    ----------
    first_seconds, more_seconds : float
        Seconds to wait for the description of the first sample, including the start of the process; and seconds to wait
        for all others after that.
    load_seconds : float
        Seconds to wait for the first sample to load, if the source has no descriptions.
    """

    first_seconds: float = math.inf
    more_seconds: float = math.inf
    load_seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Descriptions:
    """The descriptions of some samples, and the failures of others.

    Attributes
    ----------
    described : dict of str to mapping of str to FieldDescription
        By sample id, the description of each field.
    failures : dict of str to str
        By sample id, the reason why the sample could not be described.
    memory_bytes : int
        Memory of the worker process without a sample.
    """

    described: dict[str, Mapping[str, FieldDescription]]
    failures: dict[str, str]
    memory_bytes: int

    def associations(self, writer: ZarrStoreWriter) -> dict[str, dict[str, Association]]:
        """Return, by sample and domain, whether the domain's points are the cells or the points of a mesh, if known."""
        return {
            sample_id: {
                domain: association
                for domain, layout in writer.layouts.items()
                if layout.position in fields and (association := fields[layout.position].association) is not None
            }
            for sample_id, fields in self.described.items()
        }


@dataclass(frozen=True, slots=True)
class _Description:
    """The fields of one sample, and the memory of the process without the sample.

    The fields are None if the source has no descriptions.
    """

    fields: Mapping[str, FieldDescription] | None
    memory_bytes: int


_Futures = Mapping["Future[_Description]", str]


def describe_samples(
    source: SampleSource,
    sample_ids: Sequence[str],
    *,
    timeout: float | None = None,
    limits: TimeLimits | None = None,
) -> Descriptions:
    """Return descriptions of samples, or load the first sample if the source has no descriptions.

    The function describes at most 200 samples, spread evenly over all samples.

    Parameters
    ----------
    source : SampleSource
        Source of the samples.
    sample_ids : sequence of str
        Ids of the samples.
    timeout : float, optional
        Seconds after which the description of a sample fails.
    limits : TimeLimits, optional
        Time limits. With them, the function returns the descriptions that are ready in time, and every error of a
        sample is recorded as its failure.

    Raises
    ------
    WorkerError
        No process can be started; without `limits`, also if a process died.
    """
    if not sample_ids:
        return Descriptions({}, {}, 0)
    with ProcessExecutor(1, timeout=timeout) as executor:
        futures: dict[Future[_Description], str] = {}
        try:
            if isinstance(source, DescribedSource):
                describe = _Describer(source)
                futures |= {executor.submit(describe, sample_id): sample_id for sample_id in _spread(sample_ids)}
                found = _gathered(futures, sample_ids, limits)
                if found is not None:
                    return found
                for future in futures:
                    future.cancel()
            loaded = {executor.submit(_load, source, sample_ids[0]): sample_ids[0]}
            futures |= loaded
            limit = None if limits is None else TimeLimits(limits.load_seconds)
            return _gathered(loaded, sample_ids, limit) or Descriptions({}, {}, 0)
        finally:
            if not all(future.done() for future in futures):
                executor.terminate()


class _Describer:
    """Describes one sample of a source per call; it is sent to each process once."""

    def __init__(self, source: DescribedSource) -> None:
        self._source = source

    def __call__(self, sample_id: str) -> _Description:
        return _Description(self._source.describe(sample_id), memory_bytes())


def _load(source: SampleSource, sample_id: str) -> _Description:
    sample = source.load(sample_id)
    domains, associations = {spec.field: spec.domain for spec in present_specs(source.filemap)}, sample.associations
    described = {
        name: FieldDescription(
            values.shape,
            values.dtype,
            in_memory=_is_in_memory(values),
            association=associations.get(domains.get(name, "")),
        )
        for name, values in sample.fields.items()
    }
    # The memory of the load itself is included: a mesh is larger than the arrays that are made from it.
    return _Description(
        described, peak_memory_bytes() - sum(one.n_bytes for one in described.values() if one.in_memory)
    )


def _is_in_memory(values: Any) -> bool:
    """Return whether an array is in memory, and not a memory-mapped file, an HDF5 dataset or a Zarr array."""
    is_mapped = isinstance(values, np.ndarray) and SourceRows.of_mapped(values, "") is not None
    return not is_mapped and SourceRows.of(values, "") is None


def _spread(sample_ids: Sequence[str]) -> list[str]:
    """Return up to 200 samples in an order in which every prefix is spread evenly: each step halves the gaps."""
    count = min(len(sample_ids), _MAX_DESCRIBED)
    digits = _MAX_DESCRIBED.bit_length()
    numbers = sorted(range(count), key=lambda number: f"{number:0{digits}b}"[::-1])
    return [sample_ids[number * len(sample_ids) // count] for number in numbers]


def _gathered(futures: _Futures, sample_ids: Sequence[str], limits: TimeLimits | None) -> Descriptions | None:
    """Return the descriptions that are ready in time, or None if the source has no descriptions."""
    described: dict[str, Mapping[str, FieldDescription]] = {}
    failures: dict[str, str] = {}
    memory = 0
    for future in _in_time(futures, limits or TimeLimits()):
        try:
            description = future.result()
        except Exception as error:
            if not _is_of_sample(error, is_strict=limits is None):
                raise
            sample_id, reason = futures[future], reason_of(error)
            failures[sample_id] = reason if repr(sample_id) in reason else f"sample {sample_id!r}: {reason}"
            continue
        if description.fields is None:
            return None
        described[futures[future]] = description.fields
        memory = max(memory, description.memory_bytes)
    in_order = {sample_id: failures[sample_id] for sample_id in sample_ids if sample_id in failures}
    return Descriptions(described, in_order, memory)


def _is_of_sample(error: Exception, *, is_strict: bool) -> bool:
    if isinstance(error, WorkerDiedError):
        return not is_strict
    return not isinstance(error, WorkerError) and (isinstance(error, StoreError) or not is_strict)


def _in_time(futures: _Futures, limits: TimeLimits) -> Iterator[Future[_Description]]:
    """Yield futures as they complete, within the time limits."""
    pending, end = set(futures), time.monotonic() + limits.first_seconds
    is_first = True
    while pending:
        left = end - time.monotonic()
        done, pending = wait(pending, None if left == math.inf else max(left, 0), FIRST_COMPLETED)
        if not done:
            return
        if is_first:
            is_first, end = False, time.monotonic() + limits.more_seconds
        yield from done
