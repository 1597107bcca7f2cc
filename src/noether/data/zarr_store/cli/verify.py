"""``noether-zarr verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import (
    DAMAGE_FOUND,
    FAILED,
    Debug,
    StorageOption,
    command,
    errors_reported,
    parse_options,
)
from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.cli.display import reading_progress
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import ThreadsOption
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
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help=f"Level of the verification: {', '.join(LEVELS)} (default: data, or source with --source).",
            autocompletion=completes(LEVELS),
        ),
    ] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option(metavar="SAMPLE", help="Sample to verify. May be repeated (default: all samples)."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Directory or URL of the source of the store.")
    ] = None,
    preset: PresetOption = None,
    filemap: FilemapOption = None,
    mapping: MappingOption = None,
    workers: ThreadsOption = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Check every byte of a store.

    Nothing is changed. Each level includes the levels before it. census: no object is missing, left over or of a wrong
    size. index: metadata and shard indexes are sound. data: every chunk is sound. source: every value is that of the
    source.

    Exit codes: 0 sound, 4 damage found, 2 wrong usage, 1 the store or a source cannot be read.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing was changed"):
        options = parse_options(storage_option, "--storage-option")
        opened = None
        if source is not None:
            source_options = parse_options(source_option, "--source-option")
            opened = open_former_source(source, preset, filemap, mapping, source_options, store, options)
        with reading_progress() as progress:
            report = verify_store(
                store,
                level=level or ("data" if opened is None else "source"),  # type: ignore[arg-type] # verify_store checks it
                source=opened,
                sample_ids=sample,
                workers=workers,
                progress=progress,
                storage_options=options,
            )
        print_report(report, out)
        out.document(report.to_dict())
        if not report.is_sound:
            raise typer.Exit(DAMAGE_FOUND)
        if report.having("unchecked"):
            raise typer.Exit(FAILED)
