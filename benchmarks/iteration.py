"""Reading a whole sample batch by batch, compared with reading it at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from benchmarks.data import DOMAIN, SAMPLE, Arrays, source_arrays
from benchmarks.jobs import run_job
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, Settings
from benchmarks.timing import Contender, race
from benchmarks.verification import require_equal
from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.reader import SampleBatch

__all__ = ["compare_iteration"]

_FILEMAP = FileMap(volume_position="volume_cell_position.npy", volume_pressure="volume_cell_totalpcoeff.npy")
_FIELDS = ("volume_position", "volume_pressure")
# Not multiples of the default chunk of 4,096 points: batches that end within a chunk need more memory and time.
_BATCH_POINTS = (100_000, 10_000, 1_000_000)
_WHOLE = "whole read"


def compare_iteration(settings: Settings) -> Comparison:
    """Compare the time of batches with that of a whole read, and measure the memory of both."""
    repetitions = settings.repetitions(quick=5, full=7)
    root = _write(settings)
    reader = ZarrChunkReader(root)
    _require_same(reader)
    contenders = [*(_iteration(reader, points) for points in _BATCH_POINTS), _whole_read(reader)]
    times = Case("time", "s", [Row(name, values) for name, values in race(contenders, repetitions).items()])
    memory = Case(
        "peak memory growth",
        "MB",
        [
            *(_memory(_name(points), "iterate", root, repetitions, points) for points in _BATCH_POINTS),
            _memory(_WHOLE, "read_whole", root, repetitions),
        ],
    )
    for points in _BATCH_POINTS:
        times.faster(_WHOLE, at_least=0.8, ours=_name(points))
        memory.below(100, ours=_name(points))
    parameters = {"points": settings.n_large_points, "chunk_points": CHUNK_POINTS[0], "repetitions": repetitions}
    return Comparison.of("iteration", settings, parameters, [times, memory])


def _write(settings: Settings) -> str:
    root = settings.work_dir / "store-to-iterate"
    shutil.rmtree(root, ignore_errors=True)
    source = source_arrays(settings.work_dir, settings.n_large_points)
    writer = ZarrStoreWriter(root, _FILEMAP, "benchmark", chunk_points=CHUNK_POINTS[0])
    writer.write_sample(SAMPLE, {field: source[field] for field in _FIELDS})
    writer.save_manifest()
    return str(root)


def _require_same(reader: ZarrChunkReader) -> None:
    """Check once that the batches have the values of a whole read."""
    whole = reader.read_arrays(SAMPLE)
    for batch in reader.iter_sample(SAMPLE, _BATCH_POINTS[0]):
        rows = slice(batch.rows.start, batch.rows.stop)
        require_equal("batches", batch.fields, {field: values[rows] for field, values in whole.items()})


def _iteration(reader: ZarrChunkReader, batch_points: int) -> Contender:
    def read(_: int) -> Arrays:
        batches: Iterator[SampleBatch] = reader.iter_sample(SAMPLE, {DOMAIN: batch_points})
        n_points = sum(len(batch.rows) for batch in batches)
        if n_points != reader.entry(SAMPLE).domains[DOMAIN].n_points:
            raise AssertionError(f"batches of {batch_points} have {n_points} points")
        return {}

    return Contender(_name(batch_points), read)


def _whole_read(reader: ZarrChunkReader) -> Contender:
    return Contender(_WHOLE, lambda _: dict(reader.read_arrays(SAMPLE)))


def _memory(name: str, job: str, root: str, repetitions: int, *batch_points: int) -> Row:
    arguments = {"batch_points": batch_points[0]} if batch_points else {}
    runs = [run_job(job, root=root, **arguments) for _ in range(repetitions)]
    return Row(name, [run.peak_bytes / 1e6 for run in runs])


def _name(batch_points: int) -> str:
    return f"noether, batches of {batch_points:,}"
