"""``noether-zarr verify``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import (
    DAMAGE_FOUND,
    FAILED,
    Debug,
    StorageOption,
    command,
    errors_reported,
    parse_options,
)
from noether.data.zarr_store.cli.display import reading_progress
from noether.data.zarr_store.cli.source_options import (
    FilemapOption,
    MappingOption,
    PresetOption,
    SourceOption,
    open_former_source,
)
from noether.data.zarr_store.cli.verify_output import print_report
from noether.data.zarr_store.upkeep.verify import LEVELS, verify_store


@command("verify")
def verify_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    level: Annotated[
        str | None,
        typer.Option(help=f"How closely to look: {', '.join(LEVELS)} (default: data, or source where one is given)."),
    ] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Sample to verify. May be repeated (default: all).")] = None,
    source: Annotated[str | None, typer.Option(help="Directory or URL that the store was converted from.")] = None,
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read at the same time (default: one a core, 16 for a URL).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    debug: Debug = False,
) -> None:
    """Find out whether every byte of STORE is what it should be; nothing is changed.

    Level census: no object is missing, left over or of a wrong size. Index: metadata and indexes of shards, too. Data:
    every chunk, too. Source: every value, against the source. Exit codes: 0 sound, 4 damage found, 2 wrong usage, 1 a
    source or the store cannot be read.
    """
    with errors_reported(debug, interrupted="nothing is changed"):
        options = parse_options(storage_option, "--storage-option")
        opened = None
        if source is not None:
            source_options = parse_options(source_option, "--source-option")
            opened = open_former_source(source, preset, filemap, mapping, source_options, store, options)
        with reading_progress() as progress:
            report = verify_store(
                store,
                level=level or ("data" if opened is None else "source"),  # type: ignore[arg-type] # it is checked there
                source=opened,
                sample_ids=sample,
                workers=workers,
                progress=progress,
                storage_options=options,
            )
        if as_json:
            typer.echo(json.dumps(report.to_dict(), indent=2))
        else:
            print_report(report, Console(markup=False, emoji=False, highlight=False))
        if not report.is_sound:
            raise typer.Exit(DAMAGE_FOUND)
        if report.having("unchecked"):
            raise typer.Exit(FAILED)
