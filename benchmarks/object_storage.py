"""Draws from S3, near and far."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import obstore
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, ObjectStore

from benchmarks.data import DOMAIN, FIELDS, FILEMAP, SAMPLE, Arrays, source_arrays
from benchmarks.formats import Prepared, prepare, write_store
from benchmarks.local_draws import aligned_window
from benchmarks.peers import as_result
from benchmarks.proxy import Proxy, start_proxy
from benchmarks.results import Case, Comparison, Row
from benchmarks.s3_server import BUCKET, obstore_bucket, obstore_options, serve_s3
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings
from benchmarks.timing import Contender, race
from benchmarks.verification import require_draw, require_equal
from benchmarks.zarr_writing import array_path
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter

__all__ = ["compare_object_storage"]

OURS = "noether"
OBSTORE = "zarr-python + obstore"
S3FS = "zarr-python + s3fs"
ONE_REQUEST = "one range request"

# Concurrent requests per field of zarr-python. This library uses its default.
CONCURRENCY = 8
DELAY_S = 0.025

# The cost of a draw does not depend on the size of the sample, so the many samples of the first draws are small.
_SMALL_POINTS = 100_000
_COUNTED_DRAWS = 5


def compare_object_storage(settings: Settings) -> Comparison:
    """Compare draws from S3 on loopback, and with a delay of 25 ms per request."""
    near = settings.repetitions(quick=12, full=60)
    far = settings.repetitions(quick=6, full=30)
    cases = []
    with (
        serve_s3(settings.work_dir / "s3") as endpoint,
        start_proxy(endpoint, DELAY_S) as proxy,
        zarr.config.set({"async.concurrency": CONCURRENCY}),
        ThreadPoolExecutor(CONCURRENCY) as pool,
    ):
        for chunk_points in CHUNK_POINTS:
            prepared = prepare(settings.work_dir, settings.n_points, chunk_points)
            place = _Place(endpoint, f"store-{chunk_points}", prepared, pool)
            source = source_arrays(settings.work_dir, settings.n_points)
            write_store(place.root, source, chunk_points, obstore_options(endpoint))
            ours = place.reader().read_concurrency
            _write_many(settings, endpoint, chunk_points, 1 + far + _COUNTED_DRAWS)
            cases.append(_loopback(place, near))
            cases.append(_delayed(_Place(proxy.endpoint, place.prefix, prepared, pool), proxy, far))
            cases.append(_first_draws(_Place(proxy.endpoint, f"many-{chunk_points}", prepared, pool), proxy, far))
    parameters = {
        "points": settings.n_points,
        "points_drawn": DRAW_POINTS,
        "concurrency": {"noether": ours, "zarr-python, of a field": CONCURRENCY},
        "delay_ms": DELAY_S * 1e3,
        "repetitions": {"loopback": near, "delayed": far},
    }
    return Comparison.of("s3", settings, parameters, cases)


class _Place:
    """A store in the bucket, reached through one endpoint, and the draws of each contender from it."""

    def __init__(self, endpoint: str, prefix: str, prepared: Prepared, pool: ThreadPoolExecutor) -> None:
        self.endpoint, self.prefix, self.prepared, self._pool = endpoint, prefix, prepared, pool
        self.root = f"s3://{BUCKET}/{prefix}"
        self.n_drawn = min(DRAW_POINTS, prepared.n_points)

    def reader(self) -> ZarrChunkReader:
        """Open the store with this library and its defaults."""
        return ZarrChunkReader(self.root, storage_options=obstore_options(self.endpoint))

    def obstore_store(self) -> Store:
        """Open the store with obstore, as in zarr-python's guide."""
        return ObjectStore(obstore_bucket(self.endpoint, self.prefix), read_only=True)

    def s3fs_store(self) -> Store:
        """Open the store with s3fs, as in zarr-python's guide."""
        options = {"key": "any", "secret": "any", "endpoint_url": self.endpoint}
        return FsspecStore.from_url(self.root, storage_options=options, read_only=True)

    def one_request(self) -> Callable[[int], Arrays]:
        """Return a function that fetches as many bytes as the largest field of a draw has, in one request."""
        bucket = obstore_bucket(self.endpoint, f"{self.prefix}/{SAMPLE}.zarr")
        key = f"{array_path('volume_position')}/c/0/0"
        size = int(obstore.head(bucket, key)["size"])
        length = size * self.n_drawn // self.prepared.n_points

        def read(seed: int) -> Arrays:
            start = int(np.random.default_rng([seed, 1]).integers(size - length + 1))
            obstore.get_range(bucket, key, start=start, length=length)
            return {}

        return read

    def open_arrays(self, store: Store, sample_id: str = SAMPLE) -> dict[str, Any]:
        """Open the fields of a sample with zarr-python: one request, since the metadata are consolidated."""
        group = zarr.open_group(store, path=f"{sample_id}.zarr", mode="r", zarr_format=3)
        return {field: group[array_path(field)] for field in FIELDS}

    def read_window(self, arrays: dict[str, Any], rows: slice) -> Arrays:
        """Read the same rows of all fields with zarr-python, all fields concurrently."""
        results = self._pool.map(lambda field: as_result(arrays[field][rows]), FIELDS)
        return dict(zip(FIELDS, results, strict=True))


def _contenders(place: _Place) -> list[Contender]:
    """Open every contender, and check once that all read the same points."""
    reader = place.reader()
    stores = {OBSTORE: place.open_arrays(place.obstore_store()), S3FS: place.open_arrays(place.s3fs_store())}

    def window(seed: int, arrays: dict[str, Any]) -> Arrays:
        return place.read_window(arrays, aligned_window(place.prepared, seed))

    contenders = [
        Contender(OURS, lambda seed: reader.read_arrays(SAMPLE, {DOMAIN: DRAW_POINTS}, generator=seed)),
        *(Contender(name, partial(window, arrays=arrays)) for name, arrays in stores.items()),
    ]
    for contender in contenders:
        require_draw(contender.name, contender.read(0), place.prepared, place.n_drawn)
    for name, arrays in stores.items():
        rows = aligned_window(place.prepared, 0)
        require_equal(name, window(0, arrays), place.prepared.expected(rows))
    return [*contenders, Contender(ONE_REQUEST, place.one_request())]


def _loopback(place: _Place, repetitions: int) -> Case:
    seconds = race(_contenders(place), repetitions)
    title = f"loopback, chunks of {place.prepared.chunk_points:,}"
    case = Case(title, "s", [Row(name, values) for name, values in seconds.items()])
    few = place.prepared.chunk_points == CHUNK_POINTS[0]
    case.faster(OBSTORE, at_least=4 if few else 2)
    case.faster(S3FS, at_least=8 if few else 4)
    return case


def _delayed(place: _Place, proxy: Proxy, repetitions: int) -> Case:
    contenders = _contenders(place)
    seconds = race(contenders, repetitions)
    traffic = _count(contenders, proxy, first=repetitions)
    title = f"{DELAY_S * 1e3:.0f} ms away, chunks of {place.prepared.chunk_points:,}"
    case = Case(title, "s", [Row(name, values, traffic[name]) for name, values in seconds.items()])
    case.within(ONE_REQUEST, at_most=1.5)
    return case


def _first_draws(place: _Place, proxy: Proxy, repetitions: int) -> Case:
    """Compare draws from samples that were not read before, which is the cost in a loop over many samples.

    Every repetition reads another sample. Clients and connections stay open, as they do in such a loop.
    """
    reader = place.reader()
    stores = {OBSTORE: place.obstore_store(), S3FS: place.s3fs_store()}

    def open_and_read(seed: int, store: Store) -> Arrays:
        first = seed % (_SMALL_POINTS // place.prepared.chunk_points - DRAW_POINTS // place.prepared.chunk_points)
        start = first * place.prepared.chunk_points
        return place.read_window(place.open_arrays(store, _many_id(seed)), slice(start, start + DRAW_POINTS))

    contenders = [
        Contender(OURS, lambda seed: reader.read_arrays(_many_id(seed), {DOMAIN: DRAW_POINTS}, generator=seed)),
        *(Contender(name, partial(open_and_read, store=store)) for name, store in stores.items()),
    ]
    for contender in contenders:
        contender.read(repetitions + _COUNTED_DRAWS)  # opens the connections; this sample is not timed
    seconds = race(contenders, repetitions)
    traffic = _count(contenders, proxy, first=repetitions)
    title = f"{DELAY_S * 1e3:.0f} ms away, first draw of a sample, chunks of {place.prepared.chunk_points:,}"
    case = Case(title, "s", [Row(name, values, traffic[name]) for name, values in seconds.items()])
    if place.prepared.chunk_points == CHUNK_POINTS[1]:
        case.faster(OBSTORE, at_least=1.1)
    return case


def _count(contenders: list[Contender], proxy: Proxy, first: int) -> dict[str, dict[str, float]]:
    """Count the traffic of a few more reads, numbered from `first`. They are not timed, since counting takes time."""
    traffic = {}
    for contender in contenders:
        counted = []
        for repetition in range(first, first + _COUNTED_DRAWS):
            before = proxy.counts()
            contender.read(repetition)
            after = proxy.counts()
            counted.append([now - then for now, then in zip(after, before, strict=True)])
        names = ("requests", "bytes", "rounds")
        traffic[contender.name] = dict(zip(names, np.median(counted, axis=0).tolist(), strict=True))
    return traffic


def _write_many(settings: Settings, endpoint: str, chunk_points: int, count: int) -> None:
    source = {field: np.asarray(values) for field, values in source_arrays(settings.work_dir, _SMALL_POINTS).items()}
    writer = ZarrStoreWriter(
        f"s3://{BUCKET}/many-{chunk_points}",
        FILEMAP,
        "many",
        chunk_points=chunk_points,
        storage_options=obstore_options(endpoint),
    )
    for i in range(count):
        writer.write_sample(_many_id(i), source)
    writer.save_manifest()


def _many_id(number: int) -> str:
    return f"sample_{number}"
