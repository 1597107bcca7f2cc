"""``noether-zarr info``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_summary
from noether.data.zarr_store.upkeep import summarize


@command("info")
def info_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[str | None, typer.Argument(help="Sample to show (default: the whole store).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Show what STORE, or one SAMPLE of it, holds: points, chunks, bytes, and what the casts lost."""
    with errors_reported(debug):
        summary = summarize(store, sample, storage_options=parse_options(storage_option, "--storage-option"))
        if as_json:
            typer.echo(json.dumps(asdict(summary), indent=2))
        else:
            print_summary(summary, Console(markup=False, emoji=False, highlight=False))
