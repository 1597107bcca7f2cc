"""``noether-zarr index``."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import DAMAGE_FOUND, Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import join

_MAX_SHOWN = 40


@command("index")
def index_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Make the chunk index of STORE, with which a draw reads nothing but its chunks.

    Every conversion ends with this; it is for samples that were written otherwise, also by other tools. Exit codes: 0
    made, 4 made, but groups lack arrays that the manifest lists, 2 wrong usage, 1 the store cannot be read.
    """
    with errors_reported(debug):
        options = parse_options(storage_option, "--storage-option")
        missing: dict[str, tuple[str, ...]] = {}
        name = write_chunk_index(store, storage_options=options, on_missing=missing.update)
        typer.echo(f"chunk index: {join(store, name)}")
        if missing:
            _print_missing(store, missing)
            raise typer.Exit(DAMAGE_FOUND)


def _print_missing(store: str, missing: dict[str, tuple[str, ...]]) -> None:
    for sample_id, fields in islice(missing.items(), _MAX_SHOWN):
        text = f"damage: sample {sample_id!r}: the group lacks arrays that the manifest lists: {', '.join(fields)}"
        typer.echo(printable(text), err=True)
    if len(missing) > _MAX_SHOWN:
        more = f"{len(missing) - _MAX_SHOWN:,} more samples, which noether-zarr verify {store} --level census shows"
        typer.echo(f"… and {more}", err=True)
    typer.echo(f"what to do: noether-zarr repair {store} --source SOURCE", err=True)
