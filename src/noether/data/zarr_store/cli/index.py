"""``noether-zarr index``."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import DAMAGE_FOUND, Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.output import JsonOption, Output, echo
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import join

_MAX_NAMED = 40


@command("index")
def index_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Write the chunk index of a store.

    With it, a draw reads chunks and no metadata. A conversion writes the index at its end; use this command for samples
    that were written with the Python API or with other tools.

    Exit codes: 0 written, 4 written, but groups lack arrays that the manifest lists, 2 wrong usage, 1 the store cannot
    be read.
    """
    out = Output(as_json)
    with errors_reported(debug):
        options = parse_options(storage_option, "--storage-option")
        missing: dict[str, tuple[str, ...]] = {}
        name = write_chunk_index(store, storage_options=options, on_missing=missing.update)
        out.line(f"chunk index: {join(store, name)}")
        out.document({"store_root": store, "chunk_index": join(store, name), "missing_arrays": missing})
        if missing:
            _print_missing(store, missing)
            raise typer.Exit(DAMAGE_FOUND)


def _print_missing(store: str, missing: dict[str, tuple[str, ...]]) -> None:
    for sample_id, fields in islice(missing.items(), _MAX_NAMED):
        echo(
            f"damage: sample {sample_id!r}: the group lacks arrays that the manifest lists: {', '.join(fields)}",
            err=True,
        )
    if len(missing) > _MAX_NAMED:
        more = f"{len(missing) - _MAX_NAMED:,} more samples, which noether-zarr verify {store} --level census shows"
        echo(f"… and {more}", err=True)
    echo(f"what to do: noether-zarr repair {store} --source SOURCE", err=True)
