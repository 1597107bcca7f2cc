"""``noether-zarr view``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.errors import ArgumentError


@command("view")
def view_command(
    store: Annotated[str | None, typer.Argument(help="Directory or URL of the store.")] = None,
    sample: Annotated[str | None, typer.Argument(help="Sample to show first (default: the first).")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", help="Write the page into this directory, for a web space, and serve nothing."
        ),
    ] = None,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Show the points of STORE in the browser.

    The page and the store are served to this machine alone, until the command is interrupted. With --export, the page
    is written instead: beside a store it opens that store, and anywhere it opens the one that ?store=URL names.
    """
    with errors_reported(debug, interrupted="the page is no longer served"):
        from noether.data.zarr_store.viewing import ViewServer, export_page

        if export is not None:
            typer.echo(export_page(export))
            return
        if store is None:
            raise ArgumentError("STORE: expected the directory or URL of a store; or use --export DIRECTORY")
        server = ViewServer(store, port=port, storage_options=parse_options(storage_option, "--storage-option"))
        address = server.address_of(sample)
        typer.echo(f"{address}\nCtrl-C ends the server.", err=False)
        server.serve(lambda: webbrowser.open(address) if browser else None)
