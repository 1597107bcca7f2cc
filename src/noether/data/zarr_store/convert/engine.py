"""Conversions: the choice of samples, their conversion, the chunk index and the warnings at the end."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Executor

from noether.data.zarr_store.convert.conversion import Conversion
from noether.data.zarr_store.convert.mixtures import warnings_of_store
from noether.data.zarr_store.convert.recorder import Recorder
from noether.data.zarr_store.convert.report import ConversionReport, SampleResult
from noether.data.zarr_store.convert.running import run_samples
from noether.data.zarr_store.convert.selection import Mode, choose_samples
from noether.data.zarr_store.errors import MixedSamplesWarning, PrecisionWarning
from noether.data.zarr_store.reading import has_whole_index, write_chunk_index
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["convert", "select_samples"]


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

    A sample that cannot be converted is reported, and the other samples are still converted, even if a worker process
    crashes, hangs or is killed. On return, and also after an interruption, the manifest lists every complete sample,
    and ``conversion.json`` beside it records the outcome of each sample. The manifest is also saved before the first
    sample, so that an error of the storage is raised at once. At the end, the chunk index is rebuilt. The bytes
    of the store, except for ``conversion.json``, do not depend on the number or kind of workers.

    Parameters
    ----------
    source : SampleSource
        Source of the samples.
    writer : ZarrStoreWriter
        Writer of the store. Its threads are divided among the worker processes.
    workers : int
        Number of worker processes. With 0, this process does all the work, and a crash ends the conversion.
    timeout : float, optional
        Seconds after which a worker process is stopped and its sample fails.
    executor : Executor, optional
        Executor to use instead of worker processes; each sample gets all threads of the writer. It is not shut down.
    mode : {"resume", "retry-failed", "overwrite"}
        ``"resume"`` skips complete samples whose source, chunks and shards are unchanged. ``"retry-failed"`` does the
        same, but visits only the samples that failed the last time. ``"overwrite"`` converts all samples again.
    limit : int, optional
        Largest number of samples to visit: the first ones of the source.
    part : tuple of (int, int), optional
        ``(3, 16)`` takes the third of sixteen parts of the samples. Other invocations convert the other parts, also at
        the same time. Only an invocation that finds all samples of the source in the manifest writes the chunk index.
    keep_grids : bool
        Whether to skip complete samples even if their chunks or shards differ, as long as their source is unchanged.
    on_result : callable of SampleResult, optional
        Callback for each result, called in this process.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    SampleIdError
        Two samples have ids that are the same on some file systems.
    MissingDependencyError
        A library that the source needs is not installed.
    WorkerError
        No worker process can be started.
    ManifestConflictError
        Another writer created the store with other settings in the meantime.
    StorageError
        The manifest, the report or the chunk index cannot be saved.

    Warns
    -----
    MixedSamplesWarning
        The points of a domain are the cells of a mesh in some samples of the store, and its points in others.
    PrecisionWarning
        The positions of some samples lose too many digits; see `ZarrStoreWriter.write_group`.
    """
    sample_ids = select_samples(source, writer, mode=mode, limit=limit, part=part)
    called = {"mode": mode, "limit": limit, "part": part and f"{part[0]}/{part[1]}"}
    recorder = Recorder(writer, called | {"workers": workers, "timeout": timeout})
    report = run_samples(
        Conversion(source, mode == "overwrite", keep_grids),
        writer,
        sample_ids,
        recorder,
        workers=workers,
        timeout=timeout,
        executor=executor,
        on_result=on_result,
    )
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
    """Return the ids of the samples that `convert` would visit; see `convert` for parameters and errors."""
    return choose_samples(source.sample_ids(), writer, mode=mode, limit=limit, part=part)
