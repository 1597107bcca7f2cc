"""Fields that come later: added to samples of a store that are there, from a source."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, get_args

from noether.data.zarr_store.convert.additions import Addition, narrowed_source, samples_of_both
from noether.data.zarr_store.convert.field_writers import fields_of_writer
from noether.data.zarr_store.convert.recorder import Recorder
from noether.data.zarr_store.convert.report import ConversionReport, RunKind, SampleResult
from noether.data.zarr_store.convert.running import run_samples
from noether.data.zarr_store.convert.selection import Mode, choose_samples
from noether.data.zarr_store.convert.task import SampleWork
from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.manifest import PendingField, StoreManifest, pending_of
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import Comparison

__all__ = ["AdditionReport", "add_fields", "run_addition", "select_samples_of_both"]


@dataclass(slots=True)
class AdditionReport(ConversionReport):
    """What became of all samples, in the order in which they were done, and of the fields.

    Attributes
    ----------
    joined : list of str
        The fields that all samples have which have their domain: they are fields of the store.
    pending : list of PendingField
        The fields that some samples lack.
    """

    joined: list[str] = field(default_factory=list)
    pending: list[PendingField] = field(default_factory=list)


def add_fields(
    source: SampleSource,
    writer: ZarrStoreWriter,
    *,
    compare: Comparison = "some",
    workers: int = 0,
    timeout: float | None = None,
    executor: Executor | None = None,
    mode: Mode = "resume",
    limit: int | None = None,
    part: tuple[int, int] | None = None,
    on_result: Callable[[SampleResult], None] | None = None,
) -> AdditionReport:
    """Add fields of a source to the samples of a store that lack them.

    Samples that both have are looked at. The positions of the source are compared with those of the store: a sample
    whose source has other points, or another order, fails, and nothing of it is written. A sample that has the fields
    already is skipped, whatever its source has become. Failures, worker processes and interruptions are as in
    `convert`, and ``conversion.json`` says what became of each sample. A field becomes one of the store once all
    samples that have its domain have it; until then it is pending.

    Parameters
    ----------
    source : SampleSource
        Has the fields, and the positions of their domains.
    writer : ZarrStoreWriter
        The writer that `open_field_writer` returns: it knows which fields are added.
    compare : {"some", "all"}
        How many positions are compared: those of 262,144 points that lie all over a domain (of smaller ones, all), or
        all. A source in which one point in 10,000 differs passes the first comparison with a chance of 4e-12; with one
        in 50,000, of 0.5 %.
    workers, timeout, executor, part, on_result
        See `convert`.
    mode : {"resume", "retry-failed"}
        Look at all samples, or at those alone that failed the last time.
    limit : int, optional
        Take only the first so many of the samples that both have.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the writer does not add fields.
    MissingDependencyError
        A library that the source needs is not installed.
    WorkerError
        No worker process can be started.
    ManifestConflictError
        Another writer has added a field meanwhile, with another dtype or width.
    StorageError
        Manifest, report or chunk index cannot be saved.
    """
    sample_ids = select_samples_of_both(source, writer, mode=mode, limit=limit, part=part)
    require_one_of("compare", compare, get_args(Comparison))
    called = {"mode": mode, "compare": compare, "limit": limit, "part": part and f"{part[0]}/{part[1]}"}
    fields = fields_of_writer(writer)
    return run_addition(
        Addition(narrowed_source(source, writer), fields, compare),
        writer,
        sample_ids,
        fields,
        "add-fields",
        called,
        workers=workers,
        timeout=timeout,
        executor=executor,
        on_result=on_result,
    )


def select_samples_of_both(
    source: SampleSource,
    writer: ZarrStoreWriter,
    *,
    mode: Mode = "resume",
    limit: int | None = None,
    part: tuple[int, int] | None = None,
) -> list[str]:
    """List the samples that `add_fields` would look at; see there for parameters and errors."""
    if not writer.settings.adds_fields:
        raise ArgumentError("writer: expected one of open_field_writer, which adds fields, got one that writes samples")
    if mode == "overwrite":
        raise ArgumentError(
            "mode: expected 'resume' or 'retry-failed', got 'overwrite'; to replace a field, take it out first: "
            "noether-zarr remove STORE --field FIELD"
        )
    both = samples_of_both(narrowed_source(source, writer), writer).both
    return choose_samples(both, writer, mode=mode, limit=limit, part=part, kind="add-fields")


def run_addition(
    work: SampleWork,
    writer: ZarrStoreWriter,
    sample_ids: list[str],
    fields: Collection[str],
    kind: RunKind,
    called: dict[str, Any],
    *,
    workers: int,
    timeout: float | None,
    executor: Executor | None,
    on_result: Callable[[SampleResult], None] | None,
) -> AdditionReport:
    """Do work that adds fields to samples, and have the manifest say which samples have them.

    Parameters
    ----------
    work : SampleWork
        Adds the fields of the writer to a sample.
    writer : ZarrStoreWriter
        Adds fields.
    sample_ids : list of str
        The samples.
    fields : collection of str
        Canonical names of the fields.
    kind : {"add-fields", "map-fields"}
        What ``conversion.json`` calls the run.
    called : dict
        How it was called.
    workers, timeout, executor, on_result
        See `convert`.
    """
    recorder = Recorder(
        writer,
        called | {"workers": workers, "timeout": timeout},
        kind=kind,
        record=lambda sample_id, _: writer.record_added(sample_id),
    )
    done = run_samples(
        work, writer, sample_ids, recorder, workers=workers, timeout=timeout, executor=executor, on_result=on_result
    )
    if sample_ids:
        # A run that was killed may have left fields pending that all samples have.
        writer.save_manifest()
    manifest = StoreManifest.load(writer.store_root, storage_options=writer.settings.storage_options)
    pending = [one for one in pending_of(manifest) if one.field in fields]
    waiting = {one.field for one in pending}
    there = {one for layout in manifest.domains.values() for one in layout.arrays}
    return AdditionReport(
        results=done.results,
        seconds=done.seconds,
        is_indexed=True,
        joined=[one for one in fields if one in there and one not in waiting],
        pending=pending,
    )
