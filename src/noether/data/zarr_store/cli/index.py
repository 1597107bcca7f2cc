"""``noether-zarr index``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import join


@command("index")
def index_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Make the chunk index of STORE, with which a draw reads nothing but its chunks.

    Every conversion ends with this; it is for stores that were written otherwise, also by other tools.
    """
    with errors_reported(debug):
        options = parse_options(storage_option, "--storage-option")
        typer.echo(f"chunk index: {join(store, write_chunk_index(store, storage_options=options))}")
