"""``noether-zarr repair``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import DAMAGE_FOUND, Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import reading_progress
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
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    source: Annotated[
        str | None, typer.Option(help="Directory or URL that the store was converted from, to convert samples again.")
    ] = None,
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    level: Annotated[str, typer.Option(help=f"How closely to look: {', '.join(LEVELS)}.")] = "data",
    workers: Annotated[
        int | None, typer.Option(help="Threads that read at the same time (default: one a core, 16 for a URL).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    debug: Debug = False,
) -> None:
    """Verify STORE, mend what can be mended, and verify it again. Nothing else may write to it meanwhile.

    Metadata, manifest and chunk index are made again from what is left of them; what killed writers left is removed;
    with --source, samples that are damaged or missing are converted again. What has a name that this library does not
    give is left alone, and named. Exit codes: 0 sound, 4 damage is left, or found by --dry-run, 2 wrong usage.
    """
    with errors_reported(debug):
        options = parse_options(storage_option, "--storage-option")
        opened = None
        if source is not None:
            source_options = parse_options(source_option, "--source-option")
            opened = open_former_source(source, preset, filemap, mapping, source_options, store, options)
        console = Console(markup=False, emoji=False, highlight=False)

        def show(action: Action) -> None:
            if not as_json:
                print_action(action, console, dry_run=False)

        with reading_progress() as progress:
            report = repair_store(
                store,
                source=opened,
                level=level,  # type: ignore[arg-type] # it is checked there
                dry_run=dry_run,
                workers=workers,
                progress=progress,
                on_action=show,
                storage_options=options,
            )
        if as_json:
            typer.echo(json.dumps(report.to_dict(), indent=2))
        else:
            print_report(report.after or report.before, console)
            for action in report.actions if dry_run else ():
                print_action(action, console, dry_run=True)
        for sample_id, reason in report.failures.items():
            typer.echo(
                f"failed: {reason if repr(sample_id) in reason else f'sample {sample_id!r}: {reason}'}", err=True
            )
        if not report.is_sound:
            raise typer.Exit(DAMAGE_FOUND)
