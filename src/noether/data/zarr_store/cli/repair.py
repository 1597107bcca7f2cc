"""``noether-zarr repair``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import DAMAGE_FOUND, Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.cli.display import reading_progress
from noether.data.zarr_store.cli.output import JsonOption, Output, echo
from noether.data.zarr_store.cli.run_options import DryRunOption, ThreadsOption
from noether.data.zarr_store.cli.source_options import (
    FilemapOption,
    MappingOption,
    PresetOption,
    SourceOption,
    open_former_source,
)
from noether.data.zarr_store.cli.verify_output import print_action, print_report
from noether.data.zarr_store.upkeep.repair import Action, repair_store
from noether.data.zarr_store.upkeep.verify import LEVELS


@command("repair")
def repair_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Directory or URL of the source, to convert damaged samples again."),
    ] = None,
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    dry_run: DryRunOption = False,
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help=f"Level of the verification: {', '.join(LEVELS)}; see verify.",
            autocompletion=completes(LEVELS),
        ),
    ] = "data",
    workers: ThreadsOption = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Repair a damaged store.

    The store is verified, repaired and verified again; no other process may write to it during that time. Metadata,
    manifest and chunk index are restored from their copies. Files that killed writers left behind are removed. With
    --source, samples that are damaged or missing are converted again. Files whose names this library does not use are
    listed and kept.

    Exit codes: 0 sound, 4 damage is left, or found with --dry-run, 2 wrong usage, 1 the store cannot be read.
    """
    out = Output(as_json)
    with errors_reported(debug):
        options = parse_options(storage_option, "--storage-option")
        opened = None
        if source is not None:
            source_options = parse_options(source_option, "--source-option")
            opened = open_former_source(source, preset, filemap, mapping, source_options, store, options)

        def show(action: Action) -> None:
            print_action(action, out, dry_run=False)

        with reading_progress() as progress:
            report = repair_store(
                store,
                source=opened,
                level=level,  # type: ignore[arg-type] # repair_store checks it
                dry_run=dry_run,
                workers=workers,
                progress=progress,
                on_action=show,
                storage_options=options,
            )
        print_report(report.after or report.before, out)
        for action in report.actions if dry_run else ():
            print_action(action, out, dry_run=True)
        out.document(report.to_dict())
        for sample_id, reason in report.failures.items():
            echo(f"failed: {reason if repr(sample_id) in reason else f'sample {sample_id!r}: {reason}'}", err=True)
        if not report.is_sound:
            raise typer.Exit(DAMAGE_FOUND)
