"""From a source to a store, over one or many processes."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from typing import Any, Literal

from noether.data.zarr_store.chunk_index import write_chunk_index
from noether.data.zarr_store.errors import MissingDependencyError, StoreError
from noether.data.zarr_store.grid import positive_int
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["ConversionReport", "Outcome", "SampleResult", "convert"]

Outcome = Literal["converted", "skipped", "failed"]

# So much work at most is converted again after a run was killed without a warning; groups themselves are kept.
_SAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What became of one sample.

    Attributes
    ----------
    sample_id : str
        Which sample.
    outcome : {"converted", "skipped", "failed"}
        Skipped samples were complete before.
    entry : SampleEntry or None
        Its entry in the manifest, unless it failed.
    reason : str
        Why it failed.
    trace : str
        The traceback, where it failed.
    seconds : float
        Time spent on it.
    """

    sample_id: str
    outcome: Outcome
    entry: SampleEntry | None = None
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class ConversionReport:
    """What became of all samples, in the order in which they were done."""

    results: list[SampleResult] = field(default_factory=list)

    def having(self, outcome: Outcome) -> list[SampleResult]:
        """List the samples of one outcome, by id."""
        return sorted((r for r in self.results if r.outcome == outcome), key=lambda result: result.sample_id)


def convert(
    source: SampleSource,
    writer: ZarrStoreWriter,
    *,
    workers: int = 1,
    limit: int | None = None,
    on_result: Callable[[SampleResult], None] | None = None,
) -> ConversionReport:
    """Convert the samples of a source that a store does not have yet.

    A sample that cannot be converted is reported, and the rest goes on. What is complete is in the manifest when this
    returns, also when it is interrupted. At the end the chunk index is made anew. The bytes of the store do not depend
    on `workers`.

    Parameters
    ----------
    source : SampleSource
        Where the samples come from.
    writer : ZarrStoreWriter
        Where they go.
    workers : int
        Processes; with 1, all is done in this one.
    limit : int, optional
        Convert only the first so many samples of the source.
    on_result : callable of SampleResult, optional
        Called in this process as each sample is done.

    Raises
    ------
    ArgumentError
        `workers` or `limit` is below 1.
    MissingDependencyError
        A library that the source needs is not installed.
    StorageError
        The manifest cannot be saved.
    """
    positive_int(workers, "workers")
    sample_ids = source.sample_ids()[: None if limit is None else positive_int(limit, "limit")]
    report, recorder = ConversionReport(), _Recorder(writer)
    results = (
        (_convert_sample(source, writer, sample_id) for sample_id in sample_ids)
        if workers == 1
        else _convert_in_processes(source, writer, sample_ids, max(1, min(workers, len(sample_ids))), recorder.add)
    )
    try:
        with closing(results):
            for result in results:
                report.results.append(result)
                recorder.add(result)
                if on_result is not None:
                    on_result(result)
    finally:
        recorder.save()
    if writer.manifest.samples and (recorder.has_saved or writer.manifest.chunk_index is None):
        write_chunk_index(writer.store_root, storage_options=writer.storage_options)
    return report


class _Recorder:
    """Adds entries to the manifest, and saves it now and then."""

    def __init__(self, writer: ZarrStoreWriter) -> None:
        self._writer = writer
        self._unsaved = False
        self._saved_at = time.monotonic()
        self.has_saved = False

    def add(self, result: SampleResult) -> None:
        if result.entry is None:
            return
        if result.outcome == "skipped" and self._writer.manifest.samples.get(result.sample_id) == result.entry:
            return
        self._writer.record(result.sample_id, result.entry)
        self._unsaved = True
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        if self._unsaved:
            self._writer.save_manifest()
            self._unsaved, self._saved_at, self.has_saved = False, time.monotonic(), True


def _convert_sample(source: SampleSource, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
    start = time.perf_counter()
    try:
        entry = writer.find_group(sample_id)
        if entry is not None:
            return SampleResult(sample_id, "skipped", entry, seconds=time.perf_counter() - start)
        sample = source.load(sample_id)
        entry = writer.write_group(sample_id, sample.fields, attributes=sample.attributes)
    except MissingDependencyError:
        raise  # no sample could be converted
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes a library raise, the rest goes on
        reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        return _failed(sample_id, reason, traceback.format_exc(), seconds)
    return SampleResult(sample_id, "converted", entry, seconds=time.perf_counter() - start)


def _failed(sample_id: str, reason: str, trace: str, seconds: float = 0.0) -> SampleResult:
    named = reason if repr(sample_id) in reason else f"sample {sample_id!r}: {reason}"
    return SampleResult(sample_id, "failed", None, named, trace, seconds)


# The source and writer of a worker process, and the event that stops it; set once when it starts.
_worker: dict[str, Any] = {}


def _start_worker(source: SampleSource, writer_kwargs: dict[str, Any], stop: Event) -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(source=source, writer=ZarrStoreWriter(**writer_kwargs), stop=stop)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile does not see it even while it still imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # The mask is for the processes that are started. It does not hold back what another thread, of a library, takes in
    # place of this one: Python's handler would still run here.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    is_main = threading.current_thread() is threading.main_thread()
    seen: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: seen.append(number)) if is_main else None
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if seen:
        signal.raise_signal(signal.SIGINT)


def _convert_in_worker(sample_id: str) -> SampleResult | None:
    # The pool cannot cancel what already waits in its queue.
    return None if _worker["stop"].is_set() else _convert_sample(_worker["source"], _worker["writer"], sample_id)


def _convert_in_processes(
    source: SampleSource,
    writer: ZarrStoreWriter,
    sample_ids: list[str],
    workers: int,
    on_late_result: Callable[[SampleResult], None],
) -> Generator[SampleResult]:
    """Yield results as they come; those that come after an interruption go to `on_late_result`."""
    # Spawned, since a forked child inherits locks and runtimes (obstore's) that no longer run in it.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        # The processes share the writer's threads out among themselves; the bytes do not depend on their number.
        initargs=(source, writer.to_init_kwargs() | {"threads": max(1, writer.threads // workers)}, stop),
    )
    pending: dict[Future[SampleResult | None], str] = {}
    try:
        with _interrupts_held():
            pending |= {pool.submit(_convert_in_worker, sample_id): sample_id for sample_id in sample_ids}
        for future in as_completed(list(pending)):
            sample_id = pending.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool as error:
                reason = (
                    "a worker process died before the sample was done (killed, or out of memory); run again, with "
                    "fewer workers if memory was short"
                )
                result = _failed(sample_id, reason, str(error))
            if result is not None:
                yield result
    finally:
        # Waits for the samples that are under way.
        stop.set()
        pool.shutdown(cancel_futures=True)
        for future in pending:
            if not future.cancelled() and future.exception() is None and (late := future.result()) is not None:
                on_late_result(late)
