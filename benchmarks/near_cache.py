"""Items of a store that is 25 ms away, with and without a cache on this machine, compared with a local store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.data import DOMAIN, FILEMAP, source_arrays
from benchmarks.object_storage import DELAY_S
from benchmarks.proxy import start_proxy
from benchmarks.results import Case, Comparison, Row, Target
from benchmarks.s3_server import BUCKET, obstore_options, serve_s3
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings
from benchmarks.timing import order_of
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.datasets import ZarrStoreDataset
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep import fill_cache

__all__ = ["compare_near_cache"]

_SAMPLES = 8
_LIMIT = "20 GB"
_FILLED, _REMOTE, _LOCAL = "noether, cache filled", "noether, no cache", "noether, local store"


def compare_near_cache(settings: Settings) -> Comparison:
    """Read epochs of a remote store whose chunks are all cached, of the same store uncached, and of a local store."""
    repetitions = settings.repetitions(quick=3, full=15)
    directory = settings.work_dir / "near-cache"
    shutil.rmtree(directory, ignore_errors=True)
    local, n_points = settings.work_dir / "store-near", settings.n_points // 5
    source = source_arrays(settings.work_dir, n_points)
    url = f"s3://{BUCKET}/near"
    with serve_s3(settings.work_dir / "s3-near") as endpoint, start_proxy(endpoint, DELAY_S) as proxy:
        _write(str(local), source, {})
        _write(url, source, obstore_options(endpoint))
        options = obstore_options(proxy.endpoint)
        fixed = _dataset(url, storage_options=options, cache_dir=directory, fixed=True)
        _epoch(fixed, 0)
        before = proxy.counts().requests
        _epoch(fixed, 1)
        second_pass = proxy.counts().requests - before
        fill_cache(url, cache_dir=directory, cache_limit=_LIMIT, storage_options=options)
        datasets = {
            _FILLED: _dataset(url, storage_options=options, cache_dir=directory),
            _REMOTE: _dataset(url, storage_options=options),
            _LOCAL: _dataset(str(local)),
        }
        names, seconds = list(datasets), {name: list[float]() for name in datasets}
        requests = dict.fromkeys(names, 0)
        for repetition in range(-1, repetitions):
            for place in order_of(max(repetition, 0), len(names)):
                name, before = names[place], proxy.counts().requests
                taken = _epoch(datasets[name], repetition + 1)
                if repetition >= 0:
                    seconds[name].append(taken / _SAMPLES)
                    requests[name] += proxy.counts().requests - before
    shutil.rmtree(directory)
    shutil.rmtree(local)
    rows = [Row(name, values, {"requests": requests[name]}) for name, values in seconds.items()]
    case = Case(f"an item of {DRAW_POINTS:,} points, {1000 * DELAY_S:.0f} ms a request", "s", rows)
    rate = case.row(_LOCAL).median / case.row(_FILLED).median
    case.targets.append(Target(f"rate of {_FILLED} over that of {_LOCAL}", rate, 0.7, at_least=True))
    for what, count in ((_FILLED, requests[_FILLED]), ("the second pass over fixed draws", second_pass)):
        case.targets.append(Target(f"requests of {what}", float(count), 0, at_least=False, unit="requests"))
    parameters = {"samples": _SAMPLES, "points": n_points, "points drawn": DRAW_POINTS, "repetitions": repetitions}
    return Comparison.of("cache", settings, parameters, [case])


def _write(root: str, source: Mapping[str, Any], storage_options: Mapping[str, str]) -> None:
    """Write samples that differ: each is the source with its rows rolled by the index of the sample."""
    writer = ZarrStoreWriter(
        root, FILEMAP, "benchmark", chunk_points=CHUNK_POINTS[0], storage_options=dict(storage_options)
    )
    for number in range(_SAMPLES):
        writer.write_sample(f"run_{number}", {field: np.roll(one, number, axis=0) for field, one in source.items()})
    writer.save_manifest()
    write_chunk_index(root, storage_options=dict(storage_options))


def _dataset(root: str, **options: Any) -> ZarrStoreDataset:
    return ZarrStoreDataset(root, num_points={DOMAIN: DRAW_POINTS}, **options)


def _epoch(dataset: ZarrStoreDataset, epoch: int) -> float:
    """Read all items of an epoch, one after the other; return the seconds."""
    dataset.set_epoch(epoch)
    begun = time.perf_counter()
    for number in range(len(dataset)):
        dataset[number]
    return time.perf_counter() - begun
