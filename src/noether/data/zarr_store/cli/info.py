"""``noether-zarr info``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_summary
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.upkeep import summarize


@command("info")
def info_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    sample: Annotated[str | None, typer.Argument(metavar="SAMPLE", help="Sample to show.")] = None,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Show the contents of a store.

    The tables list points, chunks, bytes and the errors of the casts, by domain and by field. With SAMPLE, they are
    those of one sample.
    """
    out = Output(as_json)
    with errors_reported(debug):
        summary = summarize(store, sample, storage_options=parse_options(storage_option, "--storage-option"))
        print_summary(summary, out)
        out.document(summary)
