"""``noether-zarr add-fields``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import (
    FAILED,
    Debug,
    StorageOption,
    command,
    errors_reported,
    key_values,
    parse_options,
)
from noether.data.zarr_store.cli.convert_output import conversion_progress, print_report
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.run_options import (
    SOME_FAILED,
    DaskOption,
    LimitOption,
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
    AdditionReport,
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
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.sources import field_attributes_of

_SHOWN = 5


@command("add-fields")
def add_fields_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    source: Annotated[str, typer.Argument(help="Directory or URL with the files of the fields and their positions.")],
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
            help="Stored dtype of one field (default: that of the store's values). May be repeated.",
        ),
    ] = None,
    compare: Annotated[
        str,
        typer.Option(
            help="Positions to compare with the store: some, those of 262,144 points all over a domain, or all."
        ),
    ] = "some",
    workers: WorkersOption = None,
    timeout: TimeoutOption = None,
    dask: DaskOption = None,
    part: PartOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Take only the samples that failed the last time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    non_finite: Annotated[str, typer.Option(help="What to do with NaN and infinity: raise or allow.")] = "raise",
    limit: LimitOption = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    debug: Debug = False,
) -> None:
    """Add fields of SOURCE to the samples of STORE that lack them.

    No other field is read or written, but for positions: a sample whose source has other points than the store, or
    another order, fails. A field is one of the store once all samples that have its domain have it; until then it is
    pending, and datasets that ask for it name the samples that lack it. Samples that have the fields are skipped. Exit
    codes: 0 all samples that both have got the fields, 1 none did, 2 wrong usage, 3 some samples failed, 130
    interrupted.
    """
    with errors_reported(debug):
        tree, _ = open_source(source, preset, filemap, mapping, parse_options(source_option, "--source-option"))
        writer = open_field_writer(
            store,
            tree.filemap,
            fields=field_names(field),
            field_dtypes=key_values(field_dtype, "--field-dtype", "FIELD=DTYPE") or None,
            non_finite=non_finite,  # type: ignore[arg-type] # the writer checks it, with its own message
            storage_options=parse_options(storage_option, "--storage-option"),
            # A Dask worker has others beside it, and each of its own threads does a sample.
            threads=None if dask is None else 1,
            field_attributes=field_attributes_of(tree),
        )
        narrowed = narrowed_source(tree, writer)
        mode: Mode = "retry-failed" if retry_failed else "resume"
        sample_ids = select_samples_of_both(narrowed, writer, mode=mode, limit=limit, part=part_of(part))
        wanted = wanted_workers(workers, timeout, dask)
        samples = samples_of_both(narrowed, writer)
        open_ids = [sample_id for sample_id in sample_ids if sample_id not in samples.complete]
        what = f"{', '.join(fields_of_writer(writer))} to {_samples(open_ids)}"
        before = f"{len(sample_ids) - len(open_ids):,} complete before"
        typer.echo(printable(f"{'would add' if dry_run else 'adding'} {what}, {before}"))
        for notice in (*tree.notices, *_notices(samples)):
            typer.echo(printable(f"note: {notice}"))
        if wanted == "auto":
            count = choose_workers(narrowed, writer, open_ids, timeout=timeout, mode="overwrite")
            typer.echo(printable(str(count)))
            wanted = count.n_workers
        if dry_run:
            return
        with (
            termination_interrupts(),
            opened_executor(dask) as executor,
            conversion_progress(len(sample_ids), "added") as show,
        ):
            report = add_fields(
                narrowed,
                writer,
                compare=compare,  # type: ignore[arg-type] # it is checked there, with its own message
                workers=wanted,
                timeout=timeout,
                executor=executor,
                mode=mode,
                limit=limit,
                part=part_of(part),
                on_result=show,
            )
        raise typer.Exit(_report(report, writer.store_root, debug))


def _samples(sample_ids: Sequence[str]) -> str:
    return f"{len(sample_ids):,} sample{'' if len(sample_ids) == 1 else 's'}"


def _named(sample_ids: Sequence[str]) -> str:
    shown = ", ".join(map(repr, sample_ids[:_SHOWN]))
    return shown + (f" and {len(sample_ids) - _SHOWN:,} more" if len(sample_ids) > _SHOWN else "")


def _notices(samples: SamplesOfBoth) -> list[str]:
    """Return what a user should know of samples that only one side has."""
    told = (
        (samples.only_in_source, "of the source, not in the store"),
        (samples.without_domain, "of the source, without the domain in the store"),
        (samples.only_in_store, "of the store, not in the source; they stay without the fields"),
    )
    return [f"{_samples(ids)} {what}: {_named(ids)}" for ids, what in told if ids]


def _report(report: AdditionReport, store_root: str, debug: bool) -> int:
    """Print what became of the samples and of the fields; give the exit code."""
    done, skipped, failed = (report.having(outcome) for outcome in ("converted", "skipped", "failed"))
    print_report(report, store_root, Console(markup=False, emoji=False, highlight=False), "added")
    if report.joined:
        typer.echo(printable(f"all samples have {', '.join(report.joined)}"))
    for one in report.pending:
        lacking = f"{len(one.lacking):,} of {one.n_samples:,} samples lack it: {_named(one.lacking)}"
        typer.echo(printable(f"{one.field} is pending: {lacking}"))
    for result in failed:
        typer.echo(printable(f"failed: {result.reason}"), err=True)
        if debug:
            typer.echo(result.trace, err=True)
    if failed:
        return SOME_FAILED if done or skipped else FAILED
    return 0
