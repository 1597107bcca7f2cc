"""``noether-zarr view``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.errors import ArgumentError


@command("view")
def view_command(
    store: Annotated[str | None, typer.Argument(metavar="STORE", help="Directory or URL of the store.")] = None,
    sample: Annotated[str | None, typer.Argument(metavar="SAMPLE", help="First sample to show.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port on this machine; 0 takes a free port.")
    ] = 0,
    export: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Write the page into this directory instead of serving it."),
    ] = None,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Show the points of a store in a browser.

    The command serves the page and the store to this machine alone, until Ctrl-C. The directory that --export writes
    belongs on a web space: in a store, its page opens that store; anywhere, it opens the store that ?store=URL names.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="the page is no longer served"):
        from noether.data.zarr_store.viewing import ViewServer, export_page

        if export is not None:
            page = export_page(export)
            out.line(str(page))
            out.document({"page": page})
            return
        if store is None:
            raise ArgumentError(
                "STORE: expected the directory or URL of a store, got none; name a store or use --export"
            )
        server = ViewServer(store, port=port, storage_options=parse_options(storage_option, "--storage-option"))
        address = server.address_of(sample)
        out.line(address)
        out.document({"url": address})
        server.serve(lambda: webbrowser.open(address) if browser else None)
