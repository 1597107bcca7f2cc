"""Work on many samples: executors, failures of single samples, and interruptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future, as_completed, wait
from contextlib import closing, nullcontext

from noether.data.zarr_store.convert.executors.processes import ProcessExecutor
from noether.data.zarr_store.convert.probe import manifest_saved_first
from noether.data.zarr_store.convert.recorder import Recorder
from noether.data.zarr_store.convert.report import ConversionReport, SampleResult
from noether.data.zarr_store.convert.task import SampleTask, SampleWork, failure
from noether.data.zarr_store.core import positive_int
from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, WorkerDiedError, WorkerError
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["run_samples"]

# Seconds in which samples that are almost done may finish after an interruption.
_GRACE_SECONDS = 2.0


def run_samples(
    work: SampleWork,
    writer: ZarrStoreWriter,
    sample_ids: Sequence[str],
    recorder: Recorder,
    *,
    workers: int,
    timeout: float | None,
    executor: Executor | None,
    on_result: Callable[[SampleResult], None] | None,
) -> ConversionReport:
    """Do the work on all samples, and record the results, also after an interruption.

    Partial output of killed processes is removed before and after the work: a worker of an invocation that was killed
    may still have been alive at the beginning. See `convert` for parameters and errors.
    """
    _check_workers(workers, timeout, executor)
    writer.recover_staged(sample_ids)
    task = SampleTask(work, writer, max(1, writer.settings.encoding.threads // max(1, workers)))
    report, start = ConversionReport(), time.monotonic()

    def take(result: SampleResult) -> None:
        report.results.append(result)
        recorder.add(result)

    with manifest_saved_first(writer) if sample_ids else nullcontext():
        try:
            with closing(_done(task, sample_ids, writer, workers, timeout, executor, take)) as results:
                for result in results:
                    take(result)
                    if on_result is not None:
                        on_result(result)
        finally:
            recorder.finish()
            report.seconds = time.monotonic() - start
    writer.recover_staged(sample_ids)
    return report


def _check_workers(workers: int, timeout: float | None, executor: Executor | None) -> None:
    """Raise `ArgumentError` if these parameters of `run_samples` contradict each other."""
    if workers != 0:
        positive_int(workers, "workers")
    if workers and executor is not None:
        raise ArgumentError(f"workers: expected 0 with an executor, got {workers}; leave out workers or executor")
    if timeout is not None and not workers:
        raise ArgumentError(
            "timeout: expected worker processes, because only these can be stopped, got workers=0; use workers=1 or "
            "more"
        )
    if timeout is not None and not timeout > 0:
        raise ArgumentError(f"timeout: expected a number of seconds above 0, got {timeout}; leave it out for no limit")


def _done(
    task: SampleTask,
    sample_ids: Sequence[str],
    writer: ZarrStoreWriter,
    workers: int,
    timeout: float | None,
    executor: Executor | None,
    on_late_result: Callable[[SampleResult], None],
) -> Generator[SampleResult]:
    """Yield results as they complete; results that complete after an interruption go to `on_late_result`."""
    if executor is not None:
        yield from _done_in(executor, task, sample_ids, writer, on_late_result, lambda: None)
    elif workers:
        own = ProcessExecutor(max(1, min(workers, len(sample_ids))), timeout=timeout)
        yield from _done_in(own, task, sample_ids, writer, on_late_result, own.terminate)
    else:
        yield from map(task, sample_ids)


def _done_in(
    executor: Executor,
    task: SampleTask,
    sample_ids: Sequence[str],
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
        # Futures are pending here only after an interruption.
        for future in pending:
            future.cancel()
        under_way = {future: sample_id for future, sample_id in pending.items() if not future.cancelled()}
        try:
            wait(under_way, _GRACE_SECONDS)
        finally:
            stop()
        for future, sample_id in under_way.items():
            # A sample that was stopped has not failed.
            if future.done() and (result := _result(future, sample_id, writer)).outcome != "failed":
                on_late_result(result)


def _result(future: Future[SampleResult], sample_id: str, writer: ZarrStoreWriter) -> SampleResult:
    """Return the result of a sample; if its process died, remove the partial output."""
    try:
        return future.result()
    except WorkerDiedError as error:
        if error.pid is not None:
            writer.remove_staged(sample_id, error.pid)
        return failure(sample_id, error, error.seconds)
    except (MissingDependencyError, WorkerError):
        raise  # no sample could be converted
    except Exception as error:  # noqa: BLE001 - an executor may raise anything when one of its processes dies
        return failure(sample_id, error)
