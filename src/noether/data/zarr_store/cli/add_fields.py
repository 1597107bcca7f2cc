"""``noether-zarr add-fields``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import (
    Debug,
    StorageOption,
    command,
    errors_reported,
    key_values,
    parse_options,
)
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.cli.convert_output import (
    conversion_progress,
    exit_code,
    print_report,
    report_document,
)
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import (
    DaskOption,
    DryRunOption,
    LimitOption,
    NonFiniteOption,
    PartOption,
    TimeoutOption,
    WorkersOption,
    opened_executor,
    part_of,
    termination_interrupts,
    wanted_workers,
)
from noether.data.zarr_store.cli.source_options import (
    FilemapOption,
    MappingOption,
    PresetOption,
    SourceOption,
    open_source,
)
from noether.data.zarr_store.convert import (
    Mode,
    SamplesOfBoth,
    add_fields,
    choose_workers,
    fields_of_writer,
    narrowed_source,
    open_field_writer,
    samples_of_both,
    select_samples_of_both,
)
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.sources import field_attributes_of

_MAX_NAMED = 5


@command("add-fields")
def add_fields_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Directory or URL of the source, with fields and positions.")
    ],
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    field: Annotated[
        list[str] | None,
        field_option("Field to add (default: every field of the source that the store lacks)"),
    ] = None,
    field_dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=DTYPE",
            help="Stored dtype of one field (default: the store's dtype of values). May be repeated.",
        ),
    ] = None,
    compare: Annotated[
        str,
        typer.Option(
            metavar="some|all",
            help="Compare the positions of 262,144 random points of each domain with the store, or of all points.",
            autocompletion=completes(("some", "all")),
        ),
    ] = "some",
    workers: WorkersOption = None,
    timeout: TimeoutOption = None,
    dask: DaskOption = None,
    part: PartOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Work only on the samples that failed the last time.")
    ] = False,
    dry_run: DryRunOption = False,
    non_finite: NonFiniteOption = "raise",
    limit: LimitOption = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Add fields of a source to a store.

    Samples that already have the fields are skipped. Of the other fields, only positions are read: a sample fails if
    SOURCE and STORE have different points, or the same points in another order.

    A field is pending until all samples with its domain have it. A dataset that requests a pending field raises an
    error with the samples that lack it.

    Exit codes: 0 all samples of both SOURCE and STORE have the fields, 1 no sample has them, 2 wrong usage, 3 some
    samples failed, 130 interrupted.
    """
    out = Output(as_json)
    with errors_reported(debug):
        tree, _ = open_source(source, preset, filemap, mapping, parse_options(source_option, "--source-option"))
        writer = open_field_writer(
            store,
            tree.filemap,
            fields=field_names(field),
            field_dtypes=key_values(field_dtype, "--field-dtype", "FIELD=DTYPE") or None,
            non_finite=non_finite,  # type: ignore[arg-type] # the writer checks it, with its own message
            storage_options=parse_options(storage_option, "--storage-option"),
            # A Dask worker shares its machine with others, and each of its own threads takes a sample.
            threads=None if dask is None else 1,
            field_attributes=field_attributes_of(tree),
        )
        narrowed = narrowed_source(tree, writer)
        mode: Mode = "retry-failed" if retry_failed else "resume"
        sample_ids = select_samples_of_both(narrowed, writer, mode=mode, limit=limit, part=part_of(part))
        wanted = wanted_workers(workers, timeout, dask)
        samples = samples_of_both(narrowed, writer)
        open_ids = [sample_id for sample_id in sample_ids if sample_id not in samples.complete]
        fields = list(fields_of_writer(writer))
        n_complete = len(sample_ids) - len(open_ids)
        verb = "would add" if dry_run else "adding"
        out.note(f"{verb} {', '.join(fields)} to {count_of(len(open_ids), 'sample')}, {n_complete:,} complete before")
        for notice in (*tree.notices, *_notices(samples)):
            out.note(f"note: {notice}")
        if wanted == "auto":
            count = choose_workers(narrowed, writer, open_ids, timeout=timeout, mode="overwrite")
            out.note(str(count))
            wanted = count.n_workers
        unmatched = {
            "only_in_source": samples.only_in_source,
            "without_domain": samples.without_domain,
            "only_in_store": samples.only_in_store,
        }
        if dry_run:
            plan = {"n_workers": wanted, "samples": open_ids, "n_complete": n_complete}
            out.document({"store_root": writer.store_root, "fields": fields, **plan, **unmatched})
            return
        with (
            termination_interrupts(),
            opened_executor(dask) as executor,
            conversion_progress(len(sample_ids), "added") as show,
        ):
            report = add_fields(
                narrowed,
                writer,
                compare=compare,  # type: ignore[arg-type] # add_fields checks it
                workers=wanted,
                timeout=timeout,
                executor=executor,
                mode=mode,
                limit=limit,
                part=part_of(part),
                on_result=show,
            )
        print_report(report, writer.store_root, out, "added")
        if report.joined:
            out.line(f"all samples have {', '.join(report.joined)}")
        for one in report.pending:
            lacking = f"{len(one.lacking):,} of {one.n_samples:,} samples lack it"
            out.line(f"{one.field} is pending: {lacking}: {_named(one.lacking)}")
        document = report_document(report, writer.store_root)
        out.document(document | {"fields": fields, "joined": report.joined, "pending": report.pending} | unmatched)
        raise typer.Exit(exit_code(report, debug=debug))


def _named(sample_ids: Sequence[str]) -> str:
    shown = ", ".join(map(repr, sample_ids[:_MAX_NAMED]))
    return shown + (f" and {len(sample_ids) - _MAX_NAMED:,} more" if len(sample_ids) > _MAX_NAMED else "")


def _notices(samples: SamplesOfBoth) -> list[str]:
    """Return a line for each kind of samples that the source and the store do not share."""
    kinds = (
        (samples.only_in_source, "of the source, not in the store"),
        (samples.without_domain, "of the source, without the domain in the store"),
        (samples.only_in_store, "of the store, not in the source; they stay without the fields"),
    )
    return [f"{count_of(len(ids), 'sample')} {kind}: {_named(ids)}" for ids, kind in kinds if ids]
