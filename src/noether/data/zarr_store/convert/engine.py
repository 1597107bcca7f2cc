"""Conversions: which samples are converted, and what is made of all of them at the end."""

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
    """List the samples that `convert` would look at; see there for parameters and errors."""
    return choose_samples(source.sample_ids(), writer, mode=mode, limit=limit, part=part)
