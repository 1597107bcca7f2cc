"""Fields of a source, added to samples that a store already has."""

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
    """The outcome of every sample, in the order of completion, and the state of the fields.

    Attributes
    ----------
    joined : list of str
        Fields that are now fields of the store, because every sample that has their domain has them.
    pending : list of PendingField
        Fields that some samples still lack.
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

    The function visits the samples that the source and the store share. It compares the positions of the source with
    the positions of the store: a sample whose source has other points, or another order, fails, and none of its fields
    are written. A sample that already has the fields is skipped, even if its source has changed. Failures, worker
    processes and interruptions are handled as in `convert`, and ``conversion.json`` records the outcome of each
    sample. A field is pending until all samples that have its domain have the field; then it is a field of the store.

    Parameters
    ----------
    source : SampleSource
        Source of the fields and of the positions of their domains.
    writer : ZarrStoreWriter
        The writer that `open_field_writer` returns: it knows which fields are added.
    compare : {"some", "all"}
        Number of positions to compare: 262,144 points spread over each domain (all points of a smaller domain), or all
        points. If one point in 10,000 differs, ``"some"`` misses the difference with a probability of 4e-12; if one in
        50,000 differs, with a probability of 0.5 %.
    workers, timeout, executor, part, on_result
        See `convert`.
    mode : {"resume", "retry-failed"}
        Visit all samples, or only the samples that failed in the last invocation that visited them.
    limit : int, optional
        Largest number of samples to visit: the first ones that the source and the store share.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the writer does not add fields.
    MissingDependencyError
        A library that the source needs is not installed.
    WorkerError
        No worker process can be started.
    ManifestConflictError
        Another writer added a field with another dtype or width in the meantime.
    StorageError
        The manifest, the report or the chunk index cannot be saved.
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
    """Return the ids of the samples that `add_fields` would visit; see `add_fields` for parameters and errors."""
    if not writer.settings.adds_fields:
        raise ArgumentError(
            "writer: expected a writer that adds fields, got a writer that writes samples; open it with "
            "open_field_writer"
        )
    if mode == "overwrite":
        raise ArgumentError(
            "mode: expected 'resume' or 'retry-failed', got 'overwrite'; to replace a field, remove it first with "
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
    """Add fields to samples, and record in the manifest which samples have them.

    Parameters
    ----------
    work : SampleWork
        Adds the fields of the writer to a sample.
    writer : ZarrStoreWriter
        A writer that adds fields.
    sample_ids : list of str
        Ids of the samples.
    fields : collection of str
        Canonical names of the fields.
    kind : {"add-fields", "map-fields"}
        Kind of the invocation in ``conversion.json``.
    called : dict
        Arguments of the call.
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
        # An invocation that was killed may have left fields pending although all samples have them.
        writer.save_manifest()
    manifest = StoreManifest.load(writer.store_root, storage_options=writer.settings.storage_options)
    pending = [one for one in pending_of(manifest) if one.field in fields]
    pending_names = {one.field for one in pending}
    listed = {field for layout in manifest.domains.values() for field in layout.arrays}
    return AdditionReport(
        results=done.results,
        seconds=done.seconds,
        is_indexed=True,
        joined=[field for field in fields if field in listed and field not in pending_names],
        pending=pending,
    )
