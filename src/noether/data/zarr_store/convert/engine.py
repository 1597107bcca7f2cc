"""Which samples are converted, by whom, and what happens when that fails or is interrupted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, as_completed, wait
from contextlib import closing, nullcontext
from typing import Literal, get_args

from noether.data.zarr_store.convert.executors.processes import ProcessExecutor
from noether.data.zarr_store.convert.mixtures import warnings_of_store
from noether.data.zarr_store.convert.probe import manifest_saved_first
from noether.data.zarr_store.convert.recorder import Recorder
from noether.data.zarr_store.convert.report import REPORT_NAME, ConversionReport, ReportFile, SampleResult
from noether.data.zarr_store.convert.task import SampleTask, failure
from noether.data.zarr_store.core import positive_int, require_distinct
from noether.data.zarr_store.errors import (
    ArgumentError,
    MissingDependencyError,
    MixedSamplesWarning,
    PrecisionWarning,
    WorkerDiedError,
    WorkerError,
    require_one_of,
)
from noether.data.zarr_store.reading import has_whole_index, write_chunk_index
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["Mode", "convert", "select_samples"]

Mode = Literal["resume", "retry-failed", "overwrite"]

# After an interruption, samples that are almost done may be finished.
_GRACE_SECONDS = 2.0


def convert(
    source: SampleSource,
    writer: ZarrStoreWriter,
    *,
    workers: int = 0,
    timeout: float | None = None,
    executor: Executor | None = None,
    mode: Mode = "resume",
    limit: int | None = None,
    part: tuple[int, int] | None = None,
    keep_grids: bool = False,
    on_result: Callable[[SampleResult], None] | None = None,
) -> ConversionReport:
    """Convert the samples of a source that a store does not have yet.

    A sample that cannot be converted is reported, and the rest goes on, also where a worker process crashes, hangs or
    is killed. When this returns, also by an interruption, what is complete is in the manifest, and what became of each
    sample is in ``conversion.json`` beside it. The manifest is saved before the first sample, too, so that a store that
    cannot be written to is an error at once. At the end the chunk index is made anew. The bytes of the store, but for
    ``conversion.json``, do not depend on who does the work.

    Parameters
    ----------
    source : SampleSource
        Where the samples come from.
    writer : ZarrStoreWriter
        Where they go. Worker processes share its threads out.
    workers : int
        Worker processes. With 0, all is done in this one, which does not outlive a crash.
    timeout : float, optional
        Seconds after which a worker process is stopped and its sample has failed.
    executor : Executor, optional
        Does the work instead of worker processes, with the writer's threads for each sample. It is not shut down.
    mode : {"resume", "retry-failed", "overwrite"}
        Skip complete samples whose source, chunks and shards are unchanged; do the same with those samples alone that
        failed the last time; or convert all anew.
    limit : int, optional
        Take only the first so many samples of the source.
    part : tuple of (int, int), optional
        ``(3, 16)`` takes the third of sixteen parts of these; other runs take the others, also at the same time. Only
        the run that finds all samples of the source in the manifest makes the chunk index.
    keep_grids : bool
        Skip complete samples whatever their chunks and shards, unless their source has changed.
    on_result : callable of SampleResult, optional
        Called in this process as each sample is done.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    SampleIdError
        Two samples have ids that some file system takes for the same.
    MissingDependencyError
        A library that the source needs is not installed.
    WorkerError
        No worker process can be started.
    ManifestConflictError
        Another writer has created the store meanwhile, with other settings.
    StorageError
        Manifest, report or chunk index cannot be saved.

    Warns
    -----
    MixedSamplesWarning
        The points of a domain are cells of a mesh in some samples of the store, and points in others.
    PrecisionWarning
        Positions of some samples lose too many digits; see `ZarrStoreWriter.write_group`.
    """
    sample_ids = select_samples(source, writer, mode=mode, limit=limit, part=part)
    _check_workers(workers, timeout, executor)
    writer.recover_staged(sample_ids)
    threads = max(1, writer.settings.encoding.threads // max(1, workers))
    task = SampleTask(source, writer, mode == "overwrite", threads, keep_grids)
    called = {"mode": mode, "limit": limit, "part": part and f"{part[0]}/{part[1]}"}
    recorder = Recorder(writer, called | {"workers": workers, "timeout": timeout})
    report, start = ConversionReport(), time.monotonic()

    def take(result: SampleResult) -> None:
        report.results.append(result)
        recorder.add(result)

    with manifest_saved_first(writer) if sample_ids else nullcontext():
        try:
            with closing(_convert_all(task, sample_ids, writer, workers, timeout, executor, take)) as results:
                for result in results:
                    take(result)
                    if on_result is not None:
                        on_result(result)
        finally:
            recorder.finish()
            report.seconds = time.monotonic() - start
    # A worker of a run that was killed may have been alive at the first call, and have ended since.
    writer.recover_staged(sample_ids)
    if part is None or all(sample_id in writer.manifest.samples for sample_id in source.sample_ids()):
        if writer.manifest.samples and (recorder.has_saved_entries or not _is_indexed(writer)):
            write_chunk_index(writer.store_root, storage_options=writer.settings.storage_options)
        report.is_indexed = True
    if report.results:
        report.warnings = warnings_of_store(writer, recorder.report_file)
        for warning in report.warnings:
            warnings.warn(warning, MixedSamplesWarning, stacklevel=2)
    losses = [loss for result in report.results for loss in result.position_losses]
    if losses:
        report.precision_warning = writer.warning_of(losses)
        warnings.warn(report.precision_warning, PrecisionWarning, stacklevel=2)
    return report


def _is_indexed(writer: ZarrStoreWriter) -> bool:
    return has_whole_index(writer.store_root, writer.manifest, storage_options=writer.settings.storage_options)


def select_samples(
    source: SampleSource,
    writer: ZarrStoreWriter,
    *,
    mode: Mode = "resume",
    limit: int | None = None,
    part: tuple[int, int] | None = None,
) -> list[str]:
    """List the samples that `convert` would look at; see there for parameters and errors."""
    require_one_of("mode", mode, get_args(Mode))
    sample_ids = source.sample_ids()[: None if limit is None else positive_int(limit, "limit")]
    require_distinct(sample_ids)
    if part is not None:
        number, count = (positive_int(value, "part") for value in part)
        if number > count:
            raise ArgumentError(f"part: expected a number from 1 to {count}, got {number}")
        # Neighbours are often alike, large or small: each part gets some of all.
        sample_ids = sample_ids[number - 1 :: count]
    if mode == "retry-failed":
        former = ReportFile.load(writer.store_root, storage_options=writer.settings.storage_options)
        if not former.runs:
            raise ArgumentError(f"{writer.store_root} has no {REPORT_NAME}, which would say what has failed")
        failed = former.failed()
        sample_ids = [sample_id for sample_id in sample_ids if sample_id in failed]
    return sample_ids


def _check_workers(workers: int, timeout: float | None, executor: Executor | None) -> None:
    if workers != 0:
        positive_int(workers, "workers")
    if workers and executor is not None:
        raise ArgumentError(f"workers: expected 0 beside an executor, which does all the work, got {workers}")
    if timeout is not None and not workers:
        raise ArgumentError("timeout: only worker processes can be stopped; expected workers of at least 1")
    if timeout is not None and not timeout > 0:
        raise ArgumentError(f"timeout: expected seconds, more than 0, got {timeout}")


def _convert_all(
    task: SampleTask,
    sample_ids: list[str],
    writer: ZarrStoreWriter,
    workers: int,
    timeout: float | None,
    executor: Executor | None,
    on_late_result: Callable[[SampleResult], None],
) -> Generator[SampleResult]:
    """Yield results as they come; those that come after an interruption go to `on_late_result`."""
    if executor is not None:
        yield from _convert_in(executor, task, sample_ids, writer, on_late_result, lambda: None)
    elif workers:
        own = ProcessExecutor(max(1, min(workers, len(sample_ids))), timeout=timeout)
        yield from _convert_in(own, task, sample_ids, writer, on_late_result, own.terminate)
    else:
        yield from map(task, sample_ids)


def _convert_in(
    executor: Executor,
    task: SampleTask,
    sample_ids: list[str],
    writer: ZarrStoreWriter,
    on_late_result: Callable[[SampleResult], None],
    stop: Callable[[], None],
) -> Generator[SampleResult]:
    pending: dict[Future[SampleResult], str] = {}
    try:
        pending |= {executor.submit(task, sample_id): sample_id for sample_id in sample_ids}
        for future in as_completed(list(pending)):
            yield _result(future, pending.pop(future), writer)
    finally:
        # Some are pending only after an interruption.
        for future in pending:
            future.cancel()
        under_way = {future: sample_id for future, sample_id in pending.items() if not future.cancelled()}
        try:
            wait(under_way, _GRACE_SECONDS)
        finally:
            stop()
        for future, sample_id in under_way.items():
            # One that was stopped has not failed.
            if future.done() and (result := _result(future, sample_id, writer)).outcome != "failed":
                on_late_result(result)


def _result(future: Future[SampleResult], sample_id: str, writer: ZarrStoreWriter) -> SampleResult:
    """Return what became of a sample, and remove what a process that died of it has left."""
    try:
        return future.result()
    except WorkerDiedError as error:
        if error.pid is not None:
            writer.remove_staged(sample_id, error.pid)
        return failure(sample_id, error, error.seconds)
    except (MissingDependencyError, WorkerError):
        raise  # no sample could be converted
    except Exception as error:  # noqa: BLE001 - an executor raises what it likes where a process of its own dies
        return failure(sample_id, error)
