"""Throughput of a store on this machine: of draws through a loader, and of a plain read of the same files."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch

from noether.data.zarr_store.core import default_threads, whole_number
from noether.data.zarr_store.datasets.dataset import ZarrStoreDataset
from noether.data.zarr_store.datasets.limits import Limit, explain, limit_of
from noether.data.zarr_store.datasets.plain_read import PlainRead, plain_read
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import IoStatistics

__all__ = ["Throughput", "measure_throughput"]

DEFAULT_POINTS = 16384
_WARM_UP_SECONDS = 1.0
# Minimum number of draws of a pass: otherwise, a pass over a few samples would end too often.
_LEAST_DRAWS = 100_000


@dataclass(frozen=True, slots=True)
class Throughput:
    """The result of a measurement.

    Attributes
    ----------
    store_root : str
        Path or URL of the store.
    n_samples, num_points, fields : int, dict of str to int or None, list of str
        Number of samples, points by domain (None means all), and fields that were drawn.
    workers, batch_size, cores : int
        Number of processes that read, samples of a batch, and cores that this process may use.
    seconds, batches, samples : float, int, int
        Duration of the measurement after the warm-up, and number of batches and samples in this time.
    samples_per_second : float
        Rate of the samples that the loop got.
    bytes_per_second, tensor_bytes_per_second : float
        Rate of the bytes that the workers read from the store, and of the bytes of the tensors that the loop got.
    batch_ms : dict of str to float
        Time from one batch to the next in the loop: percentiles ``p50``, ``p90`` and ``p99``.
    io : IoStatistics
        Counts of the workers' reads in this time.
    busy : float
        Share of the workers' time in which they waited for bytes or decoded; above 1 if requests overlap.
    plain : PlainRead or None
        The plain sequential read; None if the shards do not have the paths of this library.
    limit : {"storage", "hand-over", "waiting", "decoding"}
        Bottleneck of the draws; see `limits.limit_of`.
    conclusion : str
        The bottleneck in words, with advice.
    """

    store_root: str
    n_samples: int
    num_points: dict[str, int | None]
    fields: list[str]
    workers: int
    batch_size: int
    cores: int
    seconds: float
    batches: int
    samples: int
    samples_per_second: float
    bytes_per_second: float
    tensor_bytes_per_second: float
    batch_ms: dict[str, float]
    io: IoStatistics
    busy: float
    plain: PlainRead | None
    limit: Limit
    conclusion: str


def measure_throughput(
    store_root: str,
    *,
    num_points: Mapping[str, int | None] | int | None = None,
    fields: Iterable[str] | None = None,
    split: str | None = None,
    num_workers: int = 4,
    batch_size: int = 1,
    seconds: float = 5.0,
    storage_options: Mapping[str, Any] | None = None,
    on_step: Callable[[str], object] = lambda _: None,
) -> Throughput:
    """Measure draws through the loader of a `ZarrStoreDataset`, and the plain read of the same files.

    Parameters
    ----------
    store_root : str
        Path or URL of the store.
    num_points : mapping of str to int or None, or int, optional
        Number of points to draw of each domain, by default 16,384. Domains that a mapping does not name are not read.
    fields : iterable of str, optional
        Canonical names of the fields to read; by default all fields of the domains.
    split : str, optional
        Name of a split, to draw from its samples.
    num_workers, batch_size : int
        Number of workers of the loader, and number of samples of a batch.
    seconds : float
        Duration of the measurement of draws, after a warm-up of a second. The plain read takes up to twice this time.
    storage_options : mapping, optional
        Options of the file system.
    on_step : callable of str
        Called with the name of each measurement when it begins.

    Raises
    ------
    UnknownNameError, ArgumentError, ManifestError
        The errors of `ZarrStoreDataset`, or a number is out of its range.
    StorageError, CorruptDataError
        The store cannot be read.
    """
    whole_number(num_workers, "num_workers")
    if not seconds > 0:
        raise ArgumentError(f"seconds: expected a number above 0, got {seconds}")
    manifest = StoreManifest.load(store_root, storage_options=storage_options)
    points, chosen = _select_draws(manifest, num_points, fields)
    dataset = ZarrStoreDataset(
        store_root, split=split, num_points=points, fields=chosen, storage_options=storage_options
    )
    on_step("plain read of the files, twice")
    plain = plain_read(dataset.store_root, manifest, dataset.sample_ids, chosen, seconds, storage_options)
    on_step(f"draws, {num_workers} workers")
    drawn = _draw(dataset, num_workers, batch_size, seconds)
    busy = (drawn.io.seconds_waiting + drawn.io.seconds_decoding) / (drawn.seconds * max(num_workers, 1))
    rate, cores = drawn.io.n_bytes / drawn.seconds, default_threads()
    plain_rate = None if plain is None else plain.second_bytes_per_second
    limit = limit_of(
        bytes_per_second=rate,
        plain=plain_rate,
        busy=busy,
        seconds_waiting=drawn.io.seconds_waiting,
        seconds_decoding=drawn.io.seconds_decoding,
    )
    return Throughput(
        store_root=dataset.store_root,
        n_samples=len(dataset),
        num_points=points,
        fields=chosen,
        workers=num_workers,
        batch_size=batch_size,
        cores=cores,
        seconds=drawn.seconds,
        batches=len(drawn.intervals),
        samples=drawn.samples,
        samples_per_second=drawn.samples / drawn.seconds,
        bytes_per_second=rate,
        tensor_bytes_per_second=drawn.tensor_bytes / drawn.seconds,
        batch_ms={f"p{part}": 1e3 * float(np.percentile(drawn.intervals, part)) for part in (50, 90, 99)},
        io=drawn.io,
        busy=busy,
        plain=plain,
        limit=limit,
        conclusion=explain(limit, bytes_per_second=rate, plain=plain_rate, busy=busy, workers=num_workers, cores=cores),
    )


def _select_draws(
    manifest: StoreManifest, num_points: Mapping[str, int | None] | int | None, fields: Iterable[str] | None
) -> tuple[dict[str, int | None], list[str]]:
    """Return the number of points of each domain to read, and the fields. The dataset checks the names."""
    of_domain = {domain: list(layout.arrays) for domain, layout in manifest.domains.items()}
    wanted = None if fields is None else list(dict.fromkeys(fields))
    if isinstance(num_points, Mapping):
        points = dict(num_points)
    else:
        each = DEFAULT_POINTS if num_points is None else num_points
        points = {
            domain: each for domain, names in of_domain.items() if wanted is None or not set(wanted).isdisjoint(names)
        }
    return points, wanted or [name for domain in points for name in of_domain.get(domain, [])]


@dataclass(slots=True)
class _Drawn:
    seconds: float
    intervals: list[float]
    samples: int
    tensor_bytes: int
    io: IoStatistics


def _draw(dataset: ZarrStoreDataset, num_workers: int, batch_size: int, seconds: float) -> _Drawn:
    with warnings.catch_warnings():
        # The caller chose this number of workers to measure it.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = dataset.loader(
            batch_size,
            num_workers=num_workers,
            weights=[1.0] * len(dataset),
            num_samples=max(_LEAST_DRAWS, len(dataset)),
        )
        batches: Iterator[Any] = (batch for _ in count() for batch in loader)
        warm_at = time.perf_counter() + _WARM_UP_SECONDS
        for n_batches, _ in enumerate(batches, start=1):
            if n_batches >= 2 * max(num_workers, 1) and time.perf_counter() >= warm_at:
                break
        return _measured(dataset, batches, seconds)


def _measured(dataset: ZarrStoreDataset, batches: Iterator[Any], seconds: float) -> _Drawn:
    before, begun = dataset.io_statistics(), time.perf_counter()
    drawn, last = _Drawn(0.0, [], 0, 0, before), begun
    for batch in batches:
        now = time.perf_counter()
        drawn.intervals.append(now - last)
        drawn.samples += len(batch["sample_id"])
        drawn.tensor_bytes += sum(one.nbytes for one in batch.values() if isinstance(one, torch.Tensor))
        last = now
        if now - begun >= seconds:
            break
    drawn.seconds = time.perf_counter() - begun
    drawn.io = dataset.io_statistics() - before
    return drawn
